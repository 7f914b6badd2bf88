#!/usr/bin/env bash
# Makes a sweep on GKE, by gke_sweep.yaml: a Job of its trials, a pod for each; once
# they are done, a Job of its final runs; then one that prints the table.
#   launch/gke_sweep.sh [--dry-run] NAME IMAGE CHIPS SELECTOR sweep --config=... --workdir=gs://...
# e.g. rates us-docker.pkg.dev/me/vit/vit_jax 4 \
#   cloud.google.com/gke-tpu-accelerator=tpu-v6e-slice,cloud.google.com/gke-tpu-topology=2x2
# CHIPS: of each run, all of one machine. SELECTOR: labels of its nodes.
# RESOURCE: by default google.com/tpu; nvidia.com/gpu. AT_ONCE: runs at a time, by
# default all. NAMESPACE, SERVICE_ACCOUNT: as of gke_jobset.sh. It waits for each Job;
# interrupted, the Job goes on, and the same command makes what is left.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/environment.sh
source "$here/environment.sh"
# shellcheck source=launch/sweep_tasks.sh
source "$here/sweep_tasks.sh"
# shellcheck source=launch/yaml.sh
source "$here/yaml.sh"
if [[ ${1:-} == --dry-run ]]; then is_dry=1 && shift; fi
if [[ $# -lt 6 || ! $3 =~ ^[1-9][0-9]*$ || $4 != *=* || $5 != sweep ]]; then
  sed -n '2,10s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2
fi
name=$1 image=$2 chips=$3 selector=$4 && shift 4
list_tasks "$@"

# Prints the Job of a stage: SUFFIX COMPLETIONS ARGUMENT...
job_of() {
  local text pairs=() pair arguments=() argument
  for argument in "${@:3}"; do arguments+=("$(quoted "$argument")"); done
  for pair in ${selector//,/ }; do pairs+=("${pair%%=*}: $(quoted "${pair#*=}")"); done
  text=$(<"$here/gke_sweep.yaml")
  fill NAME "$name-$1"
  fill IMAGE "$image"
  fill COMPLETIONS "$2"
  fill PARALLELISM "${AT_ONCE:-$2}"
  fill TRIES "${TRIES:-100}"
  fill SERVICE_ACCOUNT "${SERVICE_ACCOUNT:-default}"
  fill SELECTOR "$(listed "${pairs[@]}")"
  fill RESOURCE "${RESOURCE:-google.com/tpu}"
  fill CHIPS "$chips"
  fill ENVIRONMENT "$(listed "$index" "${variables[@]}")"
  fill ARGUMENTS "$(listed "${arguments[@]}")"
  echo "$text"
}

# Makes a Job anew, and waits for its end: SUFFIX COMPLETIONS ARGUMENT...
run() {
  if [[ -n ${is_dry:-} ]]; then
    echo --- && job_of "$@"
    return
  fi
  kubectl delete "${space[@]}" --ignore-not-found "job/$name-$1"
  job_of "$@" | kubectl apply "${space[@]}" --filename=-
  local ended=''
  while true; do
    ended=$(kubectl get "${space[@]}" "job/$name-$1" \
      --output=jsonpath='{.status.conditions[?(@.status=="True")].type}')
    case $ended in
      *Failed*)
        echo "gke_sweep.sh: job/$name-$1 has failed: kubectl describe it" >&2
        exit 1
        ;;
      *Complete*) return ;;
    esac
    sleep "${POLL_SECONDS:-30}"
  done
}

# What tells a pod its place among the tasks of its stage, also in older clusters.
index="{name: TASK, valueFrom: {fieldRef: {fieldPath: $(
)\"metadata.annotations['batch.kubernetes.io/job-completion-index']\"}}}"
variables=() space=(${NAMESPACE:+--namespace="$NAMESPACE"})
forwarded_as_yaml
num_trials=$(count choosing) num_finals=$(count final)
if [[ -n $trials ]]; then
  run choosing "$num_trials" "$@" "--task=choosing:\$(TASK)"
fi
if [[ -n $finals ]]; then run final "$num_finals" "$@" "--task=final:\$(TASK)"; fi
run table 1 "$@"
if [[ -z ${is_dry:-} ]]; then kubectl logs "${space[@]}" "job/$name-table"; fi
