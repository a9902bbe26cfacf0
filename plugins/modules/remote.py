#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remote
version_added: "1.0.0"
short_description: Enrol this machine at an Incus server over HTTPS
description:
  - Makes the server trust this machine's client certificate, by a trust token from C(incus config trust add).
  - Makes the certificate and its key where there are none yet. The key is readable by its owner alone.
  - The token's secret is sent only to a server whose certificate has the fingerprint that the token names.
  - A machine that is trusted already stays as it is, whether the token is still good or not.
options:
  state:
    description:
      - V(present) makes the server trust this machine, V(absent) makes it forget this machine's certificate.
      - The certificate and the key stay where they are.
    type: str
    choices: [present, absent]
    default: present
  token:
    description:
      - The trust token. Needed where the server does not trust this machine yet.
    type: str
  url:
    description:
      - Where the server listens, V(https://host:8443). Without it, the first of the token's addresses that answers.
      - If not set, the value of the environment variable E(RACKSTEAD_URL) is used.
    type: str
  client_cert:
    description:
      - Path of the client certificate (PEM).
      - If not set, the value of the environment variable E(RACKSTEAD_CLIENT_CERT) is used.
    type: path
    default: ~/.config/rackstead/client.crt
  client_key:
    description:
      - Path of the client certificate's private key (PEM).
      - If not set, the value of the environment variable E(RACKSTEAD_CLIENT_KEY) is used.
    type: path
    default: ~/.config/rackstead/client.key
notes:
  - For a new key pair either the Python library C(cryptography) or the command C(openssl) is needed.
  - O(project) is not used. Which projects a certificate may use is settled on the server, when the token is made.
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
seealso:
  - name: Remote servers
    description: From a token to a plan on another machine, with restricted certificates and clusters.
    link: https://github.com/rackstead/rackstead.infra/blob/main/docs/remotes.md
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Enrol with a token
  rackstead.infra.remote:
    url: https://incus.example.org:8443
    token: "{{ lookup('ansible.builtin.env', 'INCUS_TOKEN') }}"
  register: enrolled

- name: Use the server
  rackstead.infra.instance_info:
    url: "{{ enrolled.remote.url }}"
    client_cert: "{{ enrolled.remote.client_cert }}"
    client_key: "{{ enrolled.remote.client_key }}"
    server_fingerprint: "{{ enrolled.remote.server_fingerprint }}"

- name: Have the server forget this machine
  rackstead.infra.remote:
    state: absent
    url: https://incus.example.org:8443
    server_fingerprint: d10f41308b5e34a03cb1c7f66f0faf1801f827ac7dcaaac270ac860f8f2977fc
"""

RETURN = r"""
remote:
  description: The server, and how this machine stands with it.
  returned: success
  type: dict
  contains:
    url:
      description: Where the server was reached.
      type: str
      sample: https://incus.example.org:8443
    server_fingerprint:
      description: The fingerprint that the server's certificate has, to pin it. Empty where a CA vouches for it.
      type: str
      sample: d10f41308b5e34a03cb1c7f66f0faf1801f827ac7dcaaac270ac860f8f2977fc
    trusted:
      description: Whether the server trusts this machine's certificate now.
      type: bool
    name:
      description: What the server calls the certificate. Empty where it does not tell.
      type: str
    restricted:
      description: Whether the certificate is good for some projects only.
      type: bool
    projects:
      description: The projects that a restricted certificate is good for.
      type: list
      elements: str
    client_fingerprint:
      description: SHA-256 fingerprint of the client certificate. Empty in check mode where there is none yet.
      type: str
    client_cert:
      description: Path of the client certificate.
      type: str
    client_key:
      description: Path of its key.
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.remotes import RemoteRequest, ensure_remote


def options() -> dict[str, Any]:
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "token": {"type": "str", "no_log": True},
        "client_cert": {
            "type": "path",
            "default": "~/.config/rackstead/client.crt",
            "fallback": (env_fallback, ["RACKSTEAD_CLIENT_CERT"]),
        },
        "client_key": {
            "type": "path",
            "default": "~/.config/rackstead/client.key",
            "fallback": (env_fallback, ["RACKSTEAD_CLIENT_KEY"]),
            "no_log": False,
        },
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    return ensure_remote(RemoteRequest.of(module.params), check=module.check_mode)


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
