# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snap itself: installed from a channel or from files, refreshed, removed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import InvalidInput, OperationFailed
from ..common.problems import nearest
from ..common.show import diff_of
from .client import MicroK8s, told
from .model import CHANNEL_RISKS, Snap
from .parse import channels

_CHANNEL = re.compile(rf"(?:[\w.-]+/)?(?:{'|'.join(CHANNEL_RISKS)})(?:/[\w.-]+)?")
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
BUSY = "change in progress"


def channel_fault(channel: str) -> str:
    """What is wrong with a channel's form, or nothing."""
    if _CHANNEL.fullmatch(channel):
        return ""
    _track, _slash, risk = channel.rpartition("/")
    close = nearest(risk, CHANNEL_RISKS)
    allowed = f"; allowed: TRACK/RISK such as 1.32/stable, RISK one of {', '.join(CHANNEL_RISKS)}"
    return f'channel: "{channel}" is not a channel{close or allowed}'


def skew_fault(version: str, channel: str) -> str:
    """What is wrong with going from a version to a channel's: Kubernetes takes one minor version at a time."""
    now, then = _VERSION.match(version), _VERSION.match(channel)
    if not now or not then:
        return ""
    from_minor, to_minor = int(now[2]), int(then[2])
    if now[1] == then[1] and from_minor <= to_minor <= from_minor + 1:
        return ""
    step = f"{now[1]}.{from_minor + 1}"
    way = f"go to {step} first" if to_minor > from_minor else "there is no way back but a restore"
    return f"channel: {channel} is not the version after {version}; {way}"


def ensure_snap(
    client: MicroK8s,
    state: str,
    *,
    channel: str = "",
    files: Sequence[str] = (),
    classic: bool = True,
    refresh: bool = False,
    seconds: float = 600.0,
    check: bool = False,
) -> dict[str, Any]:
    """The snap is ``present`` or ``absent``. With ``refresh`` one that is there is brought to the channel or files.

    After either its services are waited for.
    """
    before = client.installed()
    if state == "absent":
        if before and not check:
            _patiently(client, "remove", "microk8s", "--purge")
        return _answer(before, None, before is not None)
    _check(client, channel, files, before if refresh else None)
    if before is None:
        if not check:
            _install(client, channel, files, classic)
            client.wait_up(seconds)
        return _answer(before, client.installed() if not check else None, True, channel)
    other = bool(channel) and before.channel != channel and not files
    newer = bool(files) and _differs(client, files)
    if refresh and (other or newer) and not check:
        _refresh(client, channel, files, classic)
        client.wait_up(seconds)
    after = client.installed() if refresh and not check else before
    answer = _answer(before, after, refresh and (other or newer), channel)
    if other and not refresh:
        answer["warnings"] = [f"microk8s follows {before.channel}, not {channel}; an upgrade changes that"]
    return answer


def _answer(before: Snap | None, after: Snap | None, changed: bool, channel: str = "") -> dict[str, Any]:
    shown_before, shown_after = _shown(before), _shown(after)
    predicted = shown_after or ({"channel": channel} if channel else None)
    diff = diff_of(shown_before, predicted if changed else shown_before, "snap microk8s")
    told_of: dict[str, Any] = {"before": shown_before, "snap": shown_after, "diff": diff, "warnings": []}
    return {"changed": changed, "due": changed, **told_of}


def _shown(snap: Snap | None) -> dict[str, str] | None:
    return {"version": snap.version, "revision": snap.revision, "channel": snap.channel} if snap else None


def _check(client: MicroK8s, channel: str, files: Sequence[str], before: Snap | None) -> None:
    """Everything that can be wrong, before anything is done."""
    lines = [f"files: there is no file {path} on this machine" for path in files if not Path(path).is_file()]
    if files and not any(path.endswith(".snap") for path in files):
        lines.append("files: none of them is a snap; allowed: files that end with .snap, and their .assert files")
    if channel and not files:
        fault = channel_fault(channel) or (skew_fault(before.version, channel) if before else "")
        lines += [fault] if fault else _unlisted(client, channel)
    if lines:
        raise InvalidInput(lines)


def _unlisted(client: MicroK8s, channel: str) -> list[str]:
    """A line where the store answers, and does not list the channel."""
    result = client.snap("info", "microk8s")
    listed = channels(result.out) if result.rc == 0 else ()
    if not listed or channel in listed:
        return []
    close = nearest(channel, listed) or f"; the store has {', '.join(listed)}"
    return [f'channel: the store has no channel "{channel}" of microk8s{close}']


def _install(client: MicroK8s, channel: str, files: Sequence[str], classic: bool) -> None:
    kind = ["--classic"] if classic else []
    if files:
        _from_files(client, files, kind)
    else:
        _patiently(client, "install", "microk8s", *kind, *([f"--channel={channel}"] if channel else []))
    if client.installed() is None:
        raise OperationFailed("snap install said it was done, and microk8s is not installed")


def _refresh(client: MicroK8s, channel: str, files: Sequence[str], classic: bool) -> None:
    if files:
        _from_files(client, files, ["--classic"] if classic else [])
    else:
        _patiently(client, "refresh", "microk8s", f"--channel={channel}")


def _from_files(client: MicroK8s, files: Sequence[str], kind: Sequence[str]) -> None:
    """Assertions first. A snap whose assertion is not beside it is installed as one that nobody vouches for."""
    vouched = {Path(path).stem for path in files if path.endswith(".assert")}
    for path in files:
        if path.endswith(".assert"):
            _patiently(client, "ack", path)
    # Bases (core20, snapd) have to be there before microk8s is.
    for path in sorted((path for path in files if path.endswith(".snap")), key=_is_microk8s):
        trust = [] if Path(path).stem in vouched else ["--dangerous"]
        _patiently(client, "install", path, *trust, *(kind if _is_microk8s(path) else []))


def _is_microk8s(path: str) -> bool:
    return Path(path).name.startswith("microk8s")


def _differs(client: MicroK8s, files: Sequence[str]) -> bool:
    """Whether the file's revision, which stands in the name that ``snap download`` gives it, is another one."""
    installed = client.installed()
    revisions = {m[1] for path in files if (m := re.fullmatch(r"microk8s_(\w+)\.snap", Path(path).name))}
    return bool(revisions) and installed is not None and installed.revision not in revisions


def _patiently(client: MicroK8s, *words: str) -> None:
    """Run a command of ``snap``; where snapd is still at something, such as what a killed run ordered, wait for it."""

    def done() -> bool | None:
        result = client.snap(*words, slow=True)
        if result.rc == 0:
            return True
        if BUSY in result.text:
            return None
        if words[0] == "remove" and "is not installed" in result.text:
            return True
        raise OperationFailed(f"snap {words[0]} failed: {told(result)}")

    wait_until(done, Deadline(client.slow), what=f"snapd to take snap {words[0]}", first=0.5, most=5.0)
