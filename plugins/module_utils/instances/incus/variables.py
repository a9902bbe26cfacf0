# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say where Incus is, and the variables of the environment that stand in for them."""

from __future__ import annotations

#: option of a module -> (environment variable, field of Endpoint)
CONNECTION = {
    "url": ("RACKSTEAD_URL", "url"),
    "project": ("RACKSTEAD_PROJECT", "project"),
    "client_cert": ("RACKSTEAD_CLIENT_CERT", "cert_file"),
    "client_key": ("RACKSTEAD_CLIENT_KEY", "key_file"),
    "server_fingerprint": ("RACKSTEAD_SERVER_FINGERPRINT", "fingerprint"),
    "ca_cert": ("RACKSTEAD_CA_CERT", "ca_file"),
}
