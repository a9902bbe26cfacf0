# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of what provisions servers."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  maas_url:
    description:
      - Where MAAS is, such as V(https://maas.example:5443/MAAS).
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_URL) is used.
    type: str
  maas_api_key:
    description:
      - The API key, three words with colons between.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_API_KEY) is used.
    type: str
  maas_api_key_file:
    description:
      - File that holds the API key, where O(maas_api_key) is not given.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_API_KEY_FILE) is used.
    type: path
  maas_validate_certs:
    description: Whether MAAS's certificate is checked.
    type: bool
    default: true
  maas_ca_cert:
    description:
      - File with the certificates of the authorities that are trusted with MAAS's. Without it, the system's.
      - If not set, the value of the environment variable E(RACKSTEAD_MAAS_CA_CERT) is used.
    type: path
  maas_timeout:
    description: How long an answer of MAAS is waited for, in seconds.
    type: float
    default: 30.0
  device_types:
    description: File with the device types. Their templates lie beside it. The steps V(bios_modify) and V(bios_push) need it.
    type: path
  pools:
    description:
      - Pools of addresses for BMCs, by name. Each has C(addresses), such as V(192.0.2.10-192.0.2.50) or V(192.0.2.0/26), and
        may have C(netmask) and C(gateway) for the servers that take an address from it.
    type: dict
    default: {}
  bios_transport:
    description:
      - How BIOS settings are read and sent. V(sum) runs the Update Manager on the server over SSH, V(sum_oob) runs it here
        against the BMC, V(redfish) asks the BMC itself.
    type: str
    choices: [sum, sum_oob, redfish]
    default: sum
  sum:
    description: Path of Supermicro's Update Manager, on the server with O(bios_transport=sum), else here.
    type: str
    default: /opt/sum/sum
  ssh_user:
    description: Who logs in to a commissioned server.
    type: str
    default: ubuntu
  ssh_key_file:
    description: File with the private key that is logged in with. O(bios_transport=sum) needs it.
    type: path
  ssh_port:
    description: TCP port of SSH.
    type: int
    default: 22
  ssh_sudo:
    description: Whether the Update Manager is run through sudo on the server. Without it, it is for users other than root.
    type: bool
  bmc_username:
    description:
      - User of the BMCs.
      - If not set, the value of the environment variable E(RACKSTEAD_BMC_USERNAME) is used, else the user that MAAS switches
        the server as, with its password.
    type: str
  bmc_password:
    description:
      - The user's password. It is tried once; a refused one is not tried again, so that the account is not locked.
      - If not set, the value of the environment variable E(RACKSTEAD_BMC_PASSWORD) is used.
    type: str
  bmc_port:
    description: UDP port of IPMI.
    type: int
    default: 623
  bmc_cipher_suite:
    description: Cipher suite of IPMI. Without it 17 is tried, then 3.
    type: int
    choices: [1, 2, 3, 15, 16, 17]
  bmc_redfish_url:
    description: Where a BMC's Redfish service is, if it is not at C(https://ADDRESS). V({address}) in it stands for the BMC's address.
    type: str
  bmc_validate_certs:
    description: Whether the certificate of the Redfish service is checked.
    type: bool
    default: true
  bmc_ca_cert:
    description: File with the certificates of the authorities that are trusted with the BMCs'. Without it, the system's.
    type: path
  state_url:
    description:
      - The state store that keeps how far each server is.
      - If not set, the value of the environment variable E(RACKSTEAD_STATE) is used,
        else V(file:/var/lib/rackstead/state) for root and V(file:~/.local/state/rackstead/state) for others.
    type: str
  state_password:
    description:
      - Password for the server of a store.
      - If not set, the value of the environment variable E(RACKSTEAD_STATE_PASSWORD) is used.
    type: str
  state_key_file:
    description:
      - File with the keys that encrypt sensitive fields.
      - If not set, those of the environment variables E(RACKSTEAD_STATE_KEY_FILE) or E(RACKSTEAD_STATE_KEY) are used.
    type: path
  from_step:
    description: Step to begin with. Those before it count as skipped; it and those after it are looked at anew.
    type: str
    choices: [commission, address, bios_pull, bios_modify, bios_push, bmc, finalize]
  only_steps:
    description: The only steps to run.
    type: list
    elements: str
    choices: [commission, address, bios_pull, bios_modify, bios_push, bmc, finalize]
  steps:
    description:
      - Paces other than the usual ones, by step. C(timeout) is the seconds that an attempt has, C(attempts) their number,
        C(backoff) the seconds before the second one; each pause is twice the one before, at most 60.
    type: dict
    default: {}
  on_failure:
    description: Whether a server whose BIOS settings did not all stick keeps those that did, or gets its old ones back.
    type: str
    choices: [keep, restore]
    default: keep
  job:
    description:
      - Id of the job that this is, for the record.
      - If not set, the value of the environment variable E(RACKSTEAD_JOB) is used.
    type: str
requirements:
  - python >= 3.11
  - requests
  - requests-oauthlib
  - paramiko
  - python-ipmi[rmcpplus] >= 0.6
  - sqlalchemy (for stores V(sqlite:) and V(postgresql:))
"""
