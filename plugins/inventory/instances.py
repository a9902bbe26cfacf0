# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: instances
author: Rackstead contributors (@rackstead)
short_description: Instances as hosts
version_added: "1.0.0"
description:
  - Makes hosts of the instances of one or several Incus daemons and projects, with one request for each project.
  - Tasks run inside the instances through P(rackstead.infra.instance#connection), without SSH, unless told otherwise.
  - The file's name does not matter, as long as it ends in V(.yml) or V(.yaml).
notes:
  - A host is called as its instance. Where O(projects) names more than one project, or V(*), the project follows behind
    a dot. Where there are several O(remotes), the remote follows behind another dot. So names are unique, and the name
    of a host does not depend on which other instances exist.
  - Every host has the variables C(rackstead_name), C(rackstead_project), C(rackstead_remote), C(rackstead_status),
    C(rackstead_type), C(rackstead_image), C(rackstead_profiles), C(rackstead_plan), C(rackstead_location),
    C(rackstead_architecture), C(rackstead_description), C(rackstead_created_at), C(rackstead_metadata),
    C(rackstead_ipv4) and C(rackstead_ipv6). The last two are empty lists without O(addresses).
  - What looks like a password, a token or a key in the metadata is left out.
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description:
      - Says that the file is for this plugin.
    type: str
    required: true
    choices:
      - rackstead.infra.instances
  url:
    description:
      - Where the Incus daemon listens, V(unix:///path/to/unix.socket) or V(https://host:8443).
      - Without it the local daemon's socket is used. Not used where O(remotes) is given.
    type: str
    env:
      - name: RACKSTEAD_URL
  client_cert:
    description:
      - Path of the client certificate (PEM) that the daemon trusts. Only for an O(url) with HTTPS.
    type: path
    env:
      - name: RACKSTEAD_CLIENT_CERT
  client_key:
    description:
      - Path of the client certificate's private key (PEM).
    type: path
    env:
      - name: RACKSTEAD_CLIENT_KEY
  server_fingerprint:
    description:
      - SHA-256 fingerprint of the server's certificate. If given, exactly this certificate is trusted (pinning).
    type: str
    env:
      - name: RACKSTEAD_SERVER_FINGERPRINT
  ca_cert:
    description:
      - Path of a CA certificate (PEM) to verify the server's certificate with, where it is not pinned.
    type: path
    env:
      - name: RACKSTEAD_CA_CERT
  projects:
    description:
      - The Incus projects to look into. V(*) stands for all.
    type: list
    elements: str
    default:
      - default
    env:
      - name: RACKSTEAD_PROJECT
  remotes:
    description:
      - Several daemons. Each has a C(name), and may have C(url), C(client_cert), C(client_key), C(server_fingerprint),
        C(ca_cert) and C(projects), which mean what the options of the same names do. C(projects) defaults to O(projects).
    type: list
    elements: dict
    default: []
  addresses:
    description:
      - Also ask for the addresses of running instances. That takes the daemon much longer.
    type: bool
    default: false
  connection:
    description:
      - Set C(ansible_connection) and what P(rackstead.infra.instance#connection) needs to reach the instance.
      - If V(false), C(ansible_host) is the instance's first address, where O(addresses) are asked for.
    type: bool
    default: true
  full_names:
    description:
      - Put the project behind every host's name, also where there is only one.
    type: bool
    default: false
  filters:
    description:
      - Take only instances that meet all of these conditions.
      - The keys are V(name), V(status), V(type), V(image), V(profile), V(plan), V(location) and V(metadata).
        A value is a text or a list of texts, one of which must fit, and may hold V(*), V(?) and V([...]).
        Under V(metadata) stand labels with their values.
    type: dict
    default: {}
  group_by:
    description:
      - What to make groups of. V(status) makes groups such as C(status_running), V(image) such as C(image_debian_12).
      - V(metadata) makes a group of each label and value, such as C(role_web) for the label C(role) with the value C(web).
        A label named as one of the other choices has C(metadata_) in front. Values of more than 64 characters
        make no group.
    type: list
    elements: str
    choices:
      - status
      - type
      - image
      - profile
      - plan
      - location
      - project
      - remote
      - metadata
    default:
      - status
      - type
      - image
      - profile
      - plan
      - location
      - project
      - remote
      - metadata
"""

EXAMPLES = r"""
# The instances of the local daemon
plugin: rackstead.infra.instances

---
# Two daemons and several projects, kept for ten minutes; hosts are called gateway.web.paris
plugin: rackstead.infra.instances
remotes:
  - name: local
    projects: [default, web]
  - name: paris
    url: https://incus.example.org:8443
    client_cert: ~/.config/rackstead/client.crt
    client_key: ~/.config/rackstead/client.key
    server_fingerprint: d10f41308b5e34a03cb1c7f66f0faf1801f827ac7dcaaac270ac860f8f2977fc
    projects: [web]
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/rackstead/inventory
cache_timeout: 600

---
# Running web servers of the plan "demo", with groups and variables of one's own
plugin: rackstead.infra.instances
addresses: true
filters:
  status: running
  plan: demo
  metadata:
    role: [web, proxy*]
keyed_groups:
  - key: rackstead_metadata.environment | default('none')
    prefix: env
compose:
  public_name: rackstead_name ~ '.example.org'
groups:
  dual_stack: rackstead_ipv4 | length > 0 and rackstead_ipv6 | length > 0
"""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.instances.inventory import (
    CONNECTION,
    ENDPOINT_OPTIONS,
    Record,
    Remote,
    Wanted,
    build_hosts,
    check_wanted,
    fetch,
    read_remotes,
)
from ansible_collections.rackstead.infra.plugins.plugin_utils.hosts import HostsPlugin


class InventoryModule(HostsPlugin):
    """Reads options, has the core ask and build, and tells Ansible."""

    NAME = "rackstead.infra.instances"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            single = {option: self.get_option(option) for option in ENDPOINT_OPTIONS}
            remotes = read_remotes(self.get_option("remotes"), single, self.get_option("projects"))
            wanted = Wanted(**{field: self.get_option(field) for field in Wanted._fields})
            check_wanted(wanted)
            hosts = build_hosts(self._records(path, remotes, cache), remotes, wanted)
        except RacksteadError as error:
            raise AnsibleParserError(f"{path}: {error}") from None
        self.populate(hosts)
        if hosts and wanted.connection:
            _preload_connection()

    def _records(self, path: str, remotes: list[Remote], cache: bool) -> list[Record]:
        addresses = self.get_option("addresses")
        question = repr((sorted(tuple(remote) for remote in remotes), addresses))
        return self.kept_records(path, question, lambda: fetch(remotes, addresses), cache)


def _preload_connection() -> None:
    """Load the connection plugin here, once: Ansible's workers are forked from this process, one for each task and
    host, and would each load it again.
    """
    from ansible.plugins.loader import connection_loader

    connection_loader.get(CONNECTION, class_only=True)
