# shellcheck shell=bash disable=SC2034  # Whoever sources it reads them.
# The tasks of a sweep that are left; the scripts that submit sweeps source it,
# after environment.sh.

# Sets `trials` and `finals` to the numbers of the tasks that are not done, as
# `vit_jax sweep ... --list` tells them here.
#   list_tasks sweep --config=... --workdir=...
list_tasks() {
  local program
  program=$(vit_jax_program) || return 127
  all_tasks=$("$program" "$@" --list --format=csv) || return 2
  trials=$(left choosing) finals=$(left final)
}

# Prints how many tasks a stage has.
count() { awk -F, -v stage="$1" 'NR > 1 && $2 == stage' <<<"$all_tasks" | wc -l; }

# Prints the numbers of a stage that are not done, as 0,1,4.
left() {
  awk -F, -v stage="$1" '
    NR > 1 && $2 == stage && $3 != "done" { list = list (list == "" ? "" : ",") $1 }
    END { print list }' <<<"$all_tasks"
}
