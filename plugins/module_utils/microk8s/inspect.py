# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``microk8s inspect`` on a machine, and what it has collected on all of them in one archive."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.atomic import sync_folder
from ..common.errors import InvalidInput, OperationFailed
from . import troubles
from .client import MicroK8s
from .runner import Result

#: Of a log, what is read: its end, in bytes; and of a report, how many logs.
MOST, LOGS = 4 << 20, 60
#: Files of a report that are logs.
ENDINGS = (".log",)


def inspect(client: MicroK8s, *, check: bool = False) -> dict[str, Any]:
    """Have MicroK8s inspect itself; where its report lies, and what it and its logs tell.

    Works on workers, and on machines whose services are down. Raises OperationFailed where there is no report.
    """
    if check:
        return {"changed": True, "archive": "", "size": 0, "findings": []}
    result = client.runner.run([client.command, "inspect"], client.slow)
    told = troubles.TARBALL.search(result.out)
    archive = Path(told[1]) if told else None
    if archive is None or not archive.is_file():
        raise OperationFailed(f"microk8s inspect has left no report: {_end(result)}")
    archive.chmod(0o600)  # it tells of everything that runs here
    found = [*troubles.of_inspect(f"{result.out}\n{result.err}"), *_of_logs(archive)]
    found.sort(key=lambda one: troubles.SEVERITIES.index(one["severity"]))
    return {"changed": True, "archive": str(archive), "size": archive.stat().st_size, "findings": found}


def _end(result: Result) -> str:
    return troubles.quoted(result.text[-troubles.QUOTED :]) or f"exit code {result.rc}, and it says nothing"


def _of_logs(archive: Path) -> Iterator[dict[str, Any]]:
    try:
        with tarfile.open(archive) as tar:
            logs = [one for one in tar if one.isfile() and one.name.endswith(ENDINGS)]
            for one in logs[:LOGS]:
                file = tar.extractfile(one)
                if file:
                    file.seek(max(0, one.size - MOST))
                    text = file.read().decode(errors="replace")
                    yield from troubles.of_log("/".join(Path(one.name).parts[-2:]), text.splitlines())
    except (tarfile.TarError, EOFError, OSError) as error:
        yield troubles.finding("notice", f"the report cannot be read: {error}", "look into it by hand")


def pack(
    folder: Path, archive: Path, machines: Mapping[str, Sequence[Mapping[str, Any]]], *, check: bool = False
) -> dict[str, Any]:
    """The reports in ``folder`` and the findings, in one archive that appears whole. Raises InvalidInput."""
    found = troubles.ranked(machines)
    answer = {"changed": True, "archive": str(archive), "findings": found, "text": troubles.as_text(found)}
    if check:
        return answer
    if not folder.is_dir():
        raise InvalidInput([f'folder: "{folder}" is no folder; allowed: the one with the reports'])
    head = archive.name.removesuffix(".tar.gz")
    number, name = tempfile.mkstemp(dir=archive.parent, prefix=f".{archive.name}.")
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz") as tar:
                with tempfile.TemporaryDirectory() as own:
                    for title, text in (
                        ("findings.txt", answer["text"]),
                        ("findings.json", json.dumps(found, indent=2)),
                    ):
                        (Path(own) / title).write_text(str(text), encoding="utf-8")
                        tar.add(Path(own) / title, f"{head}/{title}")
                for one in sorted(folder.iterdir()):
                    tar.add(one, f"{head}/{one.name}")
            file.flush()
            os.fsync(file.fileno())
        part.replace(archive)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(archive.parent)
    return answer
