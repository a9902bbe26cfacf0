#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_certificate
version_added: "1.0.0"
short_description: Have a certificate of MicroK8s refreshed in time
description:
  - Runs on a node of the control plane. Makes a certificate anew that is good for so many days or fewer.
options:
  name:
    description: The certificate.
    type: str
    choices: [server.crt, front-proxy-client.crt, ca.crt]
    default: server.crt
  days:
    description: For how many days it has to be good yet.
    type: int
    default: 30
  force:
    description: Whether V(ca.crt) is made anew although the node is in a cluster, all of whose nodes have to join again then.
    type: bool
    default: false
  wait:
    description: How long MicroK8s is waited for afterwards, in seconds.
    type: float
    default: 300.0
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Have the server's certificate good for two months
  rackstead.infra.microk8s_certificate:
    days: 60
"""

RETURN = r"""
days:
  description: For how many days it is good now.
  returned: success
  type: int
before:
  description: For how many it was.
  returned: success
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.certificates import NAMES, ensure_certificate
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "name": {"type": "str", "choices": list(NAMES), "default": "server.crt"},
        "days": {"type": "int", "default": 30},
        "force": {"type": "bool", "default": False},
        "wait": {"type": "float", "default": 300.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    return ensure_certificate(
        client_of(given), given["name"], given["days"], given["wait"], given["force"], check=module.check_mode
    )


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
