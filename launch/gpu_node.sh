#!/usr/bin/env bash
# Trains on the GPUs of this machine, or of machines that share a disk and are
# reachable by ssh: a process on each, restarted until it is done.
#   launch/gpu_node.sh [--dry-run] [HOST...] -- train --config=... --workdir=...
# VIT_JAX: folder of this repository on the machines; PORT: free on the first.
set -euo pipefail
run() { "$@" </dev/null; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { printf '%s\n' "$(printf '%q ' "$@")"; } # A line at once: many run it.
fi
hosts=()
while [[ $# -gt 0 && $1 != -- ]]; do hosts+=("$1") && shift; done
if [[ $# -lt 2 ]]; then sed -n '2,5s/^# \?//p' "$0" >&2 && exit 2; fi
folder=${VIT_JAX:-$(cd "$(dirname "$0")/.." && pwd)}
train=("$folder/launch/keep_going.sh" "$folder/.venv/bin/vit_jax" "${@:2}")
if [[ ${#hosts[@]} == 0 ]]; then
  run "${train[@]}"
  exit
fi
train+=("--coordinator=${hosts[0]}:${PORT:-8476}" "--num_processes=${#hosts[@]}")
started=()
for number in "${!hosts[@]}"; do
  command=$(printf '%q ' "${train[@]}" "--process_id=$number")
  run ssh -tt "${hosts[$number]}" "$command" &
  started+=($!)
done
for process in "${started[@]}"; do wait "$process"; done
