# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a BIOS document of either kind."""

from __future__ import annotations

from .attributes import Attributes
from .document import Document
from .model import BiosDocument


def parse(data: bytes, where: str = "BIOS document") -> BiosDocument:
    """A document as ``encode`` has given it, or as SUM has written it. Raises InvalidInput."""
    if data.lstrip()[:1] == b"{":
        return Attributes.parse(data, where)
    return Document.parse(data, where)
