#!/usr/bin/env bash
# Make pseudo labels with GPUS processes on this machine, on CPUs where there is no GPU.
#   bash tools/dist_pseudo_labels.sh CONFIG CHECKPOINT GPUS --out DIR [arguments]
#   bash tools/dist_pseudo_labels.sh configs/acr/vit_hybrid_voc.py work_dirs/acr 4 \
#     --out work_dirs/acr/pseudo
# Arguments are those of generate_pseudo_labels.py.
# More machines: NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_common.sh"
show_help "$@"
(($# >= 5)) ||
  fail 'usage: dist_pseudo_labels.sh CONFIG CHECKPOINT GPUS --out DIR [arguments]'

config=$(find_file "$1")
run_torchrun "$3" "$TOOLS/generate_pseudo_labels.py" "$config" "$2" "${@:4}"
