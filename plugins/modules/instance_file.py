#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_file
version_added: "1.0.0"
short_description: Push files into an Incus instance, pull them, or remove them
description:
  - Makes files, directories and symlinks inside an instance as they should be, without a login and without any program
    in the instance. Containers may be stopped.
  - Compares content by SHA-256, then owner, group and mode, and changes only what differs.
  - A pushed file appears under its name whole or not at all. It is written beside its place with its owner and mode,
    then renamed.
options:
  instance:
    description: Name of the instance.
    type: str
    required: true
  path:
    description: Absolute path inside the instance.
    type: str
    required: true
  state:
    description:
      - V(present) puts the content of O(src) or O(content) there. A symlink that stands there is replaced, not followed.
      - V(directory) makes a directory, with those above it that are missing.
      - V(link) makes a symlink that leads to O(src).
      - V(absent) removes what stands there.
      - V(pulled) copies from the instance to O(dest).
    type: str
    choices: [present, directory, link, absent, pulled]
    default: present
  src:
    description:
      - For O(state=present) a file on the control node, looked for as M(ansible.builtin.copy) does, or with
        O(remote_src=true) on the host where the task runs.
      - With O(recursive=true) it may be a directory, whose content ends up in O(path). What else O(path) holds stays.
      - For O(state=link) where the symlink leads to.
    type: str
  content:
    description: The file's content. It is never logged.
    type: str
  dest:
    description:
      - For O(state=pulled) where to put the file, on the host where the task runs. In an existing directory it
        gets the name it has in the instance.
      - A directory's content ends up in O(dest) itself.
    type: path
  remote_src:
    description: Whether O(src) is on the host where the task runs, not on the control node.
    type: bool
    default: false
  owner:
    description:
      - Name or number of the owner. Names are those of the instance's own C(/etc/passwd).
      - Without it an existing file keeps its owner, and a new one belongs to root.
    type: str
  group:
    description:
      - Name or number of the group. Names are those of the instance's own C(/etc/group).
      - Without it an existing file keeps its group, and a new one belongs to root's.
    type: str
  mode:
    description:
      - Permissions as three octal digits in quotes, such as V("0644"). For O(state=pulled) they are those of the
        local file.
      - V(preserve) takes those of O(src).
      - Without it an existing file keeps its permissions, and a new one gets V("0644"), a new directory V("0755"). In a
        recursive push the default is V(preserve), for O(state=pulled) the permissions inside the instance.
      - Set-user-id, set-group-id and sticky bits cannot be set through Incus's file access.
    type: raw
  directory_mode:
    description: In a recursive push the permissions of directories. Without it, those of the source's directories.
    type: raw
  recursive:
    description:
      - For O(state=present) and O(state=pulled) copies a directory with all it holds.
      - For O(state=absent) removes a directory that is not empty.
    type: bool
    default: false
  sensitive:
    description: Whether content is left out of diffs. To hide the whole result use C(no_log) on the task.
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
notes:
  - Diffs show text files of up to 100 kB.
  - A virtual machine must be running, with the Incus agent in it.
  - Symlinks in a recursive push keep their targets as they are. In a recursive pull, targets inside the pulled directory
    become relative.
seealso:
  - module: rackstead.infra.instance_exec
  - module: ansible.builtin.copy
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Push a configuration file
  rackstead.infra.instance_file:
    instance: gateway
    path: /etc/motd
    content: |
      Welcome to the gateway.
    mode: "0644"

- name: Push a directory
  rackstead.infra.instance_file:
    instance: gateway
    src: site/
    path: /var/www/html
    recursive: true
    owner: www-data
    group: www-data

- name: Push a key without showing it
  rackstead.infra.instance_file:
    instance: gateway
    content: "{{ tls_key }}"
    path: /etc/ssl/private/site.key
    mode: "0600"
    sensitive: true

- name: Pull a log
  rackstead.infra.instance_file:
    instance: gateway
    state: pulled
    path: /var/log/cloud-init.log
    dest: /tmp/gateway-cloud-init.log

- name: Remove a directory and what it holds
  rackstead.infra.instance_file:
    instance: gateway
    state: absent
    path: /var/cache/site
    recursive: true
"""

RETURN = r"""
path:
  description: The path inside the instance.
  returned: success
  type: str
dest:
  description: Where the pulled file or directory stands.
  returned: with O(state=pulled)
  type: str
changes:
  description: What was, or would be, changed, in order.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path inside the instance, or with O(state=pulled) on this host.
      type: str
    actions:
      description: Any of V(create), V(replace), V(content), V(owner), V(mode) and V(remove).
      type: list
      elements: str
  sample: [{path: /etc/motd, actions: [content, mode]}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.transfer import STATES, FileRequest, ensure


def options() -> dict[str, Any]:
    return {
        "instance": {"type": "str", "required": True},
        "path": {"type": "str", "required": True},
        "state": {"type": "str", "choices": list(STATES), "default": "present"},
        "src": {"type": "str"},
        "content": {"type": "str", "no_log": True},
        "dest": {"type": "path"},
        "remote_src": {"type": "bool", "default": False},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "raw"},
        "directory_mode": {"type": "raw"},
        "recursive": {"type": "bool", "default": False},
        "sensitive": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    client = client_of(module.params)
    return ensure(client, FileRequest.of(module.params), check=module.check_mode, diff=module._diff)


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
