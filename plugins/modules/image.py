#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: has images in a daemon, from a file, a web server, an image server, or built."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Manages images and their aliases
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Has an image under an alias, from a local file, a web server, an image server, or built on the machine the module
    runs on, out of a Debian or Ubuntu package mirror.
  - With O(source=auto) an alias that exists is left as it is. Else the image comes from an image server, and where
    none is in reach, it is built. RV(msg) says which it was, and why.
  - An alias whose content is to change is pointed to the new image. The image it named before is removed if this module
    made it and no other alias names it.
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
attributes:
  idempotent:
    support: partial
    details:
      - With O(rebuild=true) an image is built in every run.
options:
  alias:
    description: Name of the image, such as V(debian/12).
    type: str
    required: true
    aliases: [name]
  state:
    description:
      - V(present) has the image.
      - V(absent) removes the alias, and the image if no other alias names it.
    type: str
    choices: [present, absent]
    default: present
  source:
    description:
      - Where the image comes from.
      - V(auto) takes an alias that exists; else O(server) if it answers within O(server_timeout); else it builds.
      - V(server) has the daemon pull it from an image server. An alias that came from there is not asked for again; the
        daemon itself looks for updates if O(auto_update=true).
      - V(build) builds it out of packages, or takes it from the cache of images built earlier.
      - V(file) imports O(path), and V(url) O(url_rootfs).
    type: str
    choices: [auto, server, build, file, url]
    default: auto
  type:
    description: What kind of instance the image is for. V(virtual-machine) cannot be built.
    type: str
    choices: [container, virtual-machine]
    default: container
  path:
    description: With O(source=file), a unified tarball, or a root file system (squashfs, tarball, disk image).
    type: path
  metadata_path:
    description: With O(source=file), the metadata tarball of a root file system.
    type: path
  url_rootfs:
    description: With O(source=url), address of a unified tarball, or of a root file system.
    type: str
  checksum:
    description: Checksum of what O(url_rootfs) serves, V(sha256:...) or V(sha512:...).
    type: str
  url_metadata:
    description: With O(source=url), address of the metadata tarball of a root file system.
    type: str
  metadata_checksum:
    description: Checksum of what O(url_metadata) serves.
    type: str
  server:
    description:
      - Address of the image server.
      - If not set, the value of the environment variable E(RACKSTEAD_IMAGE_SERVER) is used.
    type: str
    default: https://images.linuxcontainers.org
  protocol:
    description: What the image server speaks. Another Incus daemon speaks V(incus).
    type: str
    choices: [simplestreams, incus]
    default: simplestreams
  server_alias:
    description:
      - Name of the image on the server.
      - Without it, O(alias); with O(source=auto) and a distribution that can be built, its variant V(cloud), because
        plans count on cloud-init.
    type: str
  server_certificate:
    description: The server's own certificate in PEM, where no authority vouches for it.
    type: str
  server_timeout:
    description: With O(source=auto), seconds that the server has to answer.
    type: float
    default: 5
  auto_update:
    description: Whether the daemon looks for updates of an image that it pulls from a server.
    type: bool
    default: true
  distribution:
    description: What to build. Without it, what the first part of O(alias) says.
    type: str
    choices: [debian, ubuntu]
  release:
    description: Number or name of the release to build. Without it, what the second part of O(alias) says.
    type: str
  architecture:
    description: Architecture to build for. Only the machine's own can be built.
    type: str
  packages:
    description: Packages to build in, on top of systemd, cloud-init, python3, sshd and what they need.
    type: list
    elements: str
    default: []
  mirror:
    description:
      - Address of the package mirror to build from, which the image's own package sources will name, too, without a
        password.
      - Without it, the mirror of the machine if it runs the same release, else the distribution's official one.
    type: str
  security_mirror:
    description: Address of the security updates, where O(mirror) does not have them. Ubuntu's mirrors do.
    type: str
  rebuild:
    description: Whether to build even if the same image was built before, to have the packages of today.
    type: bool
    default: false
  cache_dir:
    description:
      - Folder for images that were built or downloaded.
      - If not set, the value of the environment variable E(RACKSTEAD_CACHE) is used.
    type: path
    default: /var/cache/rackstead/images
  public:
    description: Whether clients without a certificate may pull the image.
    type: bool
    default: false
  properties:
    description: Properties to set on the image. Others are left alone.
    type: dict
    default: {}
  timeout:
    description: Seconds that the daemon has for an import or a pull.
    type: int
    default: 1800
