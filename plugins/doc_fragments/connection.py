# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say where the Incus daemon is."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Where the Incus daemon listens, V(unix:///path/to/unix.socket) or V(https://host:8443).
      - Without it the local daemon's socket is used.
      - If not set, the value of the environment variable E(RACKSTEAD_URL) is used.
    type: str
  project:
    description:
      - The Incus project to work in. Without it, Incus's V(default) project.
      - If not set, the value of the environment variable E(RACKSTEAD_PROJECT) is used.
    type: str
  client_cert:
    description:
      - Path of the client certificate (PEM) that the daemon trusts. Only for O(url=https://...).
      - If not set, the value of the environment variable E(RACKSTEAD_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - Path of the client certificate's private key (PEM).
      - If not set, the value of the environment variable E(RACKSTEAD_CLIENT_KEY) is used.
    type: path
  server_fingerprint:
    description:
      - SHA-256 fingerprint of the server's certificate. If given, exactly this certificate is trusted (pinning).
      - If not set, the value of the environment variable E(RACKSTEAD_SERVER_FINGERPRINT) is used.
    type: str
  ca_cert:
    description:
      - Path of a CA certificate (PEM) to verify the server's certificate with, where it is not pinned.
        Without it the system's store is used.
      - If not set, the value of the environment variable E(RACKSTEAD_CA_CERT) is used.
    type: path
requirements:
  - python >= 3.11
"""
