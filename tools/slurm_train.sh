#!/usr/bin/env bash
# Train on a slurm cluster.
#   GPUS=8 bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [train.py arguments]
#   GPUS=8 bash tools/slurm_train.sh gpu acr configs/acr/vit_hybrid_voc.py --resume
# Also read: GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_common.sh"
show_help "$@"
(($# >= 3)) || fail 'usage: slurm_train.sh PARTITION JOB_NAME CONFIG [arguments]'

config=$(find_file "$3")
run_srun "$1" "$2" "$TOOLS/train.py" "$config" "${@:4}"
