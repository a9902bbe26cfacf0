# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client that the options of a module, or of another plugin, name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .client import IncusClient
from .transport import Endpoint
from .variables import CONNECTION


def endpoint_of(params: Mapping[str, Any]) -> Endpoint:
    """The endpoint that a module's (or plugin's) connection options name."""
    given = {field: params.get(option) or "" for option, (_variable, field) in CONNECTION.items()}
    return Endpoint(**{**given, "project": given["project"] or "default"})


def client_of(params: Mapping[str, Any]) -> IncusClient:
    return IncusClient(endpoint_of(params))
