#!/usr/bin/env bash
# Trains on all machines of a TPU pod, each of which restarts until it is done; the
# run continues after this script has ended. One run at a time.
#   launch/tpu_pod.sh [--dry-run] [--queued-resource] POD ZONE train --config=... --workdir=...
#   launch/tpu_pod.sh [--dry-run] [--queued-resource] --status | --stop | --logs POD ZONE
# --queued-resource: POD is a queued resource, of one slice or several.
# --status, --stop, --logs: of each machine; see background.sh. gcloud names the
# worker on which it fails.
# LAUNCH: this folder on the machines, by default ~/vit_jax/launch.
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
run() { "$@"; }
usage() { sed -n '2,9s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2; }
kind=(tpu-vm ssh) nodes=() task=start
while [[ ${1:-} == --* ]]; do
  case $1 in
    --dry-run) run() { printf '%q ' "$@" && echo; } ;;
    --queued-resource) kind=(queued-resources ssh) nodes=(--node=all) ;;
    --status | --stop | --logs) task=${1#--} ;;
    *) usage ;;
  esac
  shift
done
if [[ $task == start && $# -lt 3 || $task != start && $# != 2 ]]; then usage; fi
if [[ $2 == -* || ${3:-} == -* ]]; then usage; fi # A name is missing.
pod=$1 zone=$2 && shift 2
# shellcheck disable=SC2088  # The tilde is for the machines to expand.
home='~/'
launch=${LAUNCH:-${home}vit_jax/launch}
if [[ $launch == "$home"* ]]; then
  launch=$home$(printf '%q' "${launch:2}")
else
  launch=$(printf '%q' "$launch")
fi
# JAX finds the other machines, and the other slices, through the metadata of each.
run gcloud compute tpus "${kind[@]}" "$pod" --zone="$zone" "${nodes[@]}" --worker=all \
  --command="env $(forwarded_variables)$launch/background.sh $(printf '%q ' "$task" "$@")"
