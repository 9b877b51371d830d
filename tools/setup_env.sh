#!/usr/bin/env bash
# Make .venv in the repository root: mmwsss (editable) with its tested stack.
#   bash tools/setup_env.sh
#   PYTHON=python3.12 bash tools/setup_env.sh     choose the interpreter
#   bash tools/setup_env.sh crf                   also compile the dense CRF's package
# A second run only compares a stamp. Uses uv when it can, else pip.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly STAMP=$VENV/.mmwsss-stamp
readonly UNFINISHED=$VENV/.mmwsss-unfinished
readonly SUPPORTED='3.10 3.11 3.12'

say() { echo "setup_env.sh: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# Of an activated environment the interpreter behind it, which outlives its removal.
base_of() { "$1" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))'; }

is_supported() { [[ -n $1 && " $SUPPORTED " == *" $1 "* ]]; }

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

# The root is part of the fingerprint because a moved .venv holds the old paths.
fingerprint() {
  { pwd -P && cat setup.py requirements/*.txt mmwsss/version.py tools/setup_env.sh; } |
    sha256 | cut -d ' ' -f 1
}

find_python() {
  local candidate version
  if [[ -n ${PYTHON:-} ]]; then
    version=$(version_of "$PYTHON") || fail "PYTHON=$PYTHON does not start"
    is_supported "$version" ||
      fail "PYTHON=$PYTHON is Python $version; mmwsss needs one of: $SUPPORTED"
    base_of "$PYTHON"
    return
  fi
  for candidate in $VENV/bin/python python3 python3.11 python3.12 python3.10 python; do
    version=$(version_of "$candidate") || continue
    is_supported "$version" && base_of "$candidate" && return
  done
  fail "no Python of $SUPPORTED on PATH (python3 is $(version_of python3 || echo absent));" \
    'install one and run: PYTHON=python3.11 bash tools/setup_env.sh'
}

# A user who names an interpreter gets an environment made of it.
is_current() {
  [[ -f $STAMP && $(<"$STAMP") == "$(fingerprint)" ]] || return 1
  local version
  version=$(version_of $VENV/bin/python) || return 1
  [[ -z ${PYTHON:-} || $version == "$(version_of "$PYTHON")" ]]
}

find_uv() {
  local command
  UV=()
  # a shim of a version manager may be on PATH and still not start
  for command in uv "$VENV/bin/uv" "$1 -m uv"; do
    if $command --version >/dev/null 2>&1; then
      read -ra UV <<<"$command"
      return
    fi
  done
}

make_venv() {
  local python=$1
  # exists before anything else does: a torn environment is never taken for a whole one
  mkdir $VENV && touch $UNFINISHED
  if ((${#UV[@]})); then
    "${UV[@]}" venv --quiet --allow-existing --seed --python "$python" $VENV
    return
  fi
  "$python" -m venv $VENV ||
    fail "$python cannot make a virtual environment; install its venv module" \
      '(Debian, Ubuntu: apt-get install python3-venv)'
  $VENV/bin/python -m pip install --quiet uv ||
    say 'uv cannot be installed; going on with pip, which takes longer'
  find_uv "$python"
}

pip_install() {
  if ((${#UV[@]})); then
    "${UV[@]}" pip install --quiet --python $VENV/bin/python "$@"
  else
    $VENV/bin/python -m pip install --quiet "$@"
  fi
}

# Most containers lack the display libraries that opencv-python loads. The headless
# build replaces its files; its entry stays, because mmcv requires that name.
replace_opencv_without_display() {
  if $VENV/bin/python -c 'import cv2' 2>/dev/null; then return; fi
  say 'opencv-python does not load here; replacing it by opencv-python-headless'
  pip_install --no-deps \
    "$(sed -n 's/^opencv-python==/opencv-python-headless==/p' requirements/constraints.txt)"
}

install() {
  pip_install -c requirements/constraints.txt torch torchvision -e '.[onedl,dev]' &&
    replace_opencv_without_display
}

# It compiles for about a minute, which only those wait for who ask, as the tests do.
add_crf() {
  if $VENV/bin/python -c 'import pydensecrf.densecrf' 2>/dev/null; then return; fi
  find_uv $VENV/bin/python
  pip_install -c requirements/constraints.txt -r requirements/crf.txt ||
    say 'pydensecrf2 cannot be compiled here (is there a C++ compiler?);' \
      'the tests that need it are skipped'
}

add_stack() {
  if is_current; then return; fi
  # one installation at a time, and the others find it done
  if command -v flock >/dev/null; then
    exec 9<tools/setup_env.sh
    flock 9
    if is_current; then return; fi
  fi
  local python version updating=
  python=$(find_python)
  version=$(version_of "$python")
  rm -f $STAMP
  if [[ -f $UNFINISHED || $(version_of $VENV/bin/python) != "$version" ]]; then
    [[ -e $VENV ]] && say "replacing $VENV, unfinished or not of Python $version"
    rm -rf $VENV
    find_uv "$python"
    make_venv "$python"
  else
    updating=yes
    touch $UNFINISHED
    find_uv "$python"
  fi
  say "installing into $VENV (Python $version, ${UV[*]:-pip}); about 5 GB with torch"
  if ! install; then
    # an update refused, for want of a network say, leaves a working environment
    [[ -z $updating ]] || rm -f $UNFINISHED
    fail 'the installation failed; the lines above say why. Run it again then.'
  fi
  fingerprint >$STAMP.new
  mv $STAMP.new $STAMP
  rm -f $UNFINISHED
  say "done; activate with: source $VENV/bin/activate"
}

# tools/analysis/run_docs.py lends an environment to a copy
if [[ ${1:-} == fingerprint ]]; then
  fingerprint
  exit
fi
add_stack
if [[ ${1:-} == crf ]]; then add_crf; fi
