#!/usr/bin/env bash
# Submits a sweep to Slurm: an array of its trials, an array of its final runs once
# all trials are done, and then the table. Each run has a part of one node.
#   launch/slurm_sweep.sh [--dry-run] GPUS sweep --config=... --workdir=... --seeds=3
# GPUS: of each run. AT_ONCE: runs at a time, by default as many as there is room for.
# Partition, account, time limit, CPUS_PER_TASK and LAUNCH: see slurm.sh.
# Started again, it submits what is left: what is done is not made anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/environment.sh
source "$here/environment.sh"
# shellcheck source=launch/slurm_cpus.sh
source "$here/slurm_cpus.sh"
# shellcheck source=launch/sweep_tasks.sh
source "$here/sweep_tasks.sh"
if [[ ${1:-} == --dry-run ]]; then is_dry=1 && shift; fi
if [[ $# -lt 3 || ! $1 =~ ^[1-9][0-9]*$ || $2 != sweep ]]; then
  sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2
fi
gpus=$1 && shift
launch=${LAUNCH:-$here}
set_cpus slurm_sweep.sh "$gpus"
list_tasks "$@"

# Submits a job with further options of sbatch, after the one before it, and sets
# `job` to its number.
#   submit NAME OPTION... -- ARGUMENT...
submit() {
  local name=$1 options=() submitted
  shift
  while [[ $1 != -- ]]; do options+=("$1") && shift; done
  shift
  if [[ -n ${job:-} ]]; then options+=("--dependency=afterok:$job"); fi
  local command=(sbatch --parsable --nodes=1 --ntasks=1 --gpus-per-node="$gpus"
    --cpus-per-task="$((cpus * gpus))" --requeue --signal=TERM@120
    --open-mode=append --job-name="$name" "${options[@]}"
    "$launch/slurm_job.sh" "$launch" "$@")
  if [[ -n ${is_dry:-} ]]; then
    printf '%q ' "${command[@]}" && echo
    job=$name
    return
  fi
  submitted=$("${command[@]}")
  job=${submitted%%;*} # Of several clusters, its name follows.
  echo "$name: job $job"
}

at_once=${AT_ONCE:+%$AT_ONCE}
if [[ -n $trials ]]; then submit trials --array="$trials$at_once" -- "$@"; fi
if [[ -n $finals ]]; then submit finals --array="$finals$at_once" -- "$@"; fi
# It makes what is left, which is nothing, and prints the table.
submit table -- "$@"
