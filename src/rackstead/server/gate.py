# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks, and whether they may: the one check in front of every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from .problems import Refusal
from .tokens import Token, Tokens

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="rackstead"'}
#: For the description of the API only: the gate reads the header itself.
SHOWN = HTTPBearer(auto_error=False, description="A token: rackstead token create NAME --role ROLE")


@dataclass(frozen=True)
class Caller:
    token: Token
    origin: str

    @property
    def name(self) -> str:
        return self.token.name

    def require(self, role: str) -> None:
        if not self.token.has(role):
            raise Refusal(403, f'needs the role {role}; the token "{self.name}" has the role {self.token.role}')

    def require_unscoped(self) -> None:
        if self.token.scoped:
            raise Refusal(403, f'the token "{self.name}" is for some workflows or targets only')

    def require_scope(self, workflow: str, targets: Sequence[str]) -> None:
        if not self.token.covers(workflow, targets):
            what = f'the workflow "{workflow}"' + (f" on {', '.join(targets)}" if targets else "")
            raise Refusal(403, f'the token "{self.name}" is not for {what}')


def bearer(connection: HTTPConnection) -> str | None:
    scheme, _space, text = connection.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


class Gate:
    """``ways`` are where a token may stand in a request; a page adds its cookie."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.ways: list[Callable[[HTTPConnection], str | None]] = [bearer]

    async def caller(self, connection: HTTPConnection) -> Caller:
        """Raises Refusal."""
        text = next((found for way in self.ways if (found := way(connection))), None)
        if not text:
            raise Refusal(401, "a token is needed: Authorization: Bearer TOKEN", headers=CHALLENGE)
        token = self.tokens.remembered(text) or await run_in_threadpool(self.tokens.find, text)
        if token is None:
            raise Refusal(401, "the token is unknown, was revoked, or is out of date", headers=CHALLENGE)
        connection.scope["rackstead.who"] = token.name
        return Caller(token, connection.client.host if connection.client else "")


def needs(role: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency that gives the caller, who has at least this role."""

    async def dependency(
        request: Request, _shown: Annotated[HTTPAuthorizationCredentials | None, Security(SHOWN)]
    ) -> Caller:
        gate: Gate = request.app.state.gate
        caller = await gate.caller(request)
        caller.require(role)
        return caller

    return dependency
