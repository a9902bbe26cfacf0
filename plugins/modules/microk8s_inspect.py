#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_inspect
version_added: "1.0.0"
short_description: Have MicroK8s inspect itself
description:
  - Runs C(microk8s inspect), which collects logs and the state of the machine in an archive, and tells what these say is wrong.
  - With O(reports), runs on the control node instead, puts the archives of many machines and the list of all findings into one.
  - An archive tells of everything that runs on the machine. It is readable by its owner alone.
  - Lines of logs are quoted without what looks like a secret.
options:
  reports:
    description: On the control node, the folder with the archives of the machines.
    type: path
  archive:
    description: With O(reports), the archive to write. Its name ends in C(.tar.gz).
    type: path
  machines:
    description: With O(reports), the findings of each machine, in lists by its name.
    type: dict
    default: {}
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Look for what is wrong
  rackstead.infra.microk8s_inspect:
  register: inspected
"""

RETURN = r"""
archive:
  description: Where the archive is. Empty in check mode, unless O(archive) names it.
  returned: success
  type: str
size:
  description: Its bytes. 0 in check mode.
  returned: without O(reports)
  type: int
findings:
  description: What is not well, the worst first. C(severity) is V(critical), V(warning) or V(notice); C(todo) is what to do.
  returned: success
  type: list
  elements: dict
text:
  description: The findings of all machines for people, numbered.
  returned: with O(reports)
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.inspect import inspect, pack
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "reports": {"type": "path"},
        "archive": {"type": "path"},
        "machines": {"type": "dict", "default": {}},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    if given["reports"]:
        return pack(Path(given["reports"]), Path(given["archive"]), given["machines"], check=module.check_mode)
    return inspect(client_of(given), check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False, required_together=[("reports", "archive")])


if __name__ == "__main__":
    main()
