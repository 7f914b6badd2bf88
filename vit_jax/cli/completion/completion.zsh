#compdef vit_jax
# Completion of vit_jax in zsh, in a folder of $fpath:
#   vit_jax completion zsh > ~/.zfunc/_vit_jax
# for this session: source <(vit_jax completion zsh)

# Sets `flags` to those of a command.
_vit_jax_flags() {
  flags=()
  case $1 in
    @FLAGS@
  esac
}

# Sets `flag` to what a positional argument of a command stands for.
_vit_jax_place() {
  flag=
  case $1:$2 in
    @PLACES@
  esac
}

# Sets `values` to the names that a flag takes, `paths` to file or folder.
_vit_jax_values() {
  values=() paths=
  case $1 in
    @VALUES@
  esac
}

_vit_jax() {
  local command flag paths skips word i place=0
  local -a flags values
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
    if [[ -z $command ]]; then
      command=$word
      _vit_jax_flags $command
    elif [[ -n $skips ]]; then
      skips=
    elif (( ${flags[(Ie)$word=]} )); then
      skips=$word
    elif [[ $word != -* ]]; then
      place=$((place + 1))
    fi
  done

  word=${words[CURRENT]}
  if [[ -z $command ]]; then
    compadd -- @COMMANDS@ --help --version
    return
  elif [[ -n $skips ]]; then
    _vit_jax_values $command:${skips#--}
  elif [[ $word == --*=* ]]; then
    flag=${${word%%=*}#--}
    compset -P '--*='
    _vit_jax_values $command:$flag
  elif [[ $word == --config.* ]]; then
    compadd -S '' -- @FIELDS@
    return
  elif [[ $word == -* ]]; then
    compadd -S '' -- $flags
    compadd -- --help
    return
  else
    _vit_jax_place $command $place
    [[ -n $flag ]] && _vit_jax_values $command:$flag
  fi
  (( $#values )) && compadd -- $values
  [[ $paths == file ]] && _files
  [[ $paths == folder ]] && _files -/
  return 0
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _vit_jax "$@"
else
  compdef _vit_jax vit_jax
fi
