# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a job while it runs, whether it runs here or at a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError

from .progress import Tally
from .terminal import Rows, Spectator, Terminal

if TYPE_CHECKING:
    from .jobs.model import Job
    from .jobs.service import Service
    from .remote.service import Remote

Event = Mapping[str, Any]


def watched(
    terminal: Terminal,
    service: Service | Remote,
    job: Job,
    *,
    output: bool,
    after: int = 0,
    title: str = "",
    verbose: bool = False,
    narrate: bool = True,
    take: Callable[[Event], None] = lambda _event: None,
    rows: Rows | None = None,
) -> None:
    """Until the job is over. ``output``: print what it prints; ``take`` is given every event too."""
    tally = tally_of_last(service, job)
    flags: dict[str, Any] = {"narrate": narrate, "verbose": verbose, "output": output, "tally": tally, "rows": rows}
    with Spectator(terminal, title or job.workflow, **flags) as spectator:
        for event in service.events(job.id, after, follow=True):
            take(event)
            if output:
                spectator.printed(str(event.get("stdout") or ""))
                if event["event"] == "job_ended" and event["error"]:
                    terminal.note(event["error"])
            spectator.listen(as_runner_says(event))


def tally_of_last(service: Service | Remote, job: Job) -> Tally:
    """What to expect, from how many tasks the last good run of the workflow had."""
    try:
        found = service.jobs(states=["completed"], workflow=job.workflow, limit=1)
    except RacksteadError:
        return Tally()  # the picture does without
    if not found:
        return Tally()
    words = ("ok", "failed", "skipped", "unreachable")
    each = {host: sum(counts.get(word, 0) for word in words) for host, counts in found[0].recap.items()}
    return Tally(len(found[0].tasks), each)


def as_runner_says(event: Event) -> dict[str, Any]:
    """A job's event in the shape in which ansible-runner tells it."""
    names = {"host": "host", "task": "task", "task_action": "resolved_action", "ignore_errors": "ignore_errors"}
    data = {theirs: event[ours] for ours, theirs in names.items() if event.get(ours)}
    if "result" in event:
        data["res"] = event["result"]
    return {**event, "event_data": data, "stdout": event.get("stdout", "")}
