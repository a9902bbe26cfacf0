#!/usr/bin/env bash
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Unit tests, documentation and playbooks on the oldest ansible-core that this Python runs.
# usage: oldest-core.sh [VERSION]     ANSIBLE_COLLECTIONS_PATH names the staged tree
# Only ansible-core is older here; every other package is the one of .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
oldest=$(python -c 'import sys; print("2.17" if sys.version_info < (3, 13) else "2.18")')
version=${1:-$oldest}
core=$PWD/.cache/core-$version
if [ ! -d "$core" ]; then
  rm -rf "$core.new"
  python -m pip install -qq --disable-pip-version-check --root-user-action=ignore --no-deps \
    --target "$core.new" "ansible-core==$version.*" 'resolvelib>=0.5.3,<1.1'
  mv "$core.new" "$core"
fi
export PYTHONPATH=$core
python -c "import ansible.release as r; print('ansible-core', r.__version__); assert r.__version__.startswith('$version.')"
python -m pytest -p no:cacheprovider tests/unit
python -m ansible doc --metadata-dump rackstead.infra >/dev/null
playbooks=(playbooks/*.yml)
if [ -e "${playbooks[0]}" ]; then
  names=("${playbooks[@]##*/}")
  names=("${names[@]%.yml}")
  python -m ansible playbook --syntax-check "${names[@]/#/rackstead.infra.}" >/dev/null
fi
