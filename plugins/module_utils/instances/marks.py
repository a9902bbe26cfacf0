# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this collection writes into the configuration of a resource, and what users do."""

from __future__ import annotations

from collections.abc import Mapping

#: Every key of ours begins so.
MARK = "user.rackstead."
#: The plan that owns the resource, by name.
PLAN_MARK = MARK + "plan"
#: The image as the plan has it.
IMAGE_MARK = MARK + "image"
#: Which of the resource's keys the plan has set.
KEYS_MARK = MARK + "keys"


def metadata_of(config: Mapping[str, str]) -> dict[str, str]:
    """The user's own labels: user.* keys but this collection's marks."""
    own = (key for key in sorted(config) if key.startswith("user.") and not key.startswith(MARK))
    return {key.removeprefix("user."): config[key] for key in own}
