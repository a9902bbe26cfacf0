#!/usr/bin/env bash
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# mypy strict on the core and the runner, under the names by which they are imported.
# usage: types.sh [mypy options]
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tree=$top/.cache/types
mkdir -p "$tree/ansible_collections/rackstead"
ln -sfn "$top" "$tree/ansible_collections/rackstead/infra"
cd "$tree"
MYPYPATH=$tree:$top/src mypy --config-file "$top/pyproject.toml" --cache-dir "$top/.mypy_cache" "$@" \
  ansible_collections/rackstead/infra/plugins/module_utils "$top/src/rackstead"
