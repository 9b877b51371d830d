# Shared by the launchers dist_*.sh and slurm_*.sh, which source it.

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
readonly TOOLS
export PYTHONPATH="$(dirname "$TOOLS")${PYTHONPATH:+:$PYTHONPATH}"

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# show_help [argument...]: where the first asks for it, print the script's first comment.
show_help() {
  case ${1:-} in
    -h | --help)
      sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
      exit
      ;;
  esac
}

# $PYTHON, else the repository's environment, else the python on PATH.
find_python() {
  if [[ -n ${PYTHON:-} ]]; then
    echo "$PYTHON"
  elif [[ -x $TOOLS/../.venv/bin/python ]]; then
    echo "$TOOLS/../.venv/bin/python"
  else
    echo python
  fi
}

# Print FILE as found from here, else from the repository root.
find_file() {
  local candidate
  for candidate in "$1" "$TOOLS/../$1"; do
    [[ -f $candidate ]] && realpath "$candidate" && return
  done
  fail "no file $1 in $PWD or $(dirname "$TOOLS")"
}

# run_torchrun GPUS SCRIPT [argument...]: processes on this machine, of NNODES.
run_torchrun() {
  local processes=$1 rendezvous
  shift
  [[ $processes =~ ^[1-9][0-9]*$ ]] ||
    fail "GPUS must be a number of processes >= 1, got '$processes'"
  if ((${NNODES:-1} == 1)) && [[ -z ${PORT:-} ]]; then
    # port 0 is any free one: two runs on one machine do not meet
    rendezvous=(--rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0 --local-addr 127.0.0.1)
  else
    rendezvous=(--node-rank "${NODE_RANK:-0}" --master-port "${PORT:-29500}"
      --master-addr "${MASTER_ADDR:-127.0.0.1}")
  fi
  # torchrun's own default, without its warning
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  exec "$(find_python)" -m torch.distributed.run --nnodes "${NNODES:-1}" \
    --nproc-per-node "$processes" "${rendezvous[@]}" "$@" --launcher pytorch
}

# run_srun PARTITION JOB_NAME SCRIPT [argument...]: GPUS tasks, GPUS_PER_NODE a node.
run_srun() {
  local partition=$1 job_name=$2 gpus=${GPUS:-4} extra
  shift 2
  local per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
  read -ra extra <<<"${SRUN_ARGS:-}"
  exec srun --partition "$partition" --job-name "$job_name" \
    --gres "gpu:$per_node" --ntasks "$gpus" --ntasks-per-node "$per_node" \
    --cpus-per-task "${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${extra[@]+"${extra[@]}"} "$(find_python)" -u "$@" --launcher slurm
}
