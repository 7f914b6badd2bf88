#!/usr/bin/env bash
# Submits a run to Slurm: a process per GPU, requeued until it is done.
#   launch/slurm.sh [--dry-run] NODES GPUS_PER_NODE train --config=... --workdir=...
# Partition, account and time limit: SBATCH_PARTITION, SBATCH_ACCOUNT,
# SBATCH_TIMELIMIT, or whatever else sbatch reads from its environment.
# CPUS_PER_TASK: by default a GPU's share of its node's, as sinfo tells them.
# LAUNCH: this folder on the nodes, by default where it is here.
set -euo pipefail
run() { "$@"; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { printf '%q ' "$@" && echo; }
fi
if [[ $# -lt 3 || ! $1/$2 =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]]; then
  sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2
fi
nodes=$1 gpus=$2 && shift 2
launch=${LAUNCH:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}

# Prints the CPUs of a node for each of its GPUs, of the node that has the fewest.
cpus_of_a_gpu() {
  local partition=${SBATCH_PARTITION:+--partition=$SBATCH_PARTITION}
  # shellcheck disable=SC2086  # There may be none.
  sinfo --noheader --format='%P %c %G' $partition | awk -v asked="$gpus" \
    -v all="${SBATCH_PARTITION:-}" '
    all == "" && $1 !~ /\*$/ { next }  # Not of the default partition.
    {
      has = match($3, /gpu:[^,(]*/)
      count = split(has ? substr($3, RSTART, RLENGTH) : asked, parts, ":")
      share = int($2 / (parts[count] > 0 ? parts[count] : asked))
      if (share > 0 && (!(has in least) || share < least[has])) least[has] = share
    }
    END { for (has = 99; has >= 0; has--) if (has in least) { print least[has]; exit } }'
}

cpus=${CPUS_PER_TASK:-$(cpus_of_a_gpu || true)}
if [[ ! $cpus =~ ^[1-9][0-9]*$ ]]; then
  echo 'slurm.sh: sinfo does not tell the CPUs of a node: set CPUS_PER_TASK' >&2
  exit 2
fi
# SIGTERM is sent two minutes before the time limit: enough to save.
run sbatch --nodes="$nodes" --ntasks-per-node="$gpus" --gpus-per-node="$gpus" \
  --cpus-per-task="$cpus" --requeue --signal=TERM@120 --open-mode=append \
  --job-name=vit_jax "$launch/slurm_job.sh" "$launch" "$@"
