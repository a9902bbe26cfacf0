# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see: tables, diffs and lines."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console, RenderableType

from rackstead import view
from rackstead.progress import Board, read_step


def printed(picture: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(picture)
    return console.file.getvalue()  # type: ignore[attr-defined]


def instance(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "project": "default", "status": "Running", "ipv4": [], "config": {}, "devices": {}, **more}


FORWARD = {"type": "proxy", "listen": "tcp:0.0.0.0:8080", "connect": "tcp:127.0.0.1:80"}


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (FORWARD, "8080→80"),
        ({**FORWARD, "listen": "tcp:127.0.0.1:8080"}, "127.0.0.1:8080→80"),
        ({**FORWARD, "listen": "udp:0.0.0.0:53", "connect": "udp:127.0.0.1:53"}, "53→53/udp"),
    ],
)
def test_forwards_are_told_by_their_ports(device: dict[str, str], text: str) -> None:
    assert view.forwards_of(instance("a", devices={"f": device})) == [text]


def test_what_leads_out_of_the_instance_is_no_forward() -> None:
    assert (
        view.forwards_of(instance("a", devices={"f": {**FORWARD, "bind": "instance"}, "root": {"type": "disk"}})) == []
    )


@pytest.mark.parametrize(
    ("usage", "limit", "text"),
    [
        (12 * 1024**2, "256MiB", "12MiB/256MiB"),
        (12 * 1024**2, "", "12MiB"),
        (0, "256MiB", "256MiB"),
        (0, "", "-"),
        (1500 * 1024**3, "", "1.5TiB"),
    ],
)
def test_memory_in_use_of_its_limit(usage: int, limit: str, text: str) -> None:
    assert (
        view.memory_of(instance("a", memory={"usage": usage}, config={"limits.memory": limit} if limit else {})) == text
    )


def test_status_leaves_out_empty_columns_and_the_only_project() -> None:
    text = printed(view.status_table([instance("web", plan="demo"), instance("db", status="Stopped")]))
    assert [line.split() for line in text.splitlines() if "─" not in line] == [
        ["NAME", "STATUS", "PLAN"],
        ["db", "Stopped", "-"],
        ["web", "Running", "demo"],
    ]


def test_status_names_projects_where_there_are_several() -> None:
    text = printed(view.status_table([instance("a"), instance("a", project="lab")]))
    assert "PROJECT" in text and "lab" in text


def test_a_full_status_fits_80_columns_without_losing_anything() -> None:
    full = instance(
        "gateway",
        image="debian/12",
        ipv4=["10.77.100.201"],
        plan="demo",
        memory={"usage": 42 * 1024**2},
        config={"limits.memory": "256MiB", "limits.cpu": "1"},
        devices={"f": FORWARD},
    )
    text = printed(view.status_table([full]), width=80)
    assert max(map(len, text.splitlines())) <= 80
    for part in ("gateway", "Running", "10.77.100.201", "debian/12", "8080→80", "demo"):
        assert part in text
    assert "…" not in text


def test_no_instances_is_said() -> None:
    assert printed(view.status_table([])).strip() == "no instances"


def resource(name: str, *actions: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "instance",
        "name": name,
        "changed": bool(actions),
        "actions": list(actions),
        "notes": [],
        "duration": 1.25,
        **more,
    }


def test_changes_are_told_in_words_and_what_is_as_wanted_is_left_out() -> None:
    text = printed(view.changes_table([resource("a", "create", "start"), resource("b")], check=False))
    assert "instance a" in text and "created, started" in text and "1.2 s" in text and "instance b" not in text


def test_what_would_be_done_has_no_time() -> None:
    text = printed(view.changes_table([resource("a", "create")], check=True))
    assert "create" in text and "TIME" not in text and "NOTES" not in text


def test_what_failed_or_was_skipped_is_marked() -> None:
    lost = resource("a", "create", error="no space left")
    left = resource("b", "create", skipped="needs instance a", changed=False)
    text = printed(view.changes_table([lost, left], check=False))
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["instance", "a", "failed", "1.2", "s"],
        ["instance", "b", "skipped"],
    ]


def test_kinds_of_two_words() -> None:
    assert view.kind_and_name({"kind": "storage_volume", "name": "data"}) == "storage volume data"


@pytest.mark.parametrize(
    ("summary", "check", "text"),
    [
        ({"total": 3, "changed": 0, "unchanged": 3}, False, "plan p: nothing to do, all of 3 resources as wanted"),
        ({"total": 1, "changed": 1, "unchanged": 0}, True, "plan p: 1 resource, 1 would change, 0 unchanged"),
        (
            {"total": 3, "changed": 1, "unchanged": 0, "failed": 1, "skipped": 1},
            False,
            "plan p: 3 resources, 1 changed, 0 unchanged, 1 failed, 1 skipped",
        ),
    ],
)
def test_the_run_in_one_sentence(summary: dict[str, int], check: bool, text: str) -> None:
    assert view.summary_line({"plan": "p", "summary": summary}, check=check).plain == text


def test_a_diff_shows_only_what_differs_with_its_surroundings() -> None:
    before = "".join(f"line{number}\n" for number in range(20))
    diff = {
        "before_header": "instance a",
        "after_header": "instance a",
        "before": before,
        "after": before.replace("line9\n", "changed\n"),
    }
    lines = view.diff_text([diff]).plain.splitlines()
    assert lines[:2] == ["--- instance a", "+++ instance a"]
    assert "-line9" in lines and "+changed" in lines and len(lines) == 11


def test_a_diff_of_something_new_is_all_plus() -> None:
    lines = list(view.unified({"before": "", "after": {"a": 1}}))
    assert [line for line in lines if line.startswith("+") and not line.startswith("+++")] == ["+{", '+  "a": 1', "+}"]


def test_brackets_in_values_are_no_markup() -> None:
    assert "[bold]" in printed(
        view.changes_table([resource("a", "update", notes=["counts later: [bold]"])], check=True)
    )


def test_lines_of_several_instances_bear_their_names() -> None:
    assert view.prefixed(b"one\r\n\ntwo", "web") == b"web: one\nweb: \nweb: two\n"
    assert view.prefixed(b"", "web") == b""
    assert view.prefixed(b"one\ntwo", "") == b"one\ntwo"


def test_health_marks_what_is_not_well() -> None:
    health = {"ok": False, "line": "Incus 6.0.5", "faults": ["instance b: Incus reports an error"]}
    lines = printed(
        view.health_lines(health, [instance("a", ipv4=["10.0.0.5"]), instance("b", status="Error")])
    ).splitlines()
    assert [line[:1] for line in lines] == ["✓", "✓", "✗", "✗"]
    assert "10.0.0.5" in lines[1]


def test_busy_lines_are_few_and_fit() -> None:
    board = Board()
    for number in range(12):
        found = {"time": 100 - number, "resource": f"instance number-{number:02}", "phase": "wait", "total": 12}
        step = read_step(json.dumps({**found, "detail": "waiting for something long indeed"}))
        assert step is not None
        board.take(step)
    lines = [line.plain for line in view.busy_lines(board, 50)]
    assert len(lines) == view.MORE_BUSY + 1 and lines[-1].strip() == "and 4 more"
    assert "number-11" in lines[0] and max(map(len, lines)) <= 50
