#!/usr/bin/env bash
# Starts a run on TPU slices of GKE, by gke_jobset.yaml.
#   launch/gke_jobset.sh [--dry-run] NAME IMAGE SLICES HOSTS ACCELERATOR TOPOLOGY train ...
# e.g. vitb gcr.io/me/vit_jax 2 4 tpu-v5p-slice 2x2x4 train --config=... --workdir=/data/...
# CHIPS: per machine, by default 4; CLAIM: PersistentVolumeClaim mounted at /data.
set -euo pipefail
run() { kubectl apply --filename=-; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { cat; }
fi
if [[ $# -lt 7 ]]; then sed -n '2,5s/^# \?//p' "$0" >&2 && exit 2; fi
text=$(<"$(dirname "$0")/gke_jobset.yaml")
for field in NAME IMAGE SLICES HOSTS ACCELERATOR TOPOLOGY; do
  text=${text//"{$field}"/$1} && shift
done
text=${text//'{CHIPS}'/${CHIPS:-4}}
text=${text//'{CLAIM}'/${CLAIM:-vit-jax}}
arguments=$(printf '"%s", ' "${@//\"/\\\"}") # As a YAML list.
run <<<"${text//'{ARGUMENTS}'/${arguments%, }}"
