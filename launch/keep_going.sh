#!/usr/bin/env bash
# Restarts a command until it is done (0) or a person must fix something (2); see
# docs/faults.md. On a signal it forwards it to the command and does not restart.
#   launch/keep_going.sh vit_jax train --config=... --workdir=...
# TRIES, PAUSE: maximum number of starts, and seconds between them.
set -uo pipefail
tries=${TRIES:-100} pause=${PAUSE:-10} stopping='' child=''
trap 'if [[ $child ]]; then stopping=1; kill -TERM "$child"; else stopping=early; fi' \
  TERM INT
trap 'stopping=1' HUP # The terminal signals the command, too; a second one kills it.
attend() { # Returns the status of a command, whatever interrupts the wait.
  local status
  "$@" &
  child=$!
  if [[ $stopping == early ]]; then # Between the two lines above, maybe.
    stopping=1
    kill -TERM "$child"
  fi
  wait "$child"
  status=$?
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
  done
  child=''
  return "$status"
}
for ((number = 1; number <= tries; number++)); do
  attend "$@"
  ended=$?
  if [[ -n $stopping || $ended == 0 || $ended == 2 ]]; then break; fi
  echo "keep_going.sh: exited with $ended; restarting in $pause s ($number/$tries)" >&2
  attend sleep "$pause"
  if [[ -n $stopping ]]; then break; fi
done
exit "$ended"
