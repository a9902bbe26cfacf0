# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server boots from next, or always."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...common.errors import InvalidInput
from ...common.show import diff_of
from .model import Bmc, Boot


def ensure_boot(bmc: Bmc, wanted: Boot, *, check: bool, host: str) -> dict[str, Any]:
    """Have the boot override so. ``mode`` None leaves the mode as it is.

    A BMC may take the flags and not show them; ``verified`` says whether it does.
    """
    if wanted.device == "none" and wanted.persistent:
        raise InvalidInput(["persistent: is of no use with device none; allowed: with another device"])
    before = bmc.boot()
    after = wanted if wanted.mode or wanted.device == "none" else replace(wanted, mode=before.mode)
    if wanted.device == "none":
        after = Boot("none")
    changed = before != after
    seen = after
    if changed and not check:
        bmc.set_boot(after)
        seen = bmc.boot()
    result = {"changed": changed, "boot": vars(after), "verified": seen == after}
    if seen != after:
        result["warnings"] = [
            f"BMC {host} took the boot flags, but shows {_words(seen)} for them in place of {_words(after)}"
        ]
    return {**result, "diff": diff_of(vars(before), vars(after), f"BMC {host}")}


def _words(boot: Boot) -> str:
    lasting = "always" if boot.persistent else "next time"
    return "none" if boot.device == "none" else f"{boot.device} {lasting} ({boot.mode or 'mode not told'})"
