# Completion of vit_jax in bash. For all sessions from now on:
#   vit_jax completion bash > ~/.local/share/bash-completion/completions/vit_jax
# for this one: source <(vit_jax completion bash)

# Sets `flags` to those of a command.
_vit_jax_flags() {
  flags=''
  case $1 in
    @FLAGS@
  esac
}

# Sets `flag` to what a positional argument of a command stands for.
_vit_jax_place() {
  flag=''
  case $1:$2 in
    @PLACES@
  esac
}

# Sets `values` to the names that a flag takes, `paths` to file or folder.
_vit_jax_values() {
  values='' paths=''
  case $1 in
    @VALUES@
  esac
}

_vit_jax() {
  local line=${COMP_LINE:0:COMP_POINT} cur=${COMP_WORDS[COMP_CWORD]}
  local words word command='' flag='' flags values paths place=0 skips='' i
  read -ra words <<<"${line% }"
  word=
  if [[ $line != *[[:space:]] ]]; then
    word=${words[${#words[@]} - 1]}
    unset 'words[${#words[@]} - 1]'
  fi
  # Bash cuts words at = and : and completes the last piece.
  [[ $cur == [=:] || -z $word ]] && cur=
  local before=${word%"$cur"} prefix='' i

  for ((i = 1; i < ${#words[@]}; i++)); do
    if [[ -z $command ]]; then
      command=${words[i]}
      _vit_jax_flags "$command"
    elif [[ -n $skips ]]; then
      skips=
    elif [[ " $flags" == *" ${words[i]}= "* ]]; then
      skips=${words[i]}
    elif [[ ${words[i]} != -* ]]; then
      place=$((place + 1))
    fi
  done

  values='' paths=''
  if [[ -z $command ]]; then
    values='@COMMANDS@ --help --version'
  elif [[ -n $skips ]]; then
    _vit_jax_values "$command:${skips#--}"
  elif [[ $word == --*=* ]]; then
    prefix=${word%%=*}=
    flag=${prefix%=}
    _vit_jax_values "$command:${flag#--}"
  elif [[ $word == -* ]]; then
    values="$flags --help"
    [[ $word == --config.* ]] && values='@FIELDS@'
  else
    _vit_jax_place "$command" "$place"
    [[ -n $flag ]] && _vit_jax_values "$command:$flag"
  fi

  local typed=${word#"$prefix"} found
  COMPREPLY=()
  while IFS= read -r found; do
    [[ -n $found ]] && COMPREPLY+=("${prefix}$found")
  done < <(
    compgen -W "$values" -- "$typed"
    [[ $paths == file ]] && compgen -f -- "$typed"
    [[ $paths == folder ]] && compgen -d -- "$typed"
  )
  COMPREPLY=("${COMPREPLY[@]#"$before"}")
  if type compopt &>/dev/null; then
    [[ -n $paths ]] && compopt -o filenames
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  fi
  return 0
}

complete -F _vit_jax vit_jax
