#!/usr/bin/env bash
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Galaxy's own import check on the collection's tarball; a warning counts as a failure.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
# ansible-lint is a check of its own here, and a stricter one: the importer only reports what it finds.
printf '%s\n' '[galaxy-importer]' 'check_required_tags = True' 'require_v1_or_greater = True' \
  'run_ansible_lint = False' >importer.cfg
export GALAXY_IMPORTER_CONFIG=$work/importer.cfg
ansible-galaxy collection build "$top" --output-path "$work" >/dev/null
python -m galaxy_importer.main "$work"/*.tar.gz 2>&1 | tee log
if grep -qE '^(WARNING|ERROR)' log; then exit 1; fi
