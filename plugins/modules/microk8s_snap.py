#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_snap
version_added: "1.0.0"
short_description: Install, refresh or remove MicroK8s
description:
  - Installs MicroK8s from a channel or, where no store can be reached, from files, and waits until it runs.
  - What is installed is refreshed only where O(refresh) says so. A channel is checked before anything is done, and so is that it is not
    more than one minor version away.
options:
  state:
    description: V(absent) removes the snap with its data. Have the node leave its cluster first.
    type: str
    choices: [present, absent]
    default: present
  channel:
    description: Channel such as V(1.32/stable). Without it, the snap's own.
    type: str
  files:
    description:
      - Files on the machine to install from, as C(snap download) makes them, with the bases they need.
      - A snap without its C(.assert) file is installed as one that nobody vouches for.
    type: list
    elements: path
    default: []
  classic:
    description: Whether it is a snap with classic confinement. The channels named strict have the other kind.
    type: bool
    default: true
  refresh:
    description: Whether a MicroK8s that is there is brought to O(channel) or O(files). Its services stop meanwhile.
    type: bool
    default: false
  wait:
    description: How long it is waited for afterwards, in seconds.
    type: float
    default: 600.0
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Have MicroK8s
  rackstead.infra.microk8s_snap:
    channel: 1.32/stable

- name: Have MicroK8s where no store can be reached
  rackstead.infra.microk8s_snap:
    files:
      - /root/snaps/core20_2434.assert
      - /root/snaps/core20_2434.snap
      - /root/snaps/microk8s_8148.assert
      - /root/snaps/microk8s_8148.snap
"""

RETURN = r"""
snap:
  description: Version, revision and channel now. Null in check mode where it would be another.
  returned: success
  type: dict
due:
  description: Whether something was, or in check mode is, to be done.
  returned: success
  type: bool
before:
  description: The same before.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.snaps import ensure_snap


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "channel": {"type": "str"},
        "files": {"type": "list", "elements": "path", "default": []},
        "classic": {"type": "bool", "default": True},
        "refresh": {"type": "bool", "default": False},
        "wait": {"type": "float", "default": 600.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    return ensure_snap(
        client_of(given),
        given["state"],
        channel=given["channel"] or "",
        files=given["files"],
        classic=given["classic"],
        refresh=given["refresh"],
        seconds=given["wait"],
        check=module.check_mode,
    )


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
