# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP with a server: requests with a deadline, pages, streams that go on after a lost connection, errors in a line."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    DeadlineExceeded,
    Denied,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
)

from ..reasons import reason_of
from .config import Choice

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

#: Seconds to connect, and between two bytes of an answer. A stream gives a sign of life every 15 seconds.
TIMES, STREAM_TIMES, SLOW_TIMES = (10.0, 60.0), (10.0, 50.0), (10.0, 600.0)
#: Seconds for which a server that was there may be away: it is started again, or the network is.
PATIENCE = 180.0
#: Seconds before a stream that was lost is taken up again.
PAUSE = 0.3
#: What a server gives on one page at most.
PAGE = 500
#: Statuses of what stands before a server, or of one whose store does not answer.
AWAY = (502, 503, 504)


class Client:
    """Speaks with one server. ``patience``: seconds for which a request is made again while nobody answers."""

    def __init__(self, choice: Choice) -> None:
        from requests import Session

        self.choice = choice
        self.patience = 0.0
        #: told when the server does not answer and is waited for, and when it is back
        self.tell: Callable[[str], None] = lambda _text: None
        self._session = Session()
        self._session.auth = self._authorize  # else a .netrc would take the token's place

    def _authorize(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.choice.token}"
        return request

    def close(self) -> None:
        self._session.close()

    # -- requests ----------------------------------------------------------------------------------
    def get(self, path: str, **params: Any) -> Any:
        return self._patiently(lambda: self._json("GET", path, params=params))

    def get_slowly(self, path: str) -> Any:
        """What a server may compute for minutes before it answers."""
        return self._patiently(lambda: self._json("GET", path, timeout=SLOW_TIMES))

    def text(self, path: str) -> str:
        """An answer that is no JSON, as text."""

        def read() -> str:
            with self._request("GET", path, timeout=TIMES) as answer:
                return answer.content.decode("utf-8", "replace")

        found: str = self._patiently(read)
        return found

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """A request that may be made twice without harm; None where the answer is empty."""
        return self._patiently(lambda: self._json(method, path, json=body, headers=headers))

    def pages(self, path: str, limit: int | None = None, **params: Any) -> Iterator[dict[str, Any]]:
        """The items of a list, over all its pages, at most ``limit`` of them."""
        cursor, left = "", limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self.get(path, limit=size, **params, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page["next"]
            if not cursor:
                return

    def _patiently(self, work: Callable[[], Any]) -> Any:
        """Again and again while nobody answers, as long as there is patience."""
        try:
            return work()
        except Unreachable as error:
            if not self.patience:
                raise
            self.tell(f"{error}; it is waited for")
            return self._waited(work, error)

    def _waited(self, work: Callable[[], Any], first: Unreachable) -> Any:
        found: list[Any] = []

        def answered() -> bool | None:
            with suppress(Unreachable):
                found.append(work())
            return True if found else None

        try:
            wait_until(answered, Deadline(self.patience), what="the server to answer", first=0.2, most=2.0)
        except DeadlineExceeded:
            raise first from None
        self.tell(f"{self.choice.url} is back")
        return found[0]

    def _json(self, method: str, path: str, **more: Any) -> Any:
        answer = self._request(method, path, **{"timeout": TIMES, **more})
        with answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return None
            try:
                return answer.json()
            except ValueError as error:
                raise self._stranger(answer) from error

    def _request(self, method: str, path: str, **more: Any) -> Response:
        from requests import RequestException

        try:
            answer = self._session.request(
                method, self.choice.url + path, verify=self.choice.ca or True, allow_redirects=False, **more
            )
            if answer.status_code >= 300:
                raise self._refusal(answer)
        except RequestException as error:
            raise Unreachable(f"does not answer: {reason_of(error)}", where=self.choice.url) from error
        return answer

    def _stranger(self, answer: Response) -> Unreachable:
        what = f"is no rackstead server: it answered {answer.status_code} {answer.reason}".rstrip()
        return Unreachable(what, where=self.choice.url)

    def _refusal(self, answer: Response) -> RacksteadError:
        """The error that a problem document tells of."""
        with answer:
            try:
                problem = answer.json()
                detail = str(problem["detail"])
            except (ValueError, KeyError, TypeError):
                return self._stranger(answer)
        if answer.status_code in (401, 403):
            return Denied(detail, where=self.choice.url)
        if answer.status_code in AWAY:
            return Unreachable(detail, where=self.choice.url)
        if answer.status_code == 404:
            return NotFound(detail)
        if answer.status_code in (409, 412):
            return Conflict(detail)
        if answer.status_code in (400, 413, 422):
            return InvalidInput(_lines(problem, detail))
        return OperationFailed(detail, where=self.choice.url)

    # -- streams -----------------------------------------------------------------------------------
    def stream(self, path: str, after: int = 0, **params: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events: their names and data, from the one after number ``after`` to the stream's own end.

        A connection that is lost is made again, and goes on with what was not seen yet.
        """
        from requests import RequestException

        seen, over = after, False
        while not over:
            answer = self._patiently(functools.partial(self._opened, path, seen, params))
            self.patience = self.patience or PATIENCE
            try:
                with answer:
                    for number, name, data in _parsed(answer.iter_lines()):
                        seen = number or seen
                        over = over or name == "end"
                        yield name, data
                if params.get("follow") == "false":
                    return
            except RequestException:
                self.tell("the connection is lost")
            if not over:
                threading.Event().wait(PAUSE)

    def _opened(self, path: str, seen: int, params: Mapping[str, Any]) -> Response:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(seen)}
        answer = self._request("GET", path, params=params, headers=headers, stream=True, timeout=STREAM_TIMES)
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise self._stranger(answer)
        return answer


def _parsed(lines: Iterator[bytes]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Number, name and data of each event. Data are JSON on one line."""
    number, name, data = 0, "", ""
    for raw in lines:
        key, _colon, value = raw.decode().partition(": ")
        if key == "id":
            number = int(value)
        elif key == "event":
            name = value
        elif key == "data":
            data = value
        elif not raw and data:
            yield number, name, json.loads(data)
            number, name, data = 0, "", ""


def _lines(problem: Mapping[str, Any], detail: str) -> list[str]:
    """A line for each fault, with the name of the field where the line does not say it itself."""
    lines = []
    for one in problem.get("errors") or ():
        text = str(one["detail"])
        named = f"{str(one['pointer']).rpartition('/')[2]}: {text}"
        lines.append(named if named in detail else text)
    return lines or [detail]


def quoted(text: str) -> str:
    """A piece of a path."""
    return quote(text, safe="")
