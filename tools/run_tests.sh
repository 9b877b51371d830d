#!/usr/bin/env bash
# Check style, types and tests in the environment of setup_env.sh.
#   bash tools/run_tests.sh [pytest arguments]     e.g. -k seeds, or -n 0 --pdb
# Fails if any part fails; pytest comes last, so that its summary closes the output.
set -uo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
bash tools/setup_env.sh crf || exit

readonly BIN=$PWD/.venv/bin
# each worker and each process of a distributed test computes on its own core
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
export MPLBACKEND=Agg

failed=()
check() {
  echo "== $*"
  "$BIN/$1" "${@:2}" || failed+=("$1 ${2:-}")
}

check ruff check .
check ruff format --check .
check mypy mmwsss

if ((${#failed[@]})); then printf 'FAILED: %s\n' "${failed[@]}"; fi
echo '== pytest'
"$BIN/python" -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile "$@"
status=$?
((${#failed[@]})) && ((status == 0)) && status=1
exit $status
