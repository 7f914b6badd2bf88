#!/usr/bin/env bash
# Submits a run to Slurm: a process per GPU, requeued until it is done.
#   launch/slurm.sh [--dry-run] NODES GPUS_PER_NODE train --config=... --workdir=...
# Partition, account and time limit: SBATCH_PARTITION, SBATCH_ACCOUNT,
# SBATCH_TIMELIMIT, or whatever else sbatch reads from its environment.
# CPUS_PER_TASK: by default a GPU's share of its node's, as sinfo tells them.
# LAUNCH: this folder on the nodes, by default where it is here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/slurm_cpus.sh
source "$here/slurm_cpus.sh"
run() { "$@"; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { printf '%q ' "$@" && echo; }
fi
if [[ $# -lt 3 || ! $1/$2 =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]]; then
  sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2
fi
nodes=$1 gpus=$2 && shift 2
launch=${LAUNCH:-$here}

set_cpus slurm.sh "$gpus"
# SIGTERM is sent two minutes before the time limit: enough to save.
run sbatch --nodes="$nodes" --ntasks-per-node="$gpus" --gpus-per-node="$gpus" \
  --cpus-per-task="$cpus" --requeue --signal=TERM@120 --open-mode=append \
  --job-name=vit_jax "$launch/slurm_job.sh" "$launch" "$@"
