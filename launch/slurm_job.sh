#!/usr/bin/env bash
# The job that slurm.sh submits: starts the tasks, and requeues itself where that
# helps. Lines of its log begin with the number of the task; where one has failed,
# srun says on which node.
#   sbatch ... launch/slurm_job.sh LAUNCH train --config=... --workdir=...
# LAUNCH: the folder launch/; Slurm runs a copy of this script from elsewhere.
# A task of an array (slurm_sweep.sh) makes the run of a sweep of that number.
set -uo pipefail
if [[ $# -lt 2 ]]; then sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2; fi
task=${SLURM_ARRAY_TASK_ID:+--task=$SLURM_ARRAY_TASK_ID}
errors=$(mktemp)
# srun does not inherit the CPUs of a task. Of tasks that fail differently, srun
# returns the largest status, and what matters is the one that failed first: its
# errors list all of them.
{
  TRIES=1 srun --label --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    --kill-on-bad-exit=1 --wait=60 "$1/keep_going.sh" vit_jax "${@:2}" ${task:+"$task"} 2>&1 >&3 |
    tee --append /dev/stderr | grep '^srun: error' >"$errors"
  status=${PIPESTATUS[0]}
} 3>&1
mistakes=$(grep --extended-regexp 'exit code (2|126|127)$' "$errors")
rm -f "$errors"
# 0: done; 2, 126, 127: a person must fix something; all else is requeued.
case $status in 0 | 2 | 126 | 127) exit "$status" ;; esac
if [[ -n $mistakes ]]; then
  echo "slurm_job.sh: not requeued: $mistakes" >&2
  exit "$status"
fi
if [[ ${SLURM_RESTART_COUNT:-0} -lt ${TRIES:-100} ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
