# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: where a machine's package mirror has its backports suite."""

from __future__ import annotations

DOCUMENTATION = r"""
name: apt_backports
short_description: Finds the backports suite of the package mirror that a machine uses
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Reads apt's source files, in the one-line form and in deb822, and says whether the backports suite of a
    release is among them, and if not, what a source file for it on the same mirror holds.
positional: release, mirror
options:
  _input:
    description: Content of the source files by path. A path that ends in C(.sources) is read as deb822.
    type: dict
    required: true
  release:
    description: Codename of the release, such as V(bookworm).
    type: str
    required: true
  mirror:
    description: Address of another mirror to take the suite from. Without it, the one that serves the release.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Say what a source file for backports would hold
  ansible.builtin.debug:
    msg: "{{ {path: lookup('ansible.builtin.file', path)} | rackstead.infra.apt_backports('bookworm') }}"
  vars:
    path: /etc/apt/sources.list.d/debian.sources
"""

RETURN = r"""
_value:
  description: What was found.
  type: dict
  contains:
    configured:
      description: Whether the suite is among the sources.
      type: bool
      returned: always
      sample: false
    stanza:
      description: The deb822 stanza that adds it. Empty where it is configured, or no source of the release is.
      type: str
      returned: always
      sample: "Types: deb\nURIs: http://mirror.example.com/debian\nSuites: bookworm-backports\nComponents: main\n"
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.instances import aptsources


def apt_backports(files: Mapping[str, str], release: str, mirror: str = "") -> dict[str, Any]:
    sources = aptsources.parse(files)
    if aptsources.source_of(sources, release, "-backports"):
        return {"configured": True, "stanza": ""}
    base = aptsources.source_of(sources, release)
    if mirror:
        base = aptsources.Source(mirror, release, ("main",), aptsources.DEBIAN_KEYRING)
    return {"configured": False, "stanza": aptsources.backports_stanza(base, release) if base else ""}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"apt_backports": apt_backports}
