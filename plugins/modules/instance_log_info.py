#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_log_info
version_added: "1.0.0"
short_description: Read what Incus instances have logged
description:
  - Reads the last lines of the journal, of cloud-init's output and of the console, without a login in the instances.
  - A log that an instance does not have is left out. The journal can be read of running instances only.
options:
  instances:
    description:
      - Names or shell patterns of the instances.
      - A name that does not exist fails the task, a pattern that fits nothing does not.
    type: list
    elements: str
    required: true
    aliases: [instance]
  sources:
    description: Which logs to read.
    type: list
    elements: str
    choices: [journal, cloud-init, console]
    default: [journal, cloud-init, console]
  lines:
    description: The last so many lines of each.
    type: int
    default: 50
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes.info
notes:
  - Incus hands out what a running instance said on its console only once. The next look shows what was said since, and
    all of it again when the instance is stopped.
  - In check mode the journal is left out, since reading it takes a command in the instance.
seealso:
  - module: rackstead.infra.instance_info
  - module: rackstead.infra.instance_exec
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: See why an instance did not come up
  rackstead.infra.instance_log_info:
    instance: gateway
    sources: [console, cloud-init]
    lines: 100
  register: logged
"""

RETURN = r"""
logs:
  description: The logs that there are, by instance and in the order of O(sources).
  returned: success
  type: list
  elements: dict
  contains:
    instance:
      description: The instance's name.
      type: str
    project:
      description: Its Incus project.
      type: str
    source:
      description: V(journal), V(cloud-init) or V(console).
      type: str
    text:
      description: The lines.
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.logs import SOURCES, read_logs


def options() -> dict[str, Any]:
    return {
        "instances": {"type": "list", "elements": "str", "required": True, "aliases": ["instance"]},
        "sources": {"type": "list", "elements": "str", "choices": list(SOURCES), "default": list(SOURCES)},
        "lines": {"type": "int", "default": 50},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    if given["lines"] < 1:
        raise InvalidInput([f"lines: {given['lines']} is not valid; allowed: 1 or more"])
    # A command runs in the instance for the journal, and in check mode none does.
    sources = [source for source in given["sources"] if source != "journal" or not module.check_mode]
    logs = read_logs(client_of(given), given["instances"], sources, given["lines"])
    return {"changed": False, "logs": logs}


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
