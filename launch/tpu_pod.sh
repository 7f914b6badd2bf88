#!/usr/bin/env bash
# Trains on all machines of a TPU pod, each of which restarts until it is done; the
# run continues after this script has ended.
#   launch/tpu_pod.sh [--dry-run] POD ZONE train --config=... --workdir=...
# VIT_JAX: folder of this repository on the machines, by default ~/vit_jax.
set -euo pipefail
run() { "$@"; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { printf '%q ' "$@" && echo; }
fi
if [[ $# -lt 3 ]]; then sed -n '2,5s/^# \?//p' "$0" >&2 && exit 2; fi
# shellcheck disable=SC2088  # The tilde is for the machines to expand.
folder=${VIT_JAX:-'~/vit_jax'}
train="nohup $folder/launch/keep_going.sh $folder/.venv/bin/vit_jax $(printf '%q ' "${@:3}")"
# JAX finds the other machines through each machine's metadata.
run gcloud compute tpus tpu-vm ssh "$1" --zone="$2" --worker=all \
  --command="$train >> ~/vit_jax.log 2>&1 < /dev/null & echo \$! > ~/vit_jax.pid"
