# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What instances have logged: the journal, cloud-init's output, the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common.errors import NotFound, OperationFailed
from .incus.client import IncusClient
from .incus.execute import execute
from .lookup import get_instance, selected_instances

#: Where cloud-init keeps what its modules printed (https://cloudinit.readthedocs.io/en/latest/reference/user_files.html).
CLOUD_INIT_OUTPUT = "/var/log/cloud-init-output.log"
#: Seconds that journalctl may take.
JOURNAL_TIMEOUT = 60.0


def read_logs(client: IncusClient, patterns: Sequence[str], sources: Sequence[str], lines: int) -> list[dict[str, str]]:
    """The last ``lines`` lines of each log there is. Raises NotFound for a name that does not exist."""
    found = []
    for name in selected_instances(client, patterns):
        document = get_instance(client, name)
        for source in sources:
            text = READERS[source](client, document, lines)
            if text.strip():
                found.append({"instance": name, "project": client.project, "source": source, "text": tail(text, lines)})
    return found


def tail(text: str, lines: int) -> str:
    """The last lines, each ended by a newline. Carriage returns of a console are dropped."""
    kept = text.replace("\r", "").rstrip("\n").split("\n")[-lines:]
    return "".join(f"{line}\n" for line in kept)


def _journal(client: IncusClient, document: Mapping[str, Any], lines: int) -> str:
    """Empty where the instance does not run, or has no journal."""
    if document["status"] != "Running":
        return ""
    argv = ["journalctl", "--no-pager", f"--lines={lines}"]
    try:
        ended = execute(client, document["name"], argv, timeout=JOURNAL_TIMEOUT)
    except (NotFound, OperationFailed):
        return ""  # no such program in the instance, or it went down just now
    return ended.stdout.decode(errors="replace") if ended.rc == 0 else ""


def _cloud_init(client: IncusClient, document: Mapping[str, Any], _lines: int) -> str:
    """Empty where cloud-init never ran. A container may be stopped for this."""
    try:
        return client.pull(document["name"], CLOUD_INIT_OUTPUT).content.decode(errors="replace")
    except (NotFound, OperationFailed):
        return ""  # no such file; or a virtual machine whose agent does not answer


def _console(client: IncusClient, document: Mapping[str, Any], _lines: int) -> str:
    """Empty where Incus keeps no console log, as for an instance that never ran."""
    try:
        found = client.raw("GET", f"/instances/{document['name']}/console")
    except (NotFound, OperationFailed):
        return ""
    return found.body.decode(errors="replace")


READERS = {"journal": _journal, "cloud-init": _cloud_init, "console": _console}
SOURCES = tuple(READERS)
