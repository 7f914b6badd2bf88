#!/usr/bin/env bash
# Starts a command again until it is done (0) or a person must mend something
# (2); see docs/faults.md. Told to stop, it tells the command and stays stopped.
#   launch/keep_going.sh vit_jax train --config=... --workdir=...
# TRIES, PAUSE: how often at most, and the seconds in between.
set -uo pipefail
tries=${TRIES:-100} pause=${PAUSE:-10} told='' child=''
trap 'if [[ $child ]]; then told=1; kill -TERM "$child"; else told=early; fi' \
  TERM INT
trap 'told=1' HUP # The terminal tells the command, too; twice is at once.
attend() { # Returns the status of a command, whatever cuts the wait short.
  local status
  "$@" &
  child=$!
  if [[ $told == early ]]; then # Between the two lines above, maybe.
    told=1
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
  if [[ -n $told || $ended == 0 || $ended == 2 ]]; then break; fi
  echo "keep_going.sh: ended with $ended; again in $pause s ($number/$tries)" >&2
  attend sleep "$pause"
  if [[ -n $told ]]; then break; fi
done
exit "$ended"
