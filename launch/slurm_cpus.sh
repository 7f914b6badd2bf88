# shellcheck shell=bash
# The CPUs of a node for each of its GPUs; the scripts of Slurm source it.

# Prints them, of the node that has the fewest, as sinfo tells them.
#   cpus_of_a_gpu GPUS
# GPUS: of a node, where sinfo does not tell how many it has.
cpus_of_a_gpu() {
  local partition=${SBATCH_PARTITION:+--partition=$SBATCH_PARTITION}
  # shellcheck disable=SC2086  # There may be none.
  sinfo --noheader --format='%P %c %G' $partition | awk -v asked="$1" \
    -v all="${SBATCH_PARTITION:-}" '
    all == "" && $1 !~ /\*$/ { next }  # Not of the default partition.
    {
      has = match($3, /gpu:[^,(]*/)
      count = split(has ? substr($3, RSTART, RLENGTH) : asked, parts, ":")
      share = int($2 / (parts[count] > 0 ? parts[count] : asked))
      if (share > 0 && (!(has in least) || share < least[has])) least[has] = share
    }
    END { for (has = 99; has >= 0; has--) if (has in least) { print least[has]; exit } }'
}

# Sets `cpus` to CPUS_PER_TASK or to a GPU's share; ends the script without both.
#   set_cpus SCRIPT GPUS
set_cpus() {
  cpus=${CPUS_PER_TASK:-$(cpus_of_a_gpu "$2" || true)}
  if [[ ! $cpus =~ ^[1-9][0-9]*$ ]]; then
    echo "$1: sinfo does not tell the CPUs of a node: set CPUS_PER_TASK" >&2
    exit 2
  fi
}
