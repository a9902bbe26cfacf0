#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_config
version_added: "1.0.0"
short_description: Arguments, proxies and registry mirrors of MicroK8s
description:
  - Writes what is given into MicroK8s's own files on the machine, leaves the rest of them as it is, and restarts the services that read them.
  - A restart that a killed run still owes is made up for by the next.
options:
  arguments:
    description:
      - By service (C(kubelet), C(kube-apiserver), C(kube-controller-manager), C(kube-scheduler), C(kube-proxy), C(containerd),
        C(k8s-dqlite)), arguments and their values.
      - An empty value stands for an argument without one; null takes the argument out.
    type: dict
    default: {}
  environment:
    description: Variables for containerd, such as C(HTTPS_PROXY); null takes one out. Users and passwords in them are not shown.
    type: dict
    default: {}
  mirrors:
    description: Where registries are asked for instead.
    type: list
    elements: dict
    default: []
    suboptions:
      registry:
        description: The registry, such as V(docker.io).
        type: str
        required: true
      endpoints:
        description: Where it is asked for, in this order.
        type: list
        elements: str
        default: []
      server:
        description: Where it is asked for if no endpoint answers. Without it, the registry itself.
        type: str
      ca_file:
        description: File on the machine with the authority of the endpoints' certificates.
        type: path
  restart:
    description: Whether the services are restarted.
    type: bool
    default: true
  wait:
    description: How long they are waited for, in seconds.
    type: float
    default: 300.0
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: More pods, a proxy and a mirror
  rackstead.infra.microk8s_config:
    arguments:
      kubelet:
        --max-pods: "200"
    environment:
      HTTPS_PROXY: http://proxy.example:3128
      NO_PROXY: 10.0.0.0/8,192.0.2.0/24
    mirrors:
      - registry: docker.io
        endpoints: [https://mirror.example:5000]
"""

RETURN = r"""
files:
  description: The files that are changed, below C(args).
  returned: success
  type: list
  elements: str
restarted:
  description: The services that are restarted.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.config import ensure_config
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "arguments": {"type": "dict", "default": {}},
        "environment": {"type": "dict", "default": {}},
        "mirrors": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "registry": {"type": "str", "required": True},
                "endpoints": {"type": "list", "elements": "str", "default": []},
                "server": {"type": "str"},
                "ca_file": {"type": "path"},
            },
        },
        "restart": {"type": "bool", "default": True},
        "wait": {"type": "float", "default": 300.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    return ensure_config(
        client_of(given),
        given["arguments"],
        given["environment"],
        given["mirrors"],
        given["restart"],
        given["wait"],
        check=module.check_mode,
    )


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
