# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all pages share: templates, headers, who looks at them, forms that were sent, and errors."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.hardware import page as hardware
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ..jobs.model import Job
from ..jobs.service import Service
from ..server.gate import Caller
from ..server.problems import Refusal, of_error
from . import sessions

HERE = Path(__file__).parent
COOKIE = "rackstead_session"
#: Of who is not signed in yet, so that the form to sign in carries a proof too.
VISIT = "rackstead_visit"
SIGN_IN = "/ui/sign-in"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
MOST_FIELDS = 500
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
STATIC = {path.name: path.read_bytes() for path in (HERE / "static").iterdir() if path.suffix in KINDS}
STATIC["hardware.css"] = hardware.STYLE.encode()
#: Changes with the files, so that browsers may keep them for ever.
EDITION = hashlib.sha256(b"".join(text for _name, text in sorted(STATIC.items()))).hexdigest()[:12]
_PAGE = re.compile(r"/ui(/[\w./-]*)?(\?[\w.=&%+-]*)?")


class SignIn(Exception):
    """Nobody is signed in."""


@dataclass(frozen=True)
class Visitor:
    caller: Caller
    session: str

    def may(self, role: str) -> bool:
        return self.caller.token.has(role)

    @property
    def unscoped(self) -> bool:
        return not self.caller.token.scoped


def visitor(request: Request) -> Visitor:
    """Who is signed in. Raises SignIn."""
    session = request.cookies.get(COOKIE, "")
    token = sessions_of(request).find(session) if session else None
    if token is None:
        raise SignIn
    request.scope["rackstead.who"] = token.name
    request.state.visitor = Visitor(Caller(token, origin_of(request)), session)
    found: Visitor = request.state.visitor
    return found


async def sent(request: Request) -> dict[str, str]:
    """The fields of a form, which carries the proof that it is one of this session's. Raises Refusal."""
    try:
        text = (await request.body()).decode()
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise Refusal(400, "the form cannot be read") from error
    found = {name: values[-1].replace("\r\n", "\n") for name, values in fields.items()}
    session = request.cookies.get(VISIT if request.url.path == SIGN_IN else COOKIE, "")
    if not sessions.proven(session, found.pop("proof", "")):
        raise Refusal(403, "the form is not of this session any more; load its page again")
    return found


Who = Annotated[Visitor, Depends(visitor)]
Form = Annotated[dict[str, str], Depends(sent)]


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


def sessions_of(request: Request) -> sessions.Sessions:
    return sessions.Sessions(service_of(request).store, request.app.state.gate.tokens)


def origin_of(request: Request) -> str:
    return request.client.host if request.client else ""


# -- answers ---------------------------------------------------------------------------------------
class Page(APIRoute):
    """A route whose errors are pages, and whose answers have the headers of pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                answer = await handler(request)
            except SignIn:
                answer = to_sign_in(request)
            except RequestValidationError as error:
                text = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
                answer = await run_in_threadpool(trouble, request, Refusal(422, text))
            except Refusal as refusal:
                answer = await run_in_threadpool(trouble, request, refusal)
            except RacksteadError as error:
                answer = await run_in_threadpool(trouble, request, of_error(error))
            for name, value in HEADERS.items():
                answer.headers.setdefault(name, value)
            return answer

        return handle


def to_sign_in(request: Request) -> Response:
    if request.method != "GET":
        return RedirectResponse(SIGN_IN, 303)
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='/')}", 303)


def local(path: str) -> str:
    """A page of ours to go to: never one that somebody else's link names."""
    return path if _PAGE.fullmatch(path) else "/ui/"


def trouble(request: Request, refusal: Refusal) -> Response:
    title = HTTPStatus(refusal.status).phrase
    return render(request, "trouble.html", refusal.status, title=title, detail=refusal.detail)


def render(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    who: Visitor | None = getattr(request.state, "visitor", None)
    common = {
        "who": who,
        "proof": sessions.proof(who.session) if who else "",
        "path": request.url.path,
        "edition": EDITION,
    }
    return HTMLResponse(templates.get_template(template).render({**common, **context}), status)


def static(name: str) -> Response:
    if name not in STATIC:
        raise Refusal(404, "there is no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(STATIC[name], media_type=KINDS[Path(name).suffix], headers=headers)


def set_cookie(request: Request, answer: Response, name: str, value: str) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(name, value, path="/ui", httponly=True, samesite="strict", secure=secure)


# -- words -----------------------------------------------------------------------------------------
def moment(at: float | None) -> str:
    """A time in this machine's zone."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""


def iso(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat("T", "seconds")


def span(seconds: float) -> str:
    """A duration, such as 0.3 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def took(job: Job) -> str:
    return span(max(0.0, (job.ended or time.time()) - job.started)) if job.started else ""


def pretty(value: Any, most: int = 8000) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def compact(value: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name}={one if isinstance(one, str) else json.dumps(one)}" for name, one in value.items())
    return text if len(text) <= 200 else f"{text[:200]}…"


templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
templates.filters |= {"moment": moment, "iso": iso, "span": span, "took": took, "pretty": pretty, "compact": compact}
