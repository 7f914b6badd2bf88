# shellcheck shell=bash
# The environment of a training process, in one place; the other scripts source it.
# What is set already, even to nothing, keeps its value: set a variable on the
# command line of a script, and it reaches all processes of the run.

# Forwarded to the other machines where they are set. Those that nothing below sets
# have the defaults of their libraries: with libtpu's own flags (LIBTPU_INIT_ARGS),
# `vit_jax plan` compiles, too, so that what runs is what was planned.
forwarded=(
  VIT_JAX                       # The program, where it is not on PATH.
  TRIES PAUSE MAX_PAUSE STEADY  # See keep_going.sh,
  STOP_SECONDS LOG_LINES        # and background.sh.
  JAX_COMPILATION_CACHE_DIR     # Shared by the machines: a folder or gs://...
  XLA_CLIENT_MEM_FRACTION XLA_PYTHON_CLIENT_MEM_FRACTION # Its former name.
  XLA_FLAGS LIBTPU_INIT_ARGS
  TPU_STDERR_LOG_LEVEL TPU_MIN_LOG_LEVEL TPU_LOG_DIR # Where libtpu logs.
  TPU_PREMAPPED_BUFFER_SIZE     # Host memory for transfers to TPUs, in bytes.
  NCCL_DEBUG NCCL_DEBUG_SUBSYS NCCL_SOCKET_IFNAME NCCL_IB_HCA NCCL_NET
  PYTHONUNBUFFERED
)

# Prints NAME=VALUE of each of them that is set, quoted for a shell.
forwarded_variables() {
  local name
  for name in "${forwarded[@]}"; do
    if [[ -n ${!name+set} ]]; then printf '%q ' "$name=${!name}"; fi
  done
}

# Sets what a process on this machine needs.
set_environment() {
  # So that the last lines before a crash are in the log.
  export PYTHONUNBUFFERED=${PYTHONUNBUFFERED-1}
  if [[ ! -e ${NVIDIA_DEVICE:-/dev/nvidiactl} ]]; then return; fi
  # JAX takes 75 % of a GPU by default. A run has its GPUs for itself; the rest is
  # for CUDA, cuDNN and NCCL, which do not allocate from JAX's memory.
  if [[ -z ${XLA_PYTHON_CLIENT_MEM_FRACTION+set} ]]; then # Not both.
    export XLA_CLIENT_MEM_FRACTION=${XLA_CLIENT_MEM_FRACTION-0.9}
  fi
  # The gradients of a layer are summed over the GPUs while those of the layers
  # below it are computed; off by default (JAX, "GPU performance tips").
  local overlap=--xla_gpu_enable_latency_hiding_scheduler
  if [[ ${XLA_FLAGS-} != *$overlap* ]]; then
    export XLA_FLAGS="${XLA_FLAGS:+$XLA_FLAGS }$overlap=true"
  fi
  # NCCL is silent by default: a broken link shows as an abort without a reason.
  export NCCL_DEBUG=${NCCL_DEBUG-WARN}
}

# Prints the path of vit_jax: VIT_JAX, which is the program or a folder with it (a
# virtual environment or a checkout); else that on PATH; else that of this checkout.
vit_jax_program() {
  local given=${VIT_JAX:-vit_jax} place
  given=${given/#\~\//$HOME/} # A tilde that came from another machine.
  if [[ $given != */* ]] && command -v "$given"; then return; fi
  local places=("$given" "$given"{,/bin,/.venv/bin}/vit_jax)
  if [[ -z ${VIT_JAX:-} ]]; then
    places=("${BASH_SOURCE[0]%/*}/../.venv/bin/vit_jax" "$HOME/.local/bin/vit_jax")
  fi
  for place in "${places[@]}"; do
    if [[ -f $place && -x $place ]]; then
      echo "$place"
      return
    fi
  done
  echo "${HOSTNAME%%.*}: there is no vit_jax (VIT_JAX=${VIT_JAX:-}, PATH=$PATH);" \
    'install it there, or let VIT_JAX name the program or its folder' >&2
  return 127
}
