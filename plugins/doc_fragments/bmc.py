# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say where a BMC is and who asks."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  host:
    description:
      - Name or address of the BMC.
      - If not set, the value of the environment variable E(RACKSTEAD_BMC_HOST) is used.
    type: str
  username:
    description:
      - Who asks.
      - If not set, the value of the environment variable E(RACKSTEAD_BMC_USERNAME) is used.
    type: str
  password:
    description:
      - The password. It is tried once; a refused one is not tried again, so that the account is not locked.
      - If not set, the value of the environment variable E(RACKSTEAD_BMC_PASSWORD) is used.
    type: str
  port:
    description: UDP port of IPMI.
    type: int
    default: 623
  session_privilege:
    description: Privilege that a session over IPMI asks for. An account that is no administrator's needs its own here.
    type: str
    choices: [user, operator, administrator]
    default: administrator
  cipher_suite:
    description: Cipher suite of IPMI. Without it 17 is tried, then 3.
    type: int
    choices: [1, 2, 3, 15, 16, 17]
  timeout:
    description: How long an answer is waited for, in seconds.
    type: float
    default: 10.0
requirements:
  - python >= 3.11
  - python-ipmi[rmcpplus] >= 0.6
"""

    REDFISH = r"""
options:
  protocol:
    description: V(auto) takes Redfish where the BMC answers it, or O(redfish_url) is set, else IPMI.
    type: str
    choices: [auto, ipmi, redfish]
    default: auto
  redfish_url:
    description: Where the Redfish service is, if it is not at C(https://HOST).
    type: str
  validate_certs:
    description: Whether the certificate of the Redfish service is checked.
    type: bool
    default: true
  ca_cert:
    description: File with the certificates of the authorities that are trusted with it. Without it, the system's.
    type: path
requirements:
  - requests
"""
