#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_exec
version_added: "1.0.0"
short_description: Run a command inside an Incus instance
description:
  - Runs a command inside a running instance through Incus's API, without a login, SSH or Python in the instance.
  - The command is started directly, as root unless told otherwise, without a shell's profile.
options:
  instance:
    description: Name of the instance.
    type: str
    required: true
  argv:
    description:
      - The command and its arguments, which no shell looks at.
      - Exactly one of O(argv) and O(cmd) is needed.
    type: list
    elements: str
  cmd:
    description: A command line that C(/bin/sh -c) runs inside the instance.
    type: str
  environment:
    description: Variables for the command, beside those that Incus sets.
    type: dict
    default: {}
  cwd:
    description: Directory to run the command in. Without it C(/root) for root, and C(/) for everybody else.
    type: str
  user:
    description:
      - Name or number of the user to run as. Names are those of the instance's own C(/etc/passwd).
      - C(HOME), C(USER) and C(LOGNAME) are set for a user that stands there. Supplementary groups are not.
    type: str
  group:
    description:
      - Name or number of the group to run as. Names are those of the instance's own C(/etc/group).
      - Without it, the user's primary group.
    type: str
  stdin:
    description: What the command reads from its standard input.
    type: str
  stdin_add_newline:
    description: Whether a newline is added to O(stdin).
    type: bool
    default: true
  timeout:
    description: Seconds after which the command is killed and the task fails. Without it there is no limit.
    type: int
  creates:
    description: Absolute path inside the instance. If it exists, the command is not run.
    type: str
  removes:
    description: Absolute path inside the instance. If it does not exist, the command is not run.
    type: str
  expected_rc:
    description: Exit codes that count as success.
    type: list
    elements: int
    default: [0]
  strip_empty_ends:
    description: Whether empty lines at the end of output are removed.
    type: bool
    default: true
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
    details:
      - The command is not run. Whether it would be is told from O(creates) and O(removes).
  diff_mode:
    support: none
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
  idempotent:
    support: partial
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    details:
      - With O(creates) or O(removes), if the command does what they say.
notes:
  - A command that cannot be found ends with RV(rc=127), one that cannot be executed with RV(rc=126), as in a shell. One that
    a signal N ended has 128 + N.
  - Secrets belong into O(stdin) or O(environment), never into O(argv) or O(cmd), which everybody inside the instance can read.
    Use C(no_log) on the task to keep them out of Ansible's own output.
seealso:
  - module: rackstead.infra.instance_file
  - module: ansible.builtin.command
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Run a command
  rackstead.infra.instance_exec:
    instance: gateway
    argv: [ip, -brief, address]

- name: Run a command line as another user
  rackstead.infra.instance_exec:
    instance: gateway
    cmd: pwd && id > made
    user: nobody
    cwd: /tmp

- name: Run it once
  rackstead.infra.instance_exec:
    instance: gateway
    argv: [touch, /etc/prepared]
    creates: /etc/prepared

- name: Set a password without showing it
  rackstead.infra.instance_exec:
    instance: gateway
    argv: [chpasswd]
    stdin: "deploy:{{ deploy_password }}"
  no_log: true
"""

RETURN = r"""
cmd:
  description: The command with its arguments.
  returned: success or failure
  type: list
  elements: str
rc:
  description: The exit code. V(0) where the command was not run.
  returned: success or failure
  type: int
stdout:
  description: Standard output.
  returned: success or failure
  type: str
stdout_lines:
  description: Standard output by lines.
  returned: success or failure
  type: list
  elements: str
stderr:
  description: Standard error.
  returned: success or failure
  type: str
stderr_lines:
  description: Standard error by lines.
  returned: success or failure
  type: list
  elements: str
stdout_base64:
  description: Standard output, whole and in Base64. In RV(stdout) bad bytes are replaced.
  returned: when standard output is not UTF-8
  type: str
stderr_base64:
  description: Standard error, whole and in Base64. In RV(stderr) bad bytes are replaced.
  returned: when standard error is not UTF-8
  type: str
start:
  description: When the command began, by the clock of the host where the task ran.
  returned: success or failure
  type: str
end:
  description: When it ended.
  returned: success or failure
  type: str
delta:
  description: How long it took.
  returned: success or failure
  type: str
  sample: "0:00:00.041"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.commands import CommandRequest, run_command


def options() -> dict[str, Any]:
    return {
        "instance": {"type": "str", "required": True},
        "argv": {"type": "list", "elements": "str"},
        "cmd": {"type": "str"},
        "environment": {"type": "dict", "default": {}},
        "cwd": {"type": "str"},
        "user": {"type": "str"},
        "group": {"type": "str"},
        "stdin": {"type": "str"},
        "stdin_add_newline": {"type": "bool", "default": True},
        "timeout": {"type": "int"},
        "creates": {"type": "str"},
        "removes": {"type": "str"},
        "expected_rc": {"type": "list", "elements": "int", "default": [0]},
        "strip_empty_ends": {"type": "bool", "default": True},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    result = run_command(client_of(module.params), CommandRequest.of(module.params), check=module.check_mode)
    lines = {f"{stream}_lines": result[stream].splitlines() for stream in ("stdout", "stderr")}
    return {**result, **lines}


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