notes:
  - Building needs root, and the packages mmdebstrap and squashfs-tools with the distribution's keyring. The role
    P(rackstead.infra.provider#role) installs them when it is about to build.
  - Building takes a minute on a small machine. It happens once for each content; a build that is killed leaves nothing.
"""

EXAMPLES = r"""
- name: Have Debian 12, from an image server or built
  rackstead.infra.image:
    alias: debian/12

- name: Build Ubuntu 24.04 with a package more, from a mirror of one's own
  rackstead.infra.image:
    alias: ubuntu/24.04
    source: build
    packages: [curl]
    mirror: http://mirror.example.com/ubuntu

- name: Import a file
  rackstead.infra.image:
    alias: appliance
    source: file
    path: /srv/images/appliance.tar.xz

- name: Download an image, and check it
  rackstead.infra.image:
    alias: appliance
    source: url
    url_rootfs: https://example.com/rootfs.squashfs
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    url_metadata: https://example.com/metadata.tar.xz
    metadata_checksum: sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752

- name: Remove an image
  rackstead.infra.image:
    alias: appliance
    state: absent
"""

RETURN = r"""
msg:
  description: What was done, or would be, and why, in one sentence.
  type: str
  returned: success
  sample: >-
    image server images.linuxcontainers.org is out of reach (Name or service not known): built debian/12 from the package
    mirror in 38 s
fingerprint:
  description: Fingerprint of the image. Empty where there is none, or none yet in check mode.
  type: str
  returned: success
source:
  description: Where the image came from; V(existing) where it was there.
  type: str
  returned: success
  sample: build
actions:
  description: What was done, or in check mode would be done, in order.
  type: list
  elements: str
  returned: success
build_needed:
  description: In check mode, whether an image would be built, which takes its time.
  type: bool
  returned: success
missing_tools:
  description: In check mode, packages that the build needs and that are not installed.
  type: list
  elements: str
  returned: success
build_seconds:
  description: Seconds that building took; 0 where nothing was built.
  type: float
  returned: success
"""

from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.imagedoor import wanted_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.images import ensure_absent, ensure_present


def options() -> dict[str, Any]:
    server = {"default": "https://images.linuxcontainers.org", "fallback": (env_fallback, ["RACKSTEAD_IMAGE_SERVER"])}
    cache = {"default": "/var/cache/rackstead/images", "fallback": (env_fallback, ["RACKSTEAD_CACHE"])}
    return {
        "alias": {"type": "str", "required": True, "aliases": ["name"]},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "source": {"type": "str", "choices": ["auto", "server", "build", "file", "url"], "default": "auto"},
        "type": {"type": "str", "choices": ["container", "virtual-machine"], "default": "container"},
        "path": {"type": "path"},
        "metadata_path": {"type": "path"},
        "url_rootfs": {"type": "str"},
        "checksum": {"type": "str"},
        "url_metadata": {"type": "str"},
        "metadata_checksum": {"type": "str"},
        "server": {"type": "str", **server},
        "protocol": {"type": "str", "choices": ["simplestreams", "incus"], "default": "simplestreams"},
        "server_alias": {"type": "str"},
        "server_certificate": {"type": "str"},
        "server_timeout": {"type": "float", "default": 5},
        "auto_update": {"type": "bool", "default": True},
        "distribution": {"type": "str", "choices": ["debian", "ubuntu"]},
        "release": {"type": "str"},
        "architecture": {"type": "str"},
        "packages": {"type": "list", "elements": "str", "default": []},
        "mirror": {"type": "str"},
        "security_mirror": {"type": "str"},
        "rebuild": {"type": "bool", "default": False},
        "cache_dir": {"type": "path", **cache},
        "public": {"type": "bool", "default": False},
        "properties": {"type": "dict", "default": {}},
        "timeout": {"type": "int", "default": 1800},
    }


#: Options whose address may hold a password.
ADDRESSES = ("url_rootfs", "url_metadata", "server", "mirror", "security_mirror")


def run(module: AnsibleModule) -> dict[str, Any]:
    params, client = module.params, client_of(module.params)
    module.no_log_values |= {password for option in ADDRESSES if (password := urlsplit(params[option] or "").password)}
    if params["state"] == "absent":
        outcome = ensure_absent(client, params["alias"], check=module.check_mode)
    else:
        outcome = ensure_present(client, wanted_of(params), check=module.check_mode)
    return {
        "changed": outcome.changed,
        "msg": outcome.why,
        "fingerprint": outcome.after.fingerprint,
        "source": outcome.source,
        "actions": outcome.actions,
        "build_needed": outcome.build_needed,
        "missing_tools": outcome.missing_tools,
        "build_seconds": round(outcome.build_seconds, 1),
        "diff": outcome.diff(),
    }


def main() -> None:
    required = [("source", "file", ["path"]), ("source", "url", ["url_rootfs", "checksum"])]
    run_module(options(), run, required_if=required)


if __name__ == "__main__":
    main()
