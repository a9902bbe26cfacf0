# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as problem documents (RFC 9457), each naming the fields that are at fault."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    RacksteadError,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import VersionMoved
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

log = logging.getLogger("rackstead.server")
MEDIA = "application/problem+json"
#: Errors of the service layer; others mean that something behind this server does not work.
STATUS: list[tuple[type[RacksteadError], int]] = [
    (InvalidInput, 422),
    (NotFound, 404),
    (VersionMoved, 412),
    (Conflict, 409),
    (DeadlineExceeded, 504),
]
#: The field that a line names, as we say it and as Ansible does.
_FIELD = re.compile(r"([A-Za-z_][\w.-]*): ")
_ANSIBLE = re.compile(r"(?:argument '|value of |missing required arguments: )([A-Za-z_]\w*)")


class Json(Response):
    """JSON in ASCII: whatever text is in it can be sent."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), default=str).encode()


class Refusal(Exception):
    """A request that is answered with a problem document. ``errors`` pairs JSON pointers with what is wrong."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers


def document(status: int, detail: str, errors: Sequence[tuple[str, str]] = (), instance: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    found["detail"] = detail
    if instance:
        found["instance"] = instance
    if errors:
        found["errors"] = [{"pointer": pointer, "detail": text} for pointer, text in errors]
    return found


def answer(request: Request, refusal: Refusal) -> Response:
    content = document(refusal.status, refusal.detail, refusal.errors, request.url.path)
    return Json(content, refusal.status, dict(refusal.headers or {}), MEDIA)


def of_error(error: RacksteadError, base: str = "") -> Refusal:
    """``base`` is the pointer of the mapping whose fields the error's lines name."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 503)
    if isinstance(error, InvalidInput):
        errors = [field_of(line, base) for line in error.problems]
        return Refusal(status, "; ".join(error.problems), errors)
    return Refusal(status, str(error))


def field_of(line: str, base: str = "") -> tuple[str, str]:
    """The pointer and the text of a line such as ``name: what is wrong``."""
    found = _FIELD.match(line)
    if found:
        return f"{base}/{found[1]}", line[found.end() :]
    told = _ANSIBLE.match(line)
    return (f"{base}/{told[1]}" if told else base), line


def _of_validation(error: RequestValidationError) -> Refusal:
    errors = []
    for one in error.errors():
        place, *path = one["loc"]
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
        errors.append((pointer if place == "body" else f"{place}{pointer}", str(one["msg"])))
    return Refusal(422, "; ".join(f"{pointer}: {text}" for pointer, text in errors), errors)


def install(app: FastAPI) -> None:
    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return answer(request, error)

    def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RacksteadError)
        found = of_error(error)
        if found.status >= 500:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return answer(request, found)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, _of_validation(error))

    def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(request, Refusal(error.status_code, str(error.detail), headers=error.headers))

    def broken(request: Request, _error: Exception) -> Response:
        return answer(request, Refusal(500, "something is wrong with this server; its log says what"))

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RacksteadError, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(Exception, broken)


#: What each status means, for the description of the API.
MEANING = {
    400: "The body cannot be read",
    401: "No token, or one that is not good",
    403: "The token's role or scope does not reach so far",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "It does not go together with what is there",
    412: "The record has another version",
    413: "The body is too large",
    422: "The request is at fault; errors names the fields",
    503: "The state store does not answer",
}


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem documents with which a route may answer."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": MEANING[status], "content": {MEDIA: {"schema": schema}}}
        for status in sorted({*statuses, 401, 403, 422, 503})
    }
