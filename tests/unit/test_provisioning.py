# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders for servers, and how far they are: out of CSV files, records, events and results."""

from __future__ import annotations

import io
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision import model
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.journal import blank, fresh
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rackstead import view_provisioning as view
from rackstead.jobs.workflows import Catalog
from rackstead.provisioning import orders
from rackstead.provisioning.live import Board, merged, of_results
from rackstead.provisioning.progress import STEPS, TASK, Server, of_record, stopped, whole_state
from rackstead.provisioning.service import How, variables_of
from rackstead.run import TaskResult

HEAD = "server_id,device_type,target_ipmi_ip,rack_location,netmask,gateway,tags\n"
PASSWORD = {"menu": ["Security"], "name": "Administrator Password", "order": 1, "before": "old-one", "after": "new-one"}
CHANGE = {"menu": ["Boot"], "name": "Boot Option", "order": 2, "before": "Disk", "after": "Network"}


def told(call: Any, *words: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        call(*words)
    return caught.value.problems


def printed(part: Any, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(part)
    return out.getvalue()


# -- the words are the core's -----------------------------------------------------------------------
def test_the_steps_are_the_cores_and_the_playbooks() -> None:
    assert tuple(STEPS) == model.NAMES
    workflow = Catalog([]).get(orders.WORKFLOW)
    assert workflow.playbook == "rackstead.infra.provision_server" and workflow.forks > 1
    assert workflow.targets({orders.SERVERS: [{"server_id": "a"}, {"mac": "b"}]}) == ["server:a", "server:b"]
    variables = variables_of([{"server_id": "a", "device_type": "b"}], How(False, "bmc", ["bmc", "finalize"]))
    assert workflow.check(variables) == variables


# -- CSV --------------------------------------------------------------------------------------------
def test_a_file_of_servers() -> None:
    text = "\ufeff" + HEAD + "# a comment, with a comma\n\n"
    text += 'machine-1,s2.c2.small,192.168.100.50,"Rack A, unit 10",255.255.255.0,192.168.100.1,"blue; web,blue"\r\n'
    text += "machine-2 , s2.c2.large,pool:rack-a,,,,\n"
    first, second = orders.read_csv(text)
    assert first == {
        "server_id": "machine-1",
        "device_type": "s2.c2.small",
        "target_ipmi_ip": "192.168.100.50",
        "rack_location": "Rack A, unit 10",
        "netmask": "255.255.255.0",
        "gateway": "192.168.100.1",
        "tags": ["blue", "web"],
    }
    assert second == {"server_id": "machine-2", "device_type": "s2.c2.large", "target_ipmi_ip": "pool:rack-a"}


def test_every_fault_of_a_file_is_told_with_its_row() -> None:
    text = HEAD + "machine-1,small,192.168.100.50\nmachine-1,small,192.168.100.50\n,small,10.0.0.300\n\n"
    text += "machine-4,,10.0.0.1,,255.0.255.0,x,\nmachine-5,small,10.0.0.2,,255.255.255.0,10.0.1.1,,more\n"
    text += "machine-6,small,pool:\nmachine-7,small,pool:a\nmachine-8,small,pool:a\n"
    assert told(orders.read_csv, text) == [
        "row 7: has 8 cells, and there are 7 columns",
        'row 3: server_id: "machine-1" is that of row 2 too',
        'row 3: target_ipmi_ip: "192.168.100.50" is that of row 2 too',
        "row 4: server_id: is needed; hostname or mac does as well",
        'row 4: target_ipmi_ip: "10.0.0.300" is not valid; allowed: an IPv4 address, or pool:NAME',
        "row 6: device_type: is needed",
        'row 6: gateway: "x" is not valid; allowed: an IPv4 address',
        'row 6: netmask: "255.0.255.0" is not valid; allowed: a netmask such as 255.255.255.0',
        'row 7: gateway: "10.0.1.1" is outside of the subnet 10.0.0.0/24 of target_ipmi_ip',
        'row 8: target_ipmi_ip: "pool:" is not valid; allowed: an IPv4 address, or pool:NAME',
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "the file holds no servers"),
        (HEAD, "the file names columns, and no servers"),
        ("server,device_type\na,b", 'row 1: "server" is no column; did you mean "server_id"?'),
        ("device_type\na", "row 1: there is no column server_id"),
        ("mac,mac,device_type\na,b,c", 'row 1: there are several columns "mac"'),
        (HEAD + 'a,"b', "row 2: cannot be read: unexpected end of data"),
    ],
)
def test_a_file_that_cannot_be_meant(text: str, line: str) -> None:
    assert told(orders.read_csv, text)[0].startswith(line)


def test_a_file_is_named_in_its_faults() -> None:
    assert told(orders.read_file, b"mac,device_type\n\xff,x", "rack.csv") == ["rack.csv: row 2: is not UTF-8 text"]
    assert told(orders.read_file, b"mac\naa:bb", "rack.csv") == ["rack.csv: row 2: device_type: is needed"]


@given(st.text())
def test_any_text_is_read_or_told(text: str) -> None:
    try:
        assert orders.read_csv(text)
    except InvalidInput as error:
        assert error.problems and all("\n" not in line for line in error.problems)


def test_steps_are_read_in_their_order_and_told_with_the_nearest() -> None:
    assert orders.step_names(["bmc,bios-pull", "address"], "only_steps") == ["address", "bios_pull", "bmc"]
    [line] = told(orders.step_names, ["bios_pul"], "from_step")
    assert line.startswith('from_step: "bios_pul" is no step; did you mean "bios_pull"?; allowed: commission, ')


