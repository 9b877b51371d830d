#!/usr/bin/env bash
# Test on a slurm cluster.
#   GPUS=8 bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [test.py arguments]
# Also read: GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch_common.sh"
(($# >= 4)) || fail 'usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments]'

config=$(find_file "$3")
run_srun "$1" "$2" "$TOOLS/test.py" "$config" "$4" "${@:5}"
