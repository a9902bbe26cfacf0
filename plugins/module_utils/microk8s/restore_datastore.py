# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The datastore brought back from a backup: its members run, and no API server does.

``dbctl restore`` writes the keys of the backup over those that are there, one after the other. Meanwhile no API server
may answer from what it remembers, and no controller may remove what has no owner yet: the service ``kubelite``, which is
all of them, is stopped on each member's machine, and the datastore's own service is not, so that its quorum is never at
stake. A mark on the machine says so, until its services run again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..common.errors import Conflict, NotFound, OperationFailed
from ..common.show import diff_of
from .backup import DATASTORE, files_of, read_back
from .client import MicroK8s, told
from .membership import CONTROL, SINGLE, look

SERVICE = "microk8s.daemon-kubelite"
#: On the machine itself: while its API server is stopped, the cluster remembers nothing.
MARK = ".rackstead-restore.json"
PART = ".rackstead-datastore-"
OWN = re.compile(r"^Address:\s*(\S+)", re.M)


def looked(client: MicroK8s) -> dict[str, Any]:
    """What this machine is to a restore of the datastore."""
    place = look(client)
    status = place.status
    return {
        "changed": False,
        "name": client.hostname,
        "place": place.kind,
        "running": bool(status and status.running),
        "under_way": _mark(client).exists(),
        "member": _own(client),
        "members": sorted(member.address for member in (status.members if status else ())),
        "diff": diff_of({}, {}, client.hostname),
    }


def _mark(client: MicroK8s) -> Path:
    return client.data / MARK


def _own(client: MicroK8s) -> str:
    """This machine's address in the datastore, as it wrote it down itself."""
    try:
        found = OWN.search((client.data / "var/kubernetes/backend/info.yaml").read_text())
    except FileNotFoundError:
        return ""
    return found[1] if found else ""


def prove(machines: Iterable[Mapping[str, Any]]) -> None:
    """All members of one datastore are among the machines, and run. Raises Conflict."""
    control = [one for one in machines if one.get("place") in (CONTROL, SINGLE)]
    clusters = {tuple(one["members"]) for one in control if one["members"]}
    if len(clusters) != 1:
        what = "; ".join(f"{one['name']} knows {', '.join(one['members']) or 'none'}" for one in control)
        raise Conflict(f"the machines are not the control plane of one cluster: {what or 'none answers'}",
                       hint="rackstead_host has to name one cluster, whose control plane runs")  # fmt: skip
    there = {one["member"] for one in control if one["running"] or one["under_way"]}
    if away := sorted(set(clusters.pop()) - there):
        hint = "start them, remove them with remove_node, or name their hosts too: their API servers would go on with what they remember"
        raise Conflict(f"members of the datastore are not among the machines that run: {', '.join(away)}", hint=hint)


def ensure_quiet(client: MicroK8s, machines: Iterable[Mapping[str, Any]], check: bool) -> dict[str, Any]:
    """No API server, and no controller, runs on this machine; its member of the datastore does."""
    prove(machines)
    place = look(client)
    if place.kind not in (CONTROL, SINGLE) or place.status is None:
        raise Conflict(f"this machine is no member of a control plane that runs ({place.kind})", hint="start it first")
    before = place.status.running
    if not check:
        _write_mark(client)  # before: who comes after a kill has to know why
        if before:
            client.snap_done("stop", SERVICE)
            if look(client).kind not in (CONTROL, SINGLE):
                raise OperationFailed("the datastore stopped too", hint="snap start microk8s, and see microk8s inspect")
    return _answer(client, before, False, before)


def _write_mark(client: MicroK8s) -> None:
    new = _mark(client).with_suffix(".new")
    with new.open("w") as file:
        json.dump({"service": SERVICE}, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(_mark(client))


def ensure_awake(client: MicroK8s, seconds: float, check: bool) -> dict[str, Any]:
    """The services run on this machine, and no restore is under way here."""
    marked = _mark(client).exists()
    running = bool((status := look(client).status) and status.running)
    if marked and not check:
        client.snap_done("start", SERVICE)
        client.wait_up(seconds)
        _mark(client).unlink()
    return _answer(client, running, running or marked, marked)


def _answer(client: MicroK8s, before: bool, after: bool, changed: bool) -> dict[str, Any]:
    words = {False: "stopped", True: "started"}
    diff = diff_of({SERVICE: words[before]}, {SERVICE: words[after]}, client.hostname)
    return {"changed": changed, "before": words[before], "diff": diff}


def ensure_datastore(client: MicroK8s, archive: Path, check: bool) -> dict[str, Any]:
    """The keys of the archive's datastore are as they were. Keys that came later stay: MicroK8s removes none."""
    dump = dump_of(archive)
    if not check:
        _only_when_quiet(client)
        _restore(client, dump)
    diff = diff_of({"datastore": "as it is"}, {"datastore": "as in the backup"}, str(archive))
    return {"changed": True, "archive": str(archive), "size": len(dump), "diff": diff}


def dump_of(archive: Path) -> bytes:
    """What ``dbctl backup`` wrote, of an archive whose checksums are right."""
    read_back(archive)
    dump = files_of(archive).get(DATASTORE)
    if dump is None:
        raise NotFound(f"{archive} holds no datastore", hint="it was taken with datastore: false; restore its objects")
    return dump


def _only_when_quiet(client: MicroK8s) -> None:
    place = look(client)
    if place.status is None or place.kind not in (CONTROL, SINGLE):
        raise Conflict(f"no member of the datastore runs on this machine ({place.kind})", hint="start it first")
    if place.status.running or not _mark(client).exists():
        raise Conflict(
            "the API server runs on this machine", hint="state quiet on all machines of the control plane first"
        )


def _restore(client: MicroK8s, dump: bytes) -> None:
    """By a file of the name that it had: MicroK8s looks for a folder of that name in it."""
    for left in client.data.glob(f"{PART}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=PART, dir=client.data) as folder:
        file = Path(folder, DATASTORE)
        file.touch(mode=0o600)
        file.write_bytes(dump)
        result = client.run("dbctl", "restore", str(file), slow=True)
    # Its exit code is 0 also when what it called was killed.
    if result.rc != 0 or any(word in result.text for word in ("failed", "Failed", "Traceback", "level=fatal")):
        hint = "the services stay stopped; run it again, or start them with state awake: the datastore may be restored in part"
        raise OperationFailed(f"microk8s dbctl restore failed: {told(result)}", hint=hint)
