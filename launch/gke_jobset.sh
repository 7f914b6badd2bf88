#!/usr/bin/env bash
# Starts a run on TPU slices of GKE, by gke_jobset.yaml.
#   launch/gke_jobset.sh [--dry-run] NAME IMAGE SLICES HOSTS ACCELERATOR TOPOLOGY train ...
# e.g. vitb us-docker.pkg.dev/me/vit/vit_jax 2 4 tpu-v5p-slice 2x2x4 train --config=...
#   --workdir=gs://my-bucket/b16
# HOSTS: of a slice; CHIPS: of a host, by default 4; NAMESPACE: as kubectl's context.
# SERVICE_ACCOUNT: of Kubernetes, by default its 'default'; it may read and write the
# buckets. At /data: CLAIM, a PersistentVolumeClaim, or BUCKET, by Cloud Storage FUSE.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/environment.sh
source "$here/environment.sh"
# shellcheck source=launch/yaml.sh
source "$here/yaml.sh"
run() { kubectl apply ${NAMESPACE:+--namespace="$NAMESPACE"} --filename=-; }
if [[ ${1:-} == --dry-run ]]; then
  shift
  run() { cat; }
fi
if [[ $# -lt 7 || ! $3/$4 =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]]; then
  sed -n '2,8s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2
fi
if [[ -n ${CLAIM:-} && -n ${BUCKET:-} ]]; then
  echo 'gke_jobset.sh: /data is CLAIM or BUCKET; both are set' >&2
  exit 2
fi

arguments=() variables=() mounts='' volumes='' annotations=''
for argument in "${@:7}"; do arguments+=("$(quoted "$argument")"); done
forwarded_as_yaml
if [[ -n ${CLAIM:-} ]]; then
  volumes="{name: data, persistentVolumeClaim: {claimName: $(quoted "$CLAIM")}}"
elif [[ -n ${BUCKET:-} ]]; then
  annotations='gke-gcsfuse/volumes: "true"'
  volumes="{name: data, csi: {driver: gcsfuse.csi.storage.gke.io, volumeAttributes: {$(
  )bucketName: $(quoted "$BUCKET"), mountOptions: implicit-dirs}}}"
fi
if [[ -n $volumes ]]; then mounts='{name: data, mountPath: /data}'; fi

text=$(<"$here/gke_jobset.yaml")
for name in NAME IMAGE SLICES HOSTS ACCELERATOR TOPOLOGY; do
  fill "$name" "$1" && shift
done
fill CHIPS "${CHIPS:-4}"
fill TRIES "${TRIES:-100}"
fill SERVICE_ACCOUNT "${SERVICE_ACCOUNT:-default}"
fill ANNOTATIONS "$annotations"
fill MOUNTS "$mounts"
fill VOLUMES "$volumes"
fill ENVIRONMENT "$(listed "${variables[@]}")"
fill ARGUMENTS "$(listed "${arguments[@]}")"
run <<<"$text"
