# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWX's REST API, as far as it is needed: requests with a deadline, and errors in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    Unreachable,
)

from ..reasons import reason_of

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

URL, TOKEN, TOKEN_FILE, CA, PREFIX = (
    f"RACKSTEAD_AWX_{name}" for name in ("URL", "TOKEN", "TOKEN_FILE", "CA_CERT", "PREFIX")
)
#: Seconds to connect, and between two bytes of an answer.
TIMES = (5.0, 20.0)
#: Seconds before a request that AWX did not answer is made again: at first, and at most.
FIRST, MOST = 0.2, 10.0
#: What AWX gives on one page at most.
PAGE = 200


class Unsure(Unreachable):
    """The request was sent, and nobody knows whether AWX has done it."""


@dataclass(frozen=True)
class Settings:
    """``url`` is AWX's, or that of its API (``https://aap.example/api/controller/v2``)."""

    url: str
    token: str = field(repr=False)
    ca: str = ""
    #: before a workflow's name, this gives the job template's
    prefix: str = "rackstead "
    #: seconds for which requests are repeated that AWX does not answer
    patience: float = 120.0
    #: seconds after which AWX has done what it was asked, or never will
    settle: float = 120.0
    #: seconds between two looks at a job: at first, and at most
    look: float = 0.3
    most: float = 3.0

    @property
    def base(self) -> str:
        url = self.url.rstrip("/")
        return url if "/api/" in url else f"{url}/api/v2"


def settings(url: str, ca: str, token_file: str, prefix: str) -> Settings:
    """From options, and from the environment where there are none. Raises InvalidInput with a line for each fault."""
    url = url or os.environ.get(URL, "")
    ca = ca or os.environ.get(CA, "")
    problems = [] if url else [f"--awx-url: is needed with --executor awx; the environment's {URL} does as well"]
    problems += _url_problems(url) if url else []
    if ca and not Path(ca).is_file():
        problems.append(f'--awx-ca-cert: there is no file "{ca}"')
    token = _token(token_file or os.environ.get(TOKEN_FILE, ""), problems)
    if problems:
        raise InvalidInput(problems)
    found = Settings(url, token, ca)
    return Settings(url, token, ca, prefix or os.environ.get(PREFIX, found.prefix))


def _url_problems(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or parts.username or parts.query:
        return ["--awx-url: is not the URL of an AWX; allowed: https://awx.example"]
    if parts.scheme == "http" and not _is_here(host):
        return [f'--awx-url: "{url}" would show the token to the network; allowed: https, or http on this machine']
    return []


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _token(path: str, problems: list[str]) -> str:
    try:
        token = Path(path).read_text().strip() if path else os.environ.get(TOKEN, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f'--awx-token-file: "{path}" cannot be read: {getattr(error, "strerror", None) or error}')
        return ""
    if not token:
        problems.append(f"--awx-token-file: a token is needed; the environment's {TOKEN} does as well")
    elif not token.isascii() or not token.isprintable() or " " in token:
        problems.append("--awx-token-file: does not hold a token; allowed: one word")
    return token


class Client:
    """For one thread. ``wait`` waits so many seconds; True means that nobody needs an answer any more."""

    def __init__(self, chosen: Settings, wait: Callable[[float], bool]) -> None:
        from requests import Session

        self._chosen = chosen
        self._wait = wait
        self._session = Session()
        self._session.verify = chosen.ca or True
        self._session.auth = self._authorize  # else a .netrc would take the token's place

    def close(self) -> None:
        self._session.close()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Repeated while AWX does not answer."""
        end = Deadline(self._chosen.patience)
        pause = FIRST
        while True:
            try:
                return self._request("GET", path, params=params)
            except Unreachable:
                if end.expired() or self._wait(min(pause, end.remaining())):
                    raise
            pause = min(2.0 * pause, MOST)

    def every(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The results on all pages of a list."""
        number = 1
        while True:
            page = self.get(path, page_size=PAGE, page=number, **params)
            yield from page["results"]
            if not page.get("next"):
                return
            number += 1

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Made once. Raises Unsure where it may have been done."""
        return self._request("POST", path, json=dict(body or {}))

    def _authorize(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._chosen.token}"
        return request

    @property
    def where(self) -> str:
        return f"AWX at {self._chosen.url}"

    def _request(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        from requests import RequestException

        try:
            answer = self._session.request(
                method, f"{self._chosen.base}/{path}", timeout=TIMES, allow_redirects=False, **content
            )
        except RequestException as error:
            kind = Unreachable if method == "GET" or _never_sent(error) else Unsure
            raise kind(f"does not answer: {reason_of(error)}", where=self.where) from error
        return self._read(answer, method, path)

    def _read(self, answer: Response, method: str, path: str) -> dict[str, Any]:
        code = answer.status_code
        if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind = Unreachable if method == "GET" else Unsure
            raise kind(f"failed at {method} {path} ({code})", where=self.where)
        try:
            found = answer.json() if answer.content else {}
        except ValueError:
            found = None
        if code == HTTPStatus.TOO_MANY_REQUESTS:
            raise Unreachable("is asked too often (429)", where=self.where)
        if code >= HTTPStatus.BAD_REQUEST:
            raise self._refusal(code, method, path, said(found))
        if code >= HTTPStatus.MULTIPLE_CHOICES or not isinstance(found, dict):
            raise InvalidInput(
                [f"{self.where}: {method} {path} does not answer as AWX does ({code}); is the URL right?"]
            )
        return found

    def _refusal(self, code: int, method: str, path: str, text: str) -> Exception:
        if code == HTTPStatus.UNAUTHORIZED:
            return Denied("does not accept the token (401)", where=self.where)
        what = f"{method} {path} is refused ({code})" + (f": {text}" if text else "")
        if code == HTTPStatus.FORBIDDEN:
            return Denied(what, where=self.where)
        if code == HTTPStatus.NOT_FOUND:
            return NotFound(f"there is no {path} (404)", where=self.where)
        if code in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.CONFLICT):
            return Conflict(what, where=self.where)
        return InvalidInput([f"{self.where}: {what}"])


def said(found: Any) -> str:
    """An error's document in one line: ``field: what; field: what``."""
    if isinstance(found, dict):
        rows = [(key, said(value)) for key, value in found.items()]
        return "; ".join(text if key in ("detail", "error", "__all__") else f"{key}: {text}" for key, text in rows)
    if isinstance(found, list):
        return ", ".join(said(one) for one in found)
    return "" if found is None else " ".join(str(found).split())


def _never_sent(error: Exception) -> bool:
    """Whether not even a connection came about."""
    from requests.exceptions import ConnectTimeout, SSLError
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, ConnectTimeout | SSLError) or isinstance(reason, NewConnectionError)
