# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say where MAAS is and who asks."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Where MAAS is, such as V(https://maas.example:5443/MAAS).
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_URL) is used.
    type: str
  api_key:
    description:
      - The API key, three words with colons between.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_API_KEY) is used.
    type: str
  api_key_file:
    description:
      - File that holds the API key, where O(api_key) is not given.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_API_KEY_FILE) is used.
    type: path
  validate_certs:
    description: Whether MAAS's certificate is checked.
    type: bool
    default: true
  ca_cert:
    description:
      - File with the certificates of the authorities that are trusted with it. Without it, the system's.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_CA_CERT) is used.
    type: path
  timeout:
    description: How long an answer is waited for, in seconds.
    type: float
    default: 30.0
requirements:
  - python >= 3.11
  - requests
  - requests-oauthlib
"""
