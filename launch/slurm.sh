#!/usr/bin/env bash
# Submits a run to Slurm: a process per GPU, requeued until it is done.
#   launch/slurm.sh [--dry-run] NODES GPUS_PER_NODE train --config=... --workdir=...
# Partition, account and time limit: SBATCH_PARTITION, SBATCH_ACCOUNT,
# SBATCH_TIMELIMIT, or whatever else sbatch reads from its environment.
set -euo pipefail
run() { "$@"; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { printf '%q ' "$@" && echo; }
fi
if [[ $# -lt 3 ]]; then sed -n '2,5s/^# \?//p' "$0" >&2 && exit 2; fi
nodes=$1 gpus=$2 && shift 2
folder=${VIT_JAX:-$(cd "$(dirname "$0")/.." && pwd)}
train=$(printf '%q ' srun --kill-on-bad-exit=1 --wait=60 "$folder/.venv/bin/vit_jax" "$@")
# 0: done; 2: a person must fix something; all else is requeued.
# shellcheck disable=SC2016  # These are the job's own variables.
again='status=$?; case $status in 0 | 2) exit $status ;; esac
[ "${SLURM_RESTART_COUNT:-0}" -ge 100 ] || scontrol requeue "$SLURM_JOB_ID"; exit $status'
# SIGTERM is sent two minutes before the time limit: enough to save.
run sbatch --nodes="$nodes" --ntasks-per-node="$gpus" --gpus-per-node="$gpus" \
  --requeue --signal=TERM@120 --open-mode=append --job-name=vit_jax --wrap="$train
$again"
