# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: maas
author: Rackstead contributors (@rackstead)
short_description: Machines of a MAAS as hosts
version_added: "1.0.0"
description:
  - Makes hosts of the machines that a MAAS knows, with one request.
  - The file's name does not matter, as long as it ends in V(.yml) or V(.yaml).
notes:
  - A host is called as its machine, with its domain where two have the same name. C(ansible_host) is its first address.
  - Every host has the variables that M(rackstead.infra.maas_machine_info) returns, with C(maas_) in front.
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices:
      - rackstead.infra.maas
  url:
    description:
      - Where MAAS is, such as V(https://maas.example:5443/MAAS).
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_URL) is used.
    type: str
    env:
      - name: RACKSTEAD_MAAS_URL
  api_key:
    description:
      - The API key, three words with colons between.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_API_KEY) is used.
    type: str
    env:
      - name: RACKSTEAD_MAAS_API_KEY
  api_key_file:
    description:
      - File that holds the API key, where O(api_key) is not given.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_API_KEY_FILE) is used.
    type: path
    env:
      - name: RACKSTEAD_MAAS_API_KEY_FILE
  validate_certs:
    description: Whether MAAS's certificate is checked.
    type: bool
    default: true
  ca_cert:
    description:
      - File with the certificates of the authorities that are trusted with it. Without it, the system's.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_CA_CERT) is used.
    type: path
    env:
      - name: RACKSTEAD_MAAS_CA_CERT
  timeout:
    description: How long an answer is waited for, in seconds.
    type: float
    default: 30.0
  filters:
    description:
      - Take only machines that meet all of these conditions.
      - The keys are V(status), V(pool), V(zone), V(tag), V(architecture), V(power) and V(name).
        A value is a text or a list of texts, one of which must fit, and may hold V(*), V(?) and V([...]).
    type: dict
    default: {}
  group_by:
    description: What to make groups of. V(status) makes groups such as C(status_Ready), V(tag) such as C(tag_edge).
    type: list
    elements: str
    choices: [status, pool, zone, tag, architecture, power]
    default: [status, pool, zone, tag, architecture, power]
"""

EXAMPLES = r"""
# Deployed machines of a pool, kept for ten minutes
plugin: rackstead.infra.maas
url: https://maas.example:5443/MAAS
api_key_file: ~/.config/rackstead/maas.key
filters:
  status: Deployed
  pool: edge*
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/rackstead/maas
cache_timeout: 600
keyed_groups:
  - key: maas_owner_data.rack | default('nowhere')
    prefix: rack
"""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.client import OPTIONS, Maas, site_of
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.inventory import (
    build_hosts,
    check_wanted,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from ansible_collections.rackstead.infra.plugins.plugin_utils.hosts import HostsPlugin


class InventoryModule(HostsPlugin):
    """Reads options, has the core ask and build, and tells Ansible."""

    NAME = "rackstead.infra.maas"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        filters, group_by = self.get_option("filters"), self.get_option("group_by")
        try:
            check_wanted(filters, group_by)
            site = site_of({option: self.get_option(option) for option in OPTIONS})

            def fetch() -> list[dict[str, Any]]:
                with Maas(site) as maas:
                    return [machine.shown() for machine in maas.machines()]

            hosts = build_hosts(self.kept_records(path, site.url, fetch, cache), filters, group_by)
        except RacksteadError as error:
            raise AnsibleParserError(f"{path}: {error}") from None
        self.populate(hosts)
