# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What provisioning is to people and programs: orders for servers, how far each is, and a function that does it.

The work itself is the collection's (``plugins/module_utils/baremetal/provision``), run as the workflow ``provision``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["provision_server"]


def __getattr__(name: str) -> Any:
    """``provision_server`` is loaded when it is asked for: the pages and commands do without it."""
    if name in __all__:
        from . import call

        return getattr(call, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
