#!/usr/bin/env bash
# Test with GPUS processes on this machine, over gloo where there is no GPU.
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [test.py arguments]
#   bash tools/dist_test.sh configs/acr/vit_hybrid_voc.py work_dirs/acr 4
# More machines: NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_common.sh"
show_help "$@"
(($# >= 3)) || fail 'usage: dist_test.sh CONFIG CHECKPOINT GPUS [test.py arguments]'

# On a CPU, convolutions round differently with another number of threads: as many a
# process as test.py takes alone make the same figures.
if ! command -v nvidia-smi >/dev/null; then
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
fi
config=$(find_file "$1")
run_torchrun "$3" "$TOOLS/test.py" "$config" "$2" "${@:4}"
