# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs as JSON, a line each, on standard error. Neither headers nor bodies nor queries stand in them."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN, hide_secrets
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access = logging.getLogger("rackstead.access")
_JOB = re.compile(r"\b(?:job|jobs|tasks)[ /]([0-9a-z]{26})\b")
#: What tokens look like, wherever one may come from.
_TOKEN = re.compile(r"rackstead_[\w-]{20,}")


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = str(hide_secrets(record.getMessage()))
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        job = _JOB.search(message)
        if job:
            line["job"] = job[1]
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _TOKEN.sub(HIDDEN, json.dumps(line, default=str))


def set_up(level: int = logging.INFO) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("rackstead").setLevel(level)


class Noting:
    """Passes an answer on, and notes its status; 0 if there was none."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        await self._send(message)


class AccessLog:
    """A line for each request, when it is over."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        begun, noting = time.monotonic(), Noting(send)
        try:
            await self.app(scope, receive, noting)
        finally:
            _tell(scope, noting.status, time.monotonic() - begun)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    method = scope.get("method", "WEBSOCKET")
    fields = {
        "method": method,
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "client": (scope.get("client") or ("",))[0],
        "who": scope.get("rackstead.who", ""),
    }
    access.info("%s %s", method, scope["path"], extra={"fields": fields})
