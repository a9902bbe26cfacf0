# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client may cost: the size of a body, and the time for a request and for taking the answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .problems import MEDIA, Json, document

log = logging.getLogger("rackstead.server")
LARGEST_BODY = 1 << 20
#: Seconds for a request's head, for its body, and for the client to take a piece of the answer.
HEAD, BODY, TAKE = 10.0, 10.0, 30.0


class Limits:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if announced(scope) > LARGEST_BODY:
            content = document(413, TOO_LARGE, instance=scope["path"])
            await Json(content, 413, {"Connection": "close"}, MEDIA)(scope, receive, send)
            return

        async def patient(message: Message) -> None:
            async with asyncio.timeout(TAKE):
                await send(message)

        await self.app(scope, Body(receive).receive, patient)


TOO_LARGE = f"the body is larger than {LARGEST_BODY} bytes"


def announced(scope: Scope) -> int:
    """The length that the client says its body has."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


class Body:
    """A request's body as it comes in: not too long, and not too late."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._end = asyncio.get_running_loop().time() + BODY
        self._size = 0
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # waits for the client to go away
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, "the body did not come in time", {"Connection": "close"}) from error
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
        return message


class Protocol(H11Protocol):
    """HTTP on a connection that is closed if the head of a request does not come in time."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unwatch()

    def _watch(self) -> None:
        """Let the time run while a head is awaited, and stop it while a request is answered."""
        upgraded = self.transport.get_protocol() is not self
        if upgraded or (self.cycle and not self.cycle.response_complete):
            self._unwatch()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEAD, self._give_up)

    def _unwatch(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self.cycle or self.cycle.response_complete:
            self.transport.abort()
