#!/usr/bin/env bash
# Test on a slurm cluster.
#   GPUS=8 bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [test.py arguments]
#   GPUS=8 bash tools/slurm_test.sh gpu acr configs/acr/vit_hybrid_voc.py work_dirs/acr
# Also read: GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_common.sh"
show_help "$@"
(($# >= 4)) || fail 'usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments]'

config=$(find_file "$3")
run_srun "$1" "$2" "$TOOLS/test.py" "$config" "$4" "${@:5}"
