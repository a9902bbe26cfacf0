# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's events on disk: JSON lines, numbered from 1, appended while it runs and followed by whoever wants."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import DeadlineExceeded
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN, hide_secrets

FILE, STDOUT = "events.jsonl", "stdout"
#: Seconds between two looks at a file that is followed.
LOOK = 0.03
LONGEST_TEXT = 16_384
LONGEST_RESULT = 262_144
#: What is kept of a result that is too long.
SHORT = ("changed", "failed", "failure", "msg", "problems", "rc", "skipped", "unreachable")


class EventLog:
    """Writes events. One process does at a time: the engine before and after a run, the run's own in between."""

    def __init__(self, folder: Path, secrets: Sequence[str] = ()) -> None:
        self._folder = folder
        self._secrets = sorted({text for text in secrets if len(text) > 2}, key=len, reverse=True)
        try:
            self._events = _opened(folder / FILE)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._events = _opened(folder / FILE)
        self._stdout: int | None = None
        self._seq = _last_number(self._events)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._events)
        if self._stdout is not None:
            os.close(self._stdout)

    def add(self, event: str, **content: Any) -> None:
        self._seq += 1
        line = {"seq": self._seq, "time": round(time.time(), 3), "event": event, **content}
        os.write(self._events, (self.clean(json.dumps(line, default=str)) + "\n").encode())

    def take(self, event: Mapping[str, Any]) -> None:
        """Write an event of ansible-runner."""
        data = event.get("event_data") or {}
        text = self.clean(str(event.get("stdout") or "").replace("\r", ""))
        text = str(hide_secrets(text)) if text else ""
        content: dict[str, Any] = {
            key: data[key] for key in ("host", "task", "task_action", "duration", "ignore_errors") if data.get(key)
        }
        if "res" in data:
            content["result"] = short(data["res"])
        if text:
            content["stdout"] = text
            if self._stdout is None:
                self._stdout = _opened(self._folder / STDOUT)
            os.write(self._stdout, (text + "\n").encode())
        self.add(str(event["event"]), **content)

    def clean(self, text: str) -> str:
        """Without the values of the job's own secrets, as they are and as JSON writes them."""
        for secret in self._secrets:
            for form in {secret, json.dumps(secret)[1:-1]}:
                text = text.replace(form, HIDDEN)
        return text


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def short(result: Any) -> Any:
    """A task's result without secrets, and without what nobody reads."""
    if not isinstance(result, Mapping):
        return _cut(result)
    found = _cut(bare(result))
    if len(json.dumps(found, default=str)) > LONGEST_RESULT:
        return {key: found[key] for key in SHORT if key in found} | {"cut": True}
    return found


def bare(result: Mapping[str, Any]) -> dict[str, Any]:
    """A task's result without secrets, and without what is Ansible's own."""
    kept = {key: value for key, value in result.items() if key != "invocation" and not key.startswith("_ansible")}
    found: dict[str, Any] = hide_secrets(kept)
    return found


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}… ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {key: _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value] if isinstance(value, list) else value


def _last_number(events: int) -> int:
    """The number of the last whole line. What a killed writer left of another is taken away."""
    size = os.fstat(events).st_size
    step = 65_536
    tail = b""
    start = size
    while start and tail.count(b"\n") < 2:
        start = max(0, start - step)
        tail = os.pread(events, size - start, start)
    whole, newline, rest = tail.rpartition(b"\n")
    if rest:
        os.ftruncate(events, size - len(rest))
    return int(json.loads(whole.rpartition(b"\n")[2])["seq"]) if newline else 0


def read(folder: Path, after: int = 0, *, over: Callable[[], bool] | None = None) -> Iterator[dict[str, Any]]:
    """Events with a number above ``after``. With ``over``, wait for more until it says that there are none."""
    position, rest, over_already = 0, b"", over is None
    while True:
        position, rest, lines = more(folder / FILE, position, rest)
        for line in lines:
            event = json.loads(line)
            if event["seq"] > after:
                yield event
        if lines:
            continue
        if over_already or over is None:
            return
        over_already = over()  # then the file is read once more: what was written until then is seen
        if not over_already:
            _wait(folder / FILE, position)


def more(path: Path, position: int, rest: bytes) -> tuple[int, bytes, list[bytes]]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < position:  # a torn line was taken away
                position, rest = position - len(rest), b""
            file.seek(position)
            added = file.read(1 << 20)
    except FileNotFoundError:
        return position, rest, []
    *lines, left = (rest + added).split(b"\n")
    return position + len(added), left, lines


def size(folder: Path) -> int:
    try:
        return (folder / FILE).stat().st_size
    except FileNotFoundError:
        return 0


def _wait(path: Path, position: int) -> None:
    """Until the file has another size, or it is time to ask again whether the job is over."""

    def grown() -> bool | None:
        try:
            return True if path.stat().st_size != position else None
        except FileNotFoundError:
            return None

    with suppress(DeadlineExceeded):
        wait_until(grown, Deadline(0.3), what="more events", first=LOOK, most=LOOK)
