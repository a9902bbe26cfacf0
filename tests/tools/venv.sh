#!/usr/bin/env bash
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes .venv and installs this checkout in it as a wheel; does nothing where nothing changed.
# usage: venv.sh run|test      run: what a user needs; test: the checking tools as well
# PYTHON=... picks the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
kind=${1:?run or test}
venv=$PWD/.venv
say() { printf 'venv: %s\n' "$*"; }

mkdir -p .cache
exec 9>.cache/venv.lock
flock 9

usable() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" /usr/bin/python3 python3.13 python3.12 python3.11; do
    if usable "$candidate"; then command -v "$candidate"; return; fi
  done
  return 1
}

install_debian_python() {
  local root=()
  command -v apt-get >/dev/null || return 0
  if [ "$(id -u)" != 0 ]; then root=(sudo); fi
  say "no Python 3.11 to 3.13 with venv is here: installing the Debian packages python3 and python3-venv"
  "${root[@]}" apt-get -o DPkg::Lock::Timeout=600 -qq update
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -y -qq \
    install --no-install-recommends python3 python3-venv >/dev/null
}

digest() { { printf '%s\n' "$venv"; cat; } | sha256sum | cut -d' ' -f1; }

sources() {
  find ./*.md ./*.rst COPYING galaxy.yml changelogs docs inventory meta plans playbooks plugins roles src \
    -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
}

stamped() { [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$2" ]; }

needs=$(digest <pyproject.toml)
wheel=$(sources | digest)
other=run
if [ "$kind" = run ]; then other=test; fi
# A venv with the checking tools has all a user needs as well.
have_needs() { stamped "$kind" "$needs" || { [ "$kind" = run ] && stamped "$other" "$needs"; }; }
if [ -x "$venv/bin/python" ] && have_needs && stamped wheel "$wheel"; then exit 0; fi

if ! "$venv/bin/python" -c 'import pip' 2>/dev/null || ! { stamped place "$venv"; }; then
  python=$(find_python) || { install_debian_python; python=$(find_python); } || {
    say "no Python 3.11, 3.12 or 3.13 with the venv module is on this machine; install one, or name it: make PYTHON=/path/to/python3"
    exit 1
  }
  say "making .venv with $("$python" --version)"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  printf '%s' "$venv" >"$venv/.stamp-place"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
pip() { "$venv/bin/python" -m pip "$@"; }
if have_needs; then
  say "installing rackstead"
  pip install -qq --no-build-isolation --no-deps .
else
  say "installing rackstead and what it needs ($kind)"
  rm -f "$venv"/.stamp-{run,test}
  pip install -qq 'hatchling>=1.27,<2'
  if [ "$kind" = test ]; then pip install -qq --no-build-isolation '.[test]'; else pip install -q --no-build-isolation .; fi
  printf '%s' "$needs" >"$venv/.stamp-$kind"
fi
printf '%s' "$wheel" >"$venv/.stamp-wheel"
