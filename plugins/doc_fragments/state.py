# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say where the state store is."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Where the state store is, V(file:/path), V(sqlite:/path/to/file) or V(postgresql://user@host/database).
      - If not set, the value of the environment variable E(RACKSTEAD_STATE) is used,
        else V(file:/var/lib/rackstead/state) for root and V(file:~/.local/state/rackstead/state) for others.
    type: str
  password:
    description:
      - Password for the server of a store.
      - If not set, the value of the environment variable E(RACKSTEAD_STATE_PASSWORD) is used.
    type: str
  key_file:
    description:
      - File with the keys that encrypt sensitive fields.
      - If not set, those of the environment variables E(RACKSTEAD_STATE_KEY_FILE) or E(RACKSTEAD_STATE_KEY) are used.
    type: path
requirements:
  - python >= 3.11
  - sqlalchemy (for V(sqlite:) and V(postgresql:))
  - psycopg (for V(postgresql:))
  - cryptography (for sensitive fields)
"""
