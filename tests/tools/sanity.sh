#!/usr/bin/env bash
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ansible-test sanity on a staged collection; prints what it found, not how it got there.
# usage: sanity.sh TREE [ansible-test options]     TREE holds ansible_collections/rackstead/infra
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$1; shift
cache=$(cd "$tools/../.." && pwd)/.cache
python=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# ansible-test keeps its venvs in the home directory. It gets one of its own, so that
# the stand-in for get-pip reaches no other project; pip's settings come along.
home=$cache/sanity-home
mkdir -p "$home/.config" "$home/.cache" "$home/.ansible/test/cache"
ln -sfn "${XDG_CONFIG_HOME:-$HOME/.config}/pip" "$home/.config/pip"
ln -sfn "${XDG_CACHE_HOME:-$HOME/.cache}/pip" "$home/.cache/pip"
pip_version=$(python -c '
from types import SimpleNamespace
from ansible_test._internal.python_requirements import get_venv_packages
print(get_venv_packages(SimpleNamespace(version="'"$python"'"))["pip"])')
python -c 'import sys; print(sys.executable, end="")' >"$home/pip-of"
cp "$tools/get_pip.py" "$home/.ansible/test/cache/get_pip_${pip_version//./_}.py"

cd "$tree/ansible_collections/rackstead/infra"
log=$(mktemp); trap 'rm -f "$log"' EXIT
status=0
HOME=$home ansible-test sanity --local --python "$python" --color no "$@" </dev/null >"$log" 2>&1 || status=$?
if [ "$status" != 0 ]; then
  grep -E '^(ERROR|FATAL)' "$log" || cat "$log"
  exit "$status"
fi
# ansible-test ends with 0 where it found nothing to look at.
if grep -q 'All targets skipped' "$log" || ! grep -q '^Running sanity test "validate-modules"' "$log"; then
  cat "$log"; echo "sanity: nothing was checked"; exit 1
fi
grep -E '^WARNING: Skipping' "$log" || true
