# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as spans, where traces are recorded."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from ..tracing import Traces
from .logs import Noting

#: Requests that come all the time and tell nothing.
QUIET = ("/health", "/metrics")


class Traced:
    """Each request to the server as a span. Stands around all else."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self.app = app
        self.traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        span, noting = self.traces.request(scope), Noting(send)
        try:
            await self.app(scope, receive, noting)
        finally:
            self.traces.answered(span, scope, noting.status)
