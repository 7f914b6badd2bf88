#!/usr/bin/env bash
# Restarts a command until it is done (0) or a person must act: fix a mistake (2),
# install the program (126, 127); see docs/faults.md. On a signal it forwards it to
# the command and does not restart. Sets the environment of environment.sh.
#   launch/keep_going.sh [--dry-run] vit_jax train --config=... --workdir=...
# TRIES: starts in a row, by default 100; 1: the command takes this one's place.
# PAUSE: seconds before the second start, by default 10; then twice as many each
# time, up to MAX_PAUSE (300), until a start has run for STEADY seconds (600).
# Where its output is no terminal, or LABEL is set, lines begin with [HOST PROCESS].
set -uo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/environment.sh
source "$folder/environment.sh"
tries=${TRIES:-100} first=${PAUSE:-10} steady=${STEADY:-600} most=${MAX_PAUSE:-300}
stopping='' interrupted='' child='' labels=()

usage() { sed -n '2,10s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2; }

# Starts the command, once or again and again, and returns its last status.
keep_going() {
  local number started ended pause=$first
  for ((number = 1; ; number++)); do
    started=$SECONDS
    attend "$@"
    ended=$?
    case $ended in
      0 | 2) return "$ended" ;;
      126 | 127)
        echo "keep_going.sh: $1 cannot be started: status $ended" >&2
        return "$ended"
        ;;
    esac
    if [[ -n $stopping ]]; then return "$ended"; fi
    if ((SECONDS - started >= steady)); then number=1 pause=$first; fi
    if ((number >= tries)); then
      echo "keep_going.sh: exited with $ended; that was start $number of $tries" >&2
      return "$ended"
    fi
    echo "keep_going.sh: exited with $ended; restarting in $pause s ($number/$tries)" >&2
    attend sleep "$pause"
    if [[ -n $stopping ]]; then return "$ended"; fi
    pause=$((2 * pause < most ? 2 * pause : most))
  done
}

# Returns the status of a command, whatever interrupts the wait.
attend() {
  local status
  "$@" &
  child=$!
  if [[ $stopping == early ]]; then # Between the two lines above, maybe.
    stopping=1
    tell_to_stop
  fi
  interrupted=1
  while [[ -n $interrupted ]]; do # By a signal; then the status is not the command's.
    interrupted=''
    wait "$child"
    status=$?
  done
  child=''
  return "$status"
}

# shellcheck disable=SC2329  # By signals.
forward() {
  interrupted=1 stopping=early
  if [[ -n $child ]]; then stopping=1 && tell_to_stop; fi
}

is_session_leader() {
  local fields session
  fields=$(<"/proc/$$/stat")
  read -r _ _ _ session _ <<<"${fields##*) }"
  [[ $session == "$$" ]]
}

tell_to_stop() { kill -TERM "$child" 2>/dev/null; } # It may have ended.

# Has all lines of this process and of those it starts begin with a label.
label_lines() {
  local label pipes
  label="[${HOSTNAME%%.*}${process:+ $process}] "
  pipes=$(mktemp -d)
  mkfifo "$pipes/out" "$pipes/err"
  labelled <"$pipes/out" &
  labels=($!)
  labelled <"$pipes/err" >&2 &
  labels+=($!)
  exec >"$pipes/out" 2>"$pipes/err"
  rm -r "$pipes"
}

labelled() {
  trap '' TERM INT HUP # It ends after the last line.
  sed -u "s|^|$label|" || cat >/dev/null # The run outlives its reader.
}

if [[ ${1:-} == --dry-run ]]; then is_dry=1 && shift; fi
if [[ $# == 0 || $1 == -* || ! $tries$first$steady$most =~ ^[0-9]+$ ]]; then usage; fi
if [[ $1 == vit_jax ]]; then
  program=$(vit_jax_program) || exit 127
  set -- "$program" "${@:2}"
fi
set_environment
if [[ -n ${is_dry:-} ]]; then
  printf '%s\n' "env $(forwarded_variables)$(printf '%q ' "$@")"
  exit
fi
process=${SLURM_PROCID:-${OMPI_COMM_WORLD_RANK:-}}
for argument; do
  if [[ $argument == --process_id=* ]]; then process=${argument#*=}; fi
done
if [[ $tries == 1 ]]; then exec "$@"; fi
if [[ -n ${LABEL:-} || ! -t 1 || ! -t 2 ]]; then label_lines; fi
trap forward TERM INT
# A second signal would end the command at once. Of a terminal that is closed, as when
# a connection breaks, the kernel tells the leader of the session alone; an
# interactive shell tells the command as well.
if is_session_leader; then trap forward HUP; else trap 'interrupted=1 stopping=1' HUP; fi
keep_going "$@"
ended=$?
exec >&- 2>&-
if ((${#labels[@]})); then wait "${labels[@]}"; fi
exit "$ended"
