# shellcheck shell=bash
# Fills in a YAML file; the scripts of GKE source it, after environment.sh.

# Prints a string of YAML.
quoted() {
  local text=$1
  text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/\\n}
  printf '"%s"' "$text"
}

# Prints the items of a YAML list.
listed() {
  local IFS=,
  echo "$*"
}

# Replaces {NAME} in `text`: NAME VALUE.
fill() { text=${text//"{$1}"/"$2"}; }

# Adds what is forwarded to the list `variables`, as items of `env`.
forwarded_as_yaml() {
  local name
  # shellcheck disable=SC2154  # Of environment.sh.
  for name in "${forwarded[@]}"; do
    case $name in VIT_JAX | TRIES | PAUSE | *_PAUSE) continue ;; esac # Of other scripts.
    if [[ -n ${!name+set} ]]; then
      variables+=("{name: $name, value: $(quoted "${!name}")}")
    fi
  done
}
