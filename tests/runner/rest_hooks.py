# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What schemathesis does before each request of its own (see test_rest_openapi.py)."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Wait for no job: there is no worker. Leave the token alone that the requests carry."""
    if isinstance(case.body, dict) and case.body.get("wait") is True:
        case.body["wait"] = False
    if case.path == "/tokens/{name}" and (case.path_parameters or {}).get("name") == "admin":
        case.path_parameters["name"] = "nobody"  # the token that it uses itself
