# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nodes
author: Rackstead contributors (@rackstead)
short_description: Nodes of the registry as hosts
version_added: "1.0.0"
description:
  - Makes hosts of the nodes that the registry in the state store has.
  - Each cluster is a group, C(cluster_NAME), each label another, C(label_KEY_VALUE); the workers are in C(microk8s_worker).
  - The file's name does not matter, as long as it ends in V(.yml) or V(.yaml).
notes:
  - Hosts have the variables of their cluster, which are those of the role P(rackstead.infra.microk8s#role).
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices:
      - rackstead.infra.nodes
  url:
    description:
      - Where the state store is.
      - If not set, the value of the environment variable E(RACKSTEAD_STATE) is used,
        else V(file:/var/lib/rackstead/state) for root and V(file:~/.local/state/rackstead/state) for others.
    type: str
    env:
      - name: RACKSTEAD_STATE
"""

EXAMPLES = r"""
plugin: rackstead.infra.nodes
url: sqlite:/var/lib/rackstead/state.db
"""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry
from ansible_collections.rackstead.infra.plugins.module_utils.registry.inventory import build_hosts
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import default_url, open_store
from ansible_collections.rackstead.infra.plugins.plugin_utils.hosts import HostsPlugin


class InventoryModule(HostsPlugin):
    """Reads options, has the core read and build, and tells Ansible."""

    NAME = "rackstead.infra.nodes"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        url = self.get_option("url") or default_url()

        def fetch() -> list[Any]:
            store = open_store(url)
            try:
                registry = Registry(store)
                return [registry.nodes(), registry.clusters()]
            finally:
                store.close()

        try:
            # A URL may hold a password, and the cache is a file.
            nodes, clusters = self.kept_records(path, url.rpartition("@")[2], fetch, cache)
        except RacksteadError as error:
            raise AnsibleParserError(f"{path}: {error}") from None
        self.populate(build_hosts(nodes, clusters))
