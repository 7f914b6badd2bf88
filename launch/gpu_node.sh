#!/usr/bin/env bash
# Trains on the GPUs of this machine, or of machines that are reachable by ssh: a
# process on each, restarted until it is done. Lines begin with the machine.
#   launch/gpu_node.sh [--dry-run] [HOST...] -- train --config=... --workdir=...
# PORT: free on the first, by default 8476. LAUNCH: this folder on the machines, by
# default where it is here.
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
run() { exec "$@" </dev/null; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { printf '%s\n' "$(printf '%q ' "$@")"; } # A line at once: many run it.
fi
hosts=()
while [[ $# -gt 0 && $1 != -- ]]; do hosts+=("$1") && shift; done
if [[ $# -lt 2 ]]; then sed -n '2,6s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2; fi
launch=${LAUNCH:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
train=("$launch/keep_going.sh" vit_jax "${@:2}")
if [[ ${#hosts[@]} == 0 ]]; then
  run "${train[@]}"
  exit
fi
train+=("--coordinator=${hosts[0]##*@}:${PORT:-8476}" "--num_processes=${#hosts[@]}")
started=()
for number in "${!hosts[@]}"; do
  # On a terminal, so that the command ends with the connection.
  run ssh -tt "${hosts[$number]}" "env LABEL=1 $(forwarded_variables)$(
    printf '%q ' "${train[@]}" "--process_id=$number"
  )" &
  started+=($!)
done

# Waits for all; where one has failed for good, ends the others, as does a signal.
failed=0
trap 'failed=130; kill -TERM "${started[@]}" 2>/dev/null' INT TERM HUP
while [[ ${#started[@]} -gt 0 ]]; do
  wait -n "${started[@]}" || true
  for number in "${!started[@]}"; do
    if kill -0 "${started[$number]}" 2>/dev/null; then continue; fi
    status=0
    wait "${started[$number]}" || status=$?
    unset "started[$number]"
    if [[ $status == 0 || $failed != 0 ]]; then continue; fi
    failed=$status
    echo "gpu_node.sh: ${hosts[$number]} (process $number) has ended with $status;" \
      'ending the others' >&2
    if [[ ${#started[@]} -gt 0 ]]; then kill -TERM "${started[@]}" 2>/dev/null || true; fi
  done
done
exit "$failed"
