#!/usr/bin/env bash
# Train with GPUS processes on this machine, over gloo where there is no GPU.
#   bash tools/dist_train.sh CONFIG GPUS [train.py arguments]
#   bash tools/dist_train.sh configs/acr/vit_hybrid_voc.py 4 --work-dir work_dirs/acr
# More machines: NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_common.sh"
show_help "$@"
(($# >= 2)) || fail 'usage: dist_train.sh CONFIG GPUS [train.py arguments]'

config=$(find_file "$1")
run_torchrun "$2" "$TOOLS/train.py" "$config" "${@:3}"
