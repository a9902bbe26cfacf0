# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module hardware_report, which the module and its action plugin share."""

from __future__ import annotations

from typing import Any

from .model import SECTIONS

#: What the part that runs on the target needs of them.
ON_TARGET = ("sections", "certificates", "timeout")
OPTIONS: dict[str, Any] = {
    "node": {"type": "str"},
    "sections": {"type": "list", "elements": "str", "choices": list(SECTIONS)},
    "certificates": {"type": "list", "elements": "str", "default": []},
    "thresholds": {"type": "dict", "default": {}},
    "remember": {"type": "bool", "default": True},
    "keep": {"type": "int", "default": 30},
    "timeout": {"type": "float", "default": 15.0},
    # Those of the state store, said here since its code does not travel to the target.
    "url": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "key_file": {"type": "path", "no_log": False},
}
