#!/usr/bin/env bash
# See the whole chain work on generated images: environment, data, classifier, seeds,
# pseudo labels, segmentor, report. Minutes on two CPU cores; a rerun goes on where it
# was stopped.
set -euo pipefail

readonly SCRIPT=${0##*/}
readonly CALLED_FROM=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<EOF
usage: $SCRIPT [--work-dir DIR] [--seed N] [--method NAME] [--compare]
  --work-dir DIR  folder of everything that is made (default: work_dirs/quickstart)
  --seed N        seed of the generated images (default: 0)
  --method NAME   one of: $(methods) (default: acr)
  --compare       also run the method without its consistency, on the same budget
bash tools/$SCRIPT --method rca --work-dir work_dirs/rca
EOF
}

methods() {
  local path names=()
  for path in configs/pipelines/*_embedded.py; do
    path=${path##*/}
    names+=("${path%_embedded.py}")
  done
  echo "${names[*]}"
}

refuse() {
  echo "$SCRIPT: $*" >&2
  usage >&2
  exit 2
}

work_dir=$PWD/work_dirs/quickstart
seed=0
method=acr
compare=
while (($#)); do
  case $1 in
    --work-dir | --seed | --method)
      (($# > 1)) && [[ $2 != --* && -n $2 ]] || refuse "$1 needs a value"
      case $1 in
        --work-dir) work_dir=$2 ;;
        --seed) seed=$2 ;;
        --method) method=$2 ;;
      esac
      shift 2
      ;;
    --compare)
      compare=yes
      shift
      ;;
    -h | --help)
      usage
      exit
      ;;
    *) refuse "unknown argument $1" ;;
  esac
done
[[ $seed =~ ^[0-9]+$ ]] || refuse "--seed: expected a whole number, got '$seed'"
[[ $work_dir == /* ]] || work_dir=$CALLED_FROM/$work_dir
readonly CONFIG=configs/pipelines/${method}_embedded.py
readonly BASELINE=configs/pipelines/${method}_embedded_no_consistency.py
[[ -f $CONFIG ]] || refuse "--method: no method '$method'"
[[ -z $compare || -f $BASELINE ]] || refuse "--compare: there is no $BASELINE"

bash tools/setup_env.sh

readonly ENVIRONMENT=.venv/bin/python
# figures depend on the number of threads in their last digits; small models gain
# nothing from more
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
# threads that spin while they wait slow down several times on cores others also use
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
export MPLBACKEND=Agg

run_pipeline() {
  $ENVIRONMENT tools/run_pipeline.py "$1" --work-dir "$2" \
    --cfg-options data.synthetic.seed="$seed"
}

run_pipeline "$CONFIG" "$work_dir"
arguments=("$work_dir")
if [[ -n $compare ]]; then
  run_pipeline "$BASELINE" "$work_dir/compare"
  arguments+=(--compare "$work_dir/compare")
fi
$ENVIRONMENT tools/analysis/pipeline_report.py "${arguments[@]}"
cat <<EOF
checkpoints: $work_dir/classifier, $work_dir/segmentor
pseudo labels: $work_dir/labels/labels
logs: $work_dir/logs
EOF