# -- records ----------------------------------------------------------------------------------------
def body(**steps: dict[str, Any]) -> dict[str, Any]:
    found = fresh(
        model.Server("4y3h7n", "rack-a-10.maas", "52:54:00:aa:bb:cc"), model.Order("small", "10.0.0.5"), "j", 0.0
    )
    found["steps"] = {**found["steps"], **{name: {**blank(), **step} for name, step in steps.items()}}
    return found


def test_a_record_tells_how_far_a_server_is() -> None:
    done = {"state": "done", "attempts": 2, "seconds": 90.0, "outputs": {"changes": [CHANGE, PASSWORD]}}
    server = of_record("4y3h7n", body(bios_modify=done, bios_push={"state": "failed", "error": "no\nmore"}))
    assert (server.id, server.system_id, server.state, server.job) == ("rack-a-10.maas", "4y3h7n", "running", "j")
    assert {"rack-a-10", "4y3h7n", "52:54:00:aa:bb:cc"} < server.names
    assert server.at is not None and (server.at.number, server.at.name) == (5, "bios_push")
    assert server.reason == "no" and server.done == 1 and server.seconds == 90.0
    assert dict(server.order) == {"device_type": "small", "target_ipmi_ip": "10.0.0.5"}
    document = server.document()
    assert (document["step"], document["step_name"], document["error"]) == (5, "bios_push", "no")
    changes = document["steps"][3]["outputs"]["changes"]
    assert changes[0] == CHANGE
    assert (changes[1]["before"], changes[1]["after"]) == ("********", "********")
    assert of_record("x", {}).document()["server_id"] == "x"


def test_a_step_of_a_server_that_nobody_works_on_does_not_run() -> None:
    server = stopped(of_record("a", body(commission={"state": "done"}, address={"state": "running"})), "interrupted")
    assert (server.state, [one.state for one in server.steps[:3]]) == ("interrupted", ["done", "pending", "pending"])


def test_several_servers_are_as_the_worst_of_them() -> None:
    assert whole_state(["completed", "completed"]) == "completed"
    assert whole_state(["completed", "cancelled", "failed"]) == "failed"
    assert whole_state(["failed", "running"]) == "running"


# -- runs -------------------------------------------------------------------------------------------
ORDERED = {
    "servers": [
        {"server": {"system_id": "id-1", "hostname": "one.maas", "mac": ""}, "order": {"device_type": "small"}},
        {"server": {"system_id": "id-2", "hostname": "two.maas", "mac": ""}, "order": {}, "steps": ["bmc"]},
    ]
}


def event(kind: str, task: str, host: str, **result: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"task": task, "host": host, **({"res": result} if result else {})}}


def test_a_board_follows_a_run_by_its_events() -> None:
    seen: list[dict[str, Any]] = []
    board = Board(["one", "two"], view.picture, seen.append)
    board.take(event("runner_on_ok", "Check the servers", "localhost", **ORDERED))
    assert board.take(event("runner_on_start", "Step 1/7: commission", "id-1")) == []
    lines = board.take(
        event("runner_on_ok", "Step 1/7: commission", "id-1", seconds=61.0, attempts=2, outputs={"status": "Ready"})
    )
    lines += board.take(event("runner_on_failed", "Step 6/7: bmc", "id-2", msg="it is silent\nmore", seconds=1.0))
    lines += board.take(event("runner_on_ok", "role : Step 2/7: address", "id-1", outputs={"address": "10.0.0.7"}))
    assert lines == [
        "one: step 1/7 commission done after 61.0 s, 2 attempts",
        "two: step 6/7 bmc failed after 1.0 s: it is silent",
        "one: step 2/7 address done",
    ]
    assert [(one["server_id"], one["step"], one["step_name"], one["status"]) for one in seen] == [
        ("one", 1, "commission", "running"),
        ("one", 1, "commission", "done"),
        ("two", 6, "bmc", "failed"),
        ("one", 2, "address", "done"),
    ]
    assert seen[2]["total_steps"] == 7 and seen[2]["error"] == "it is silent"
    picture = printed(view.Group(*board.picture(100)))
    assert "one  ✔ ✔ · · · · ·  2/7 Find address" in picture
    assert "two  – – – – – ✘ –  6/7 Set up BMC: it is silent" in picture
    board.take({"event": "job_started"})
    assert all(one.at is None for one in board.known.values())


def test_results_of_a_run_say_the_same_as_its_events() -> None:
    results = [
        TaskResult("provision_order", "Check the servers", "localhost", "ok", ORDERED),
        TaskResult("provision_step", "Step 4/7: bios_modify", "id-1", "ok", {"outputs": {"changes": [CHANGE]}}),
        TaskResult("provision_step", "Step 6/7: bmc", "id-2", "failed", {"msg": "it is silent"}),
    ]
    one, two, three = merged(["one", "id-2", "three"], of_results(results))
    assert (one.id, one.state, one.order["device_type"], one.steps[3].changing) == ("one", "completed", "small", 1)
    assert (two.id, two.state, two.reason) == ("id-2", "failed", "it is silent")
    assert three == Server("three")
    assert "Boot / Boot Option #2  Disk    Network" in printed(view.Group(*view.changes_of([one], several=False)))
    table = printed(view.servers_table([one, two, three]))
    assert "two" not in table and "it is silent" in table
    assert view.summary([one, two, three], check=False).plain == "3 servers: 1 completed, 1 failed, 1 pending"


def test_the_tasks_of_the_role_are_named_so_that_steps_are_found() -> None:
    import yaml

    from rackstead.jobs.workflows import COLLECTION

    text = (COLLECTION / "roles/provision_server/tasks/main.yml").read_text()
    names = [one["name"] for one in yaml.safe_load(text)[0]["block"]]
    found = [TASK.search(name) for name in names]
    assert [match and (int(match[1]), match[2]) for match in found] == list(enumerate(STEPS, 1))
