#!/usr/bin/env bash
# A run on this machine that outlives the terminal; one at a time. tpu_pod.sh calls
# it on each machine of a pod.
#   launch/background.sh [--dry-run] start train --config=... --workdir=...
#   launch/background.sh status | stop | logs
# start: by keep_going.sh; refused while another run is in progress.
# status: exits with 0 while it runs and when it is done, with 3 if nothing was
# started, and else with the status that the run has ended with.
# stop: by SIGTERM, on which the run saves; waits for it, at most STOP_SECONDS (600).
# logs: the last lines, LOG_LINES (20), of ~/vit_jax.log.
set -uo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/environment.sh
source "$folder/environment.sh"
state=$HOME/vit_jax # .log, .pid, .ended: its status, .lock: held by all of a run.
host=${HOSTNAME%%.*}

usage() { sed -n '2,11s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2; }

say() { echo "$host: $*"; }

start() {
  vit_jax_program >/dev/null || exit 127
  exec 9>>"$state.lock" # Inherited: held until the last process of the run ends.
  if ! flock --timeout=1 9 || is_alive "$(pid)"; then
    exec 9>&-
    say "a run is in progress, $(processes): stop it first" >&2
    exit 2
  fi
  rm -f "$state.ended" "$state.pid"
  echo "$host: starting: $*" >>"$state.log"
  setsid "$BASH" "${BASH_SOURCE[0]}" attend vit_jax "$@" >>"$state.log" 2>&1 </dev/null &
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    if [[ -s $state.pid ]]; then
      say "started, process $(pid); log: $state.log"
      return
    fi
    sleep 0.05
  done
  say "not started: $(last_line)" >&2
  exit 1
}

# Starts the command and notes its process, and its status once it has ended.
attend() {
  trap '' HUP
  "$folder/keep_going.sh" "$@" &
  echo "$!" >"$state.pid"
  wait "$!"
  echo "$?" >"$state.ended"
}

status() {
  if is_running; then
    say "running, $(processes): $(last_line)"
  elif [[ -s $state.ended ]]; then
    say "ended with status $(<"$state.ended"): $(last_line)"
    exit "$(<"$state.ended")"
  elif [[ -s $state.pid ]]; then
    say "ended without a status, as by a restart of the machine: $(last_line)"
    exit 1
  else
    say 'nothing was started'
    exit 3
  fi
}

stop() {
  if ! is_running; then say 'nothing is running' && return; fi
  local numbers end=$((SECONDS + ${STOP_SECONDS:-600}))
  read -ra numbers <<<"$(pid)"
  if ! is_alive "$(pid)"; then # Killed, and what it had started was not.
    read -ra numbers <<<"$(holders)"
  fi
  kill -TERM "${numbers[@]}"
  while is_running; do
    if ((SECONDS >= end)); then
      say "still running, $(processes)" >&2
      exit 1
    fi
    sleep 0.1
  done
  say "stopped: $(last_line)"
}

is_running() {
  ! flock --nonblock "$state.lock" true 2>/dev/null && [[ -e $state.lock ]] ||
    is_alive "$(pid)"
}

pid() { cat "$state.pid" 2>/dev/null; }

# Whether a process runs and is ours: numbers are used again.
is_alive() {
  [[ -n $1 ]] && grep --quiet --text keep_going.sh "/proc/$1/cmdline" 2>/dev/null
}

processes() {
  local number
  number=$(pid)
  if ! is_alive "$number"; then number=$(holders); fi
  echo "process $number"
}

# The processes that hold the lock.
holders() {
  local descriptor numbers=()
  for descriptor in /proc/[0-9]*/fd/9; do
    if [[ $descriptor -ef $state.lock ]]; then
      descriptor=${descriptor#/proc/}
      numbers+=("${descriptor%%/*}")
    fi
  done
  echo "${numbers[*]}"
}

last_line() { tail --lines=1 "$state.log" 2>/dev/null; }

logs() { tail --lines="${LOG_LINES:-20}" "$state.log"; }

if [[ ${1:-} == --dry-run ]]; then
  shift
  start() { "$folder/keep_going.sh" --dry-run vit_jax "$@"; }
fi
case ${1:-} in
  start | attend) [[ $# -gt 1 ]] || usage ;;
  status | stop | logs) [[ $# == 1 ]] || usage ;;
  *) usage ;;
esac
"$@"
