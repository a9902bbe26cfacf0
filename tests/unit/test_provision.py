# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisioning without peers: the door, pools, the record, and what becomes of a step that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc import presence
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.model import Endpoint
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.client import Busy, Maas
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.model import Machine
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision import engine, pool
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.door import (
    check_pool_networks,
    find_machines,
    read_servers,
    with_pool_settings,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.engine import Work, run_step
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.journal import (
    Journal,
    holder_of,
    is_gone,
    is_held,
    lease_name,
    state_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import (
    NAMES,
    RECORD,
    Done,
    Order,
    Server,
    order_of,
    step_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.pool import (
    check_free,
    check_pools,
    first_free,
    pool_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.retry import (
    Cancelled,
    Settled,
    class_of,
    pause_before,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.settings import (
    OPTIONS,
    Settings,
    settings_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.task import Task
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    DeadlineExceeded,
    Denied,
    InvalidInput,
    OperationFailed,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced, Held
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

SERVER = Server("abc001", "rack-a-10", "52:54:00:00:00:01")
ORDER = Order("small", "192.0.2.50", "255.255.255.0", "192.0.2.1", "Rack-A-U10", ("edge",))
POOLS = {"rack-a": pool_of("rack-a", {"addresses": "192.0.2.10-192.0.2.12"})}
HERE = holder_of(os.getpid())


class Types:
    def resolve(self, name: str) -> object:
        if name != "small":
            raise InvalidInput([f'device_type: "{name}" is not in types.yaml; did you mean "small"?'])
        return object()


def faults(*servers: Mapping[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read_servers([{"device_type": "small", **one} for one in servers], POOLS, Types())
    return caught.value.problems


# -- the door -----------------------------------------------------------------------------------------
def test_an_order_is_read() -> None:
    given = {"mac": "52-54-00-00-00-0A", "device_type": "small", "target_ipmi_ip": "pool:rack-a", "tags": "edge"}
    [one] = read_servers([given], POOLS, Types())
    assert (one.name, one.order) == ("52:54:00:00:00:0a", Order("small", "pool:rack-a", tags=("edge",)))
    assert one.order.pool == "rack-a" and order_of(one.order.body()) == one.order


def test_empty_cells_of_a_table_are_nothing() -> None:
    cells = {"server_id": "", "hostname": "rack-a-10", "gateway": "", "tags": None, "device_type": "small"}
    [one] = read_servers([cells], {}, None)
    assert (one.name, one.order) == ("rack-a-10", Order("small"))


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ({}, "servers[0]: says not which server it is; allowed: one of server_id, hostname, mac"),
        (
            {"server_id": "a", "mac": "52:54:00:00:00:01"},
            "servers[0]: names its server by server_id and mac; allowed: one of server_id, hostname, mac",
        ),
        (
            {"server_id": "a", "device_type": "smal"},
            'servers[0].device_type: "smal" is not in types.yaml; did you mean "small"?',
        ),
        (
            {"server_id": "a", "target_ipmi_ip": "192.0.2.500", "gateway": "192.0.2.1"},
            'servers[0].target_ipmi_ip: "192.0.2.500" is not an IPv4 address; allowed: an address such as 10.0.0.5',
        ),
        (
            {"server_id": "a", "target_ipmi_ip": "pool:rack-b"},
            'servers[0].target_ipmi_ip: there is no pool "rack-b"; allowed: rack-a',
        ),
        (
            {"server_id": "a", "target_ipmi_ip": "192.0.2.9", "netmask": "255.255.255.0", "gateway": "192.0.3.1"},
            "servers[0].gateway: 192.0.3.1 is no other host's in 192.0.2.0/24; allowed: a gateway in the BMC's subnet",
        ),
        (
            {"server_id": "a", "target_ipmi_ip": "192.0.2.0", "netmask": "255.255.255.0"},
            "servers[0].target_ipmi_ip: 192.0.2.0 is no host's in 192.0.2.0/24; allowed: between 192.0.2.1 and 192.0.2.254",
        ),
        (
            {"server_id": "a", "target_ipmi_ip": "192.0.2.9", "netmask": "0.0.0.255"},
            "servers[0].netmask: 0.0.0.255 is not a netmask; allowed: such as 255.255.255.0",
        ),
        (
            {"server_id": "a", "gateway": "192.0.2.1"},
            "servers[0].gateway: is of no use without target_ipmi_ip; allowed: with it",
        ),
        (
            {"server_id": "a", "tags": ["ok", "not ok"]},
            'servers[0].tags[1]: "not ok" is not valid; allowed: letters, digits, - _ .',
        ),
        (
            {"server_id": "a", "targetipmi_ip": "x"},
            'servers[0]: unknown key "targetipmi_ip"; did you mean "target_ipmi_ip"?',
        ),
        (
            {"mac": "52:54:00"},
            'servers[0].mac: "52:54:00" is not valid; allowed: a MAC address such as ac:1f:6b:00:00:01',
        ),
    ],
)
def test_a_fault_gets_a_line(server: dict[str, Any], line: str) -> None:
    assert faults(server) == [line]


def test_all_faults_come_at_once() -> None:
    twice = {"server_id": "a", "target_ipmi_ip": "192.0.2.9"}
    lines = faults(twice, {**twice, "server_id": "A"}, {"server_id": "b", "device_type": "big"})
    assert lines == [
        'servers[2].device_type: "big" is not in types.yaml; did you mean "small"?',
        'servers[1]: server "a" comes twice; allowed: once; it is in servers[0] already',
        'servers[1].target_ipmi_ip: address "192.0.2.9" comes twice; allowed: once; it is in servers[0].target_ipmi_ip already',
    ]


def test_an_address_of_a_pool_is_not_named_beside_servers_that_take_from_it() -> None:
    named, pooled = (
        {"server_id": name, "target_ipmi_ip": at} for name, at in (("a", "192.0.2.11"), ("b", "pool:rack-a"))
    )
    assert faults(named, pooled) == [
        (
            'servers[0].target_ipmi_ip: "192.0.2.11" is of the pool "rack-a", from which others of this order take theirs; '
            "allowed: pool:rack-a, or an address outside of it"
        )
    ]
    assert read_servers([{"device_type": "small", **named}], POOLS, Types())


def machine(system_id: str, hostname: str, mac: str) -> Machine:
    return Machine(system_id, hostname, f"{hostname}.maas", 0, "New", "", "off", macs=(mac,))


def test_machines_are_found_by_each_name_and_only_once() -> None:
    machines = [machine("aaa", "one", "52:54:00:00:00:01"), machine("bbb", "two", "52:54:00:00:00:02")]
    wanted = read_servers(
        [{"mac": "52:54:00:00:00:02", "device_type": "x"}, {"hostname": "one.maas", "device_type": "x"}], {}, None
    )
    assert [server.system_id for server, _order in find_machines(wanted, machines)] == ["bbb", "aaa"]
    wanted = read_servers(
        [
            {name: value, "device_type": "x"}
            for name, value in (("hostname", "one"), ("server_id", "aaa"), ("server_id", "zzz"))
        ],
        {},
        None,
    )
    with pytest.raises(InvalidInput) as caught:
        find_machines(wanted, machines)
    assert [line.partition(";")[0] for line in caught.value.problems] == [
        'servers[2]: MAAS has no machine "zzz"',
        'servers[1]: machine "aaa" comes twice',
    ]


# -- settings -----------------------------------------------------------------------------------------
def params(**given: Any) -> dict[str, Any]:
    needed = {"maas_url": "http://127.0.0.1:1/MAAS", "maas_api_key": "consumer:token:secret", "ssh_key_file": __file__}
    return {**{name: option.get("default") for name, option in OPTIONS.items()}, **needed, **given}


def test_all_faults_of_settings_come_at_once() -> None:
    given = params(
        maas_url="maas",
        steps={"bmc": {"timeout": 0, "atempts": 3}, "bcm": {}, "address": {"attempts": "many"}},
        from_step="bmc",
        only_steps=["bmc"],
        bmc_username="admin",
        ssh_port=0,
        sum="sum",
    )
    with pytest.raises(InvalidInput) as caught:
        settings_of(given)
    assert caught.value.problems == [
        "maas_url: is not the URL of a MAAS; allowed: such as https://maas.example:5443/MAAS",
        "steps.bmc.timeout: 0 is not valid; allowed: seconds, more than 0",
        'steps.bmc: unknown key "atempts"; did you mean "attempts"?',
        'steps: unknown step "bcm"; did you mean "bmc"?; allowed: ' + ", ".join(NAMES),
        "steps.address.attempts: many is not valid; allowed: a whole number, 1 or more",
        "from_step: is of no use with only_steps; allowed: one of the two",
        "bmc_password: is missing; allowed: both, or none of them to ask as MAAS does",
        "ssh_port: 0 is not valid; allowed: 1 to 65535",
        "sum: sum is not valid; allowed: the whole path: coreutils has a sum of its own",
    ]


def test_the_usual_paces_are_those_of_the_steps() -> None:
    paces = {name: (step.timeout, step.attempts) for name, step in settings_of(params()).steps.items()}
    assert paces == {
        "commission": (1800, 2),
        "address": (300, 5),
        "bios_pull": (600, 3),
        "bios_modify": (180, 2),
        "bios_push": (600, 2),
        "bmc": (300, 3),
        "finalize": (180, 2),
    }
    assert settings_of(params(steps={"bmc": {"timeout": "7.5"}})).steps["bmc"].timeout == 7.5
    assert settings_of(params(from_step="bios_push")).selected == ("bios_push", "bmc", "finalize")
    assert settings_of(params(only_steps=["bmc", "address"])).selected == ("address", "bmc")


def test_secrets_are_not_in_what_is_shown_of_settings() -> None:
    text = repr(settings_of(params(bmc_username="admin", bmc_password="plain-sight")))
    assert "plain-sight" not in text and "secret" not in text.replace("secrets", "")


# -- pools --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("192.0.2.10-192.0.2.12", ("192.0.2.10", "192.0.2.12", 3)),
        ("192.0.2.0/29", ("192.0.2.1", "192.0.2.6", 6)),
        ("192.0.2.7", ("192.0.2.7", "192.0.2.7", 1)),
        ("192.0.2.0/31", ("192.0.2.0", "192.0.2.1", 2)),
    ],
)
def test_a_pool_is_a_range(text: str, ends: tuple[str, str, int]) -> None:
    found = pool_of("p", {"addresses": text})
    assert (str(found.first), str(found.last), len(found)) == ends
    assert len(list(found.addresses())) == len(found) and ends[0] in found and "203.0.113.1" not in found


def test_pools_that_cannot_be() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_pools(
            {
                "a": {"addresses": "x"},
                "b": {"addresses": "192.0.2.9-192.0.2.1"},
                "c": "y",
                "d": {"adresses": "10.0.0.0/8"},
            }
        )
    assert [line.partition(";")[0] for line in caught.value.problems] == [
        'pools.a.addresses: "x" is no range of addresses',
        'pools.b.addresses: "192.0.2.9-192.0.2.1" ends before it begins',
        "pools.c: is not a mapping",
        'pools.d: unknown key "adresses"',
        'pools.d.addresses: "" is no range of addresses',
    ]
    given = {"rack-a": {"addresses": "192.0.2.10-192.0.2.12", "netmask": "255.255.255.0", "gateway": "192.0.9.1"}}
    problems = Problems()
    check_pool_networks(POOLS, given, problems)
    assert len(problems.lines) == 2 and "pools.rack-a.gateway: 192.0.9.1" in problems.lines[0]


def test_a_server_keeps_its_address_and_gets_no_other_ones() -> None:
    here = POOLS["rack-a"]
    assert first_free(here, {}, "a", set()) == "192.0.2.10"
    assert first_free(here, {"192.0.2.10": "b"}, "a", {"192.0.2.11"}) == "192.0.2.12"
    assert first_free(here, {"192.0.2.12": "a", "192.0.2.11": "a"}, "a", set()) == "192.0.2.11"
    assert first_free(here, dict.fromkeys(here.addresses(), "b"), "a", set()) == ""


def test_what_an_order_leaves_out_is_the_pools() -> None:
    given = {"rack-a": {"addresses": "x", "netmask": "255.255.255.0", "gateway": "192.0.2.1"}}
    order = with_pool_settings(Order("small", "pool:rack-a", gateway="192.0.2.2"), given)
    assert (order.netmask, order.gateway) == ("255.255.255.0", "192.0.2.2")


# -- errors -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unreachable("x"), "network"),
        (DeadlineExceeded("x"), "timeout"),
        (Conflict("x"), "transient"),
        (Busy("x"), "transient"),
        (Settled("x"), "final"),
        (Held("x"), "final"),
        (Fenced("x"), "final"),
        (Denied("x"), "final"),
        (InvalidInput(["x"]), "final"),
        (OperationFailed("x"), "final"),
        (Cancelled("x"), "final"),
    ],
)
def test_what_is_tried_again(error: Exception, kind: str) -> None:
    assert class_of(error) == kind


def test_pauses_double_up_to_a_minute() -> None:
    pauses = [pause_before(attempt, step_of("bmc"), lambda: 0.0) for attempt in range(2, 8)]
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert [pause_before(attempt, step_of("address"), lambda: 0.0) for attempt in (2, 3, 4)] == [30, 30, 30]
    assert pause_before(2, step_of("bmc"), lambda: 1.0) == 5.5


# -- the record ---------------------------------------------------------------------------------------
@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"file:{tmp_path}/state")
    yield opened
    opened.close()


def begun(store: Store, holder: str = HERE, order: Order = ORDER, step: str = "commission", **given: Any) -> Journal:
    journal = Journal(store, SERVER, holder)
    journal.begin(step, order, "", given.get("selected", NAMES), given.get("again", False))
    return journal


def states(store: Store) -> dict[str, str]:
    return {name: step["state"] for name, step in store.get(RECORD, "abc001").body["steps"].items()}


def test_a_record_goes_on_where_it_was(store: Store) -> None:
    journal = begun(store)
    journal.note("commission", seen=1)
    journal.write("commission", step_state="done", attempts=2)
    journal = begun(store, step="address")
    assert states(store)["commission"] == "done" and states(store)["address"] == "running"
    assert journal.outputs("commission") == {"seen": 1}
    assert begun(store).found["state"] == "done"


def test_another_order_begins_anew(store: Store) -> None:
    begun(store).write("commission", step_state="done")
    begun(store, order=replace(ORDER, tags=("other",)), step="address")
    assert states(store)["commission"] == "pending"


def test_steps_that_are_left_out_are_skipped_and_come_back(store: Store) -> None:
    begun(store).write("commission", step_state="done")
    begun(store, step="bmc", selected=("bmc",), again=True)
    assert states(store) == {**dict.fromkeys(NAMES, "skipped"), "commission": "done", "bmc": "running"}
    begun(store, step="address")
    assert states(store)["bios_pull"] == "pending"


def test_from_a_step_on_what_was_done_is_forgotten_once(store: Store) -> None:
    for name in NAMES:
        begun(store, step=name).write(name, step_state="done")
    begun(store).write(hold=0)
    from_push = {"selected": ("bios_push", "bmc", "finalize"), "again": True}
    begun(store, step="bios_push", **from_push).write("bios_push", step_state="done")
    assert states(store)["bmc"] == "pending" and states(store)["address"] == "done"
    begun(store, step="bmc", **from_push)
    assert states(store)["bios_push"] == "done"  # this run has done it


def test_two_runs_do_not_have_one_server(store: Store) -> None:
    begun(store)
    with pytest.raises(Held, match=f"another run is at work on it: process {os.getpid()} on "):
        begun(store, holder="elsewhere|pid:[1]|7|1")
    assert store.read(lambda change: is_held(change, "abc001"))


@pytest.fixture
def ended() -> str:
    """The name of a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = holder_of(child.pid)
    assert not is_gone(name)
    child.communicate(b"\n", timeout=60)
    return name


def test_a_run_that_was_killed_is_taken_over_at_once(store: Store, ended: str) -> None:
    assert is_gone(ended) and not is_gone("elsewhere|pid:[1]|7|1") and not is_gone("nonsense")
    old = begun(store, holder=ended)
    body = store.get(RECORD, "abc001").body
    assert body["state"] == "running" and store.read(lambda change: state_of(change, body)) == "interrupted"
    begun(store)
    assert store.read(lambda change: state_of(change, body)) == "running"
    with pytest.raises(Fenced):
        old.note("commission", late=True)
    with pytest.raises(Fenced):
        old.guard()
    assert "late" not in store.get(RECORD, "abc001").body["steps"]["commission"]["outputs"]


def test_a_rehearsal_writes_nothing(store: Store) -> None:
    journal = Journal(store, SERVER, HERE, dry=True)
    journal.begin("commission", ORDER, "", NAMES)
    journal.note("commission", seen=1)
    journal.guard()
    assert store.find(RECORD, "abc001") is None and store.find("lease", lease_name("abc001")) is None


# -- a step -------------------------------------------------------------------------------------------
class Peer:
    """Work that meets the given errors, and then succeeds. Counts what is asked of it."""

    def __init__(self, *errors: BaseException, holds: bool = True) -> None:
        self.errors = list(errors)
        self.holds = holds
        self.acted = self.probed = self.undone = 0

    def work(self) -> Work:
        return Work(self.act, self.probe, self.undo)

    def act(self, _task: Task) -> Done:
        self.acted += 1
        if self.errors:
            raise self.errors.pop(0)
        return Done(True, {"acted": self.acted})

    def probe(self, _task: Task) -> bool:
        self.probed += 1
        return self.holds

    def undo(self, _task: Task) -> None:
        self.undone += 1


@pytest.fixture
def bench(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    monkeypatch.setattr(engine, "rest", lambda _seconds, _interrupted: None)

    def task(**given: Any) -> Task:
        settings: Settings = settings_of(params(**given))
        return Task(settings, SERVER, ORDER, Maas(settings.maas), Journal(store, SERVER, HERE), Deadline(60))

    return task


def record(store: Store) -> dict[str, Any]:
    return store.get(RECORD, "abc001").body


def test_what_passes_is_tried_again(store: Store, bench: Callable[..., Task]) -> None:
    peer = Peer(Conflict("busy"), Unreachable("gone"))
    result = run_step(bench(), "bmc", work=peer.work())
    assert (result.attempts, peer.acted, result.changed) == (3, 3, True)
    step = record(store)["steps"]["bmc"]
    assert (step["state"], step["attempts"], step["outputs"], step["error"]) == ("done", 3, {"acted": 3}, "")
    assert record(store)["state"] == "running"


@pytest.mark.parametrize(
    ("error", "acted"),
    [(Denied("no"), 1), (Settled("taken"), 1), (OperationFailed("script"), 1), (Unreachable("x"), 3)],
)
def test_what_does_not_pass_ends_the_step(
    store: Store, bench: Callable[..., Task], error: Exception, acted: int
) -> None:
    peer = Peer(*[error] * 9)
    with pytest.raises(type(error)):
        run_step(bench(), "bmc", work=peer.work())
    assert peer.acted == acted and record(store)["state"] == "failed"
    assert record(store)["steps"]["bmc"]["state"] == "failed" and record(store)["steps"]["bmc"]["error"]
    assert not store.read(lambda change: is_held(change, "abc001"))


def test_a_late_attempt_is_cleared_away_before_the_next(bench: Callable[..., Task]) -> None:
    peer = Peer(DeadlineExceeded("late"), Unreachable("gone"))
    with pytest.raises(Unreachable):
        run_step(bench(), "commission", work=peer.work())
    assert (peer.acted, peer.undone) == (2, 1)


def test_the_connection_is_waited_for_before_another_attempt(bench: Callable[..., Task]) -> None:
    asked: list[bool] = []
    peer = Peer()

    def act(task: Task) -> Done:
        task.peer = lambda: asked.append(True) or len(asked) > 1
        if not peer.acted:
            peer.acted = 1
            raise Unreachable("gone")
        return Done(False)

    run_step(bench(), "bmc", work=Work(act, peer.probe))
    assert len(asked) == 2


def test_a_checkpoint_is_probed_before_it_counts(store: Store, bench: Callable[..., Task]) -> None:
    peer = Peer()
    run_step(bench(), "address", work=peer.work())
    again = run_step(bench(), "address", work=peer.work())
    assert (peer.acted, peer.probed, again.changed, again.outputs) == (1, 1, False, {"acted": 1})
    peer.holds = False
    assert run_step(bench(), "address", work=peer.work()).changed
    assert (peer.acted, record(store)["steps"]["address"]["state"]) == (2, "done")


def test_a_probe_that_meets_trouble_leaves_it_to_the_attempts(bench: Callable[..., Task]) -> None:
    peer = Peer()
    run_step(bench(), "bmc", work=peer.work())

    def unreachable(_task: Task) -> bool:
        raise Unreachable("gone")

    assert run_step(bench(), "bmc", work=Work(peer.act, unreachable)).changed and peer.acted == 2


def test_the_last_step_completes_the_record(store: Store, bench: Callable[..., Task]) -> None:
    run_step(bench(only_steps=["bmc"]), "bmc", work=Peer().work())
    assert record(store)["state"] == "completed" and not store.read(lambda change: is_held(change, "abc001"))
    run_step(bench(), "bmc", work=Peer().work())
    assert record(store)["state"] == "running"
    run_step(bench(), "finalize", work=Peer().work())
    assert record(store)["state"] == "completed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_step_that_is_told_to_end_says_so(store: Store, bench: Callable[..., Task], number: signal.Signals) -> None:
    peer = Peer()

    def act(task: Task) -> Done:
        task.journal.note("bmc", before="old")
        os.kill(os.getpid(), number)
        peer.acted += 1
        return Done(True)

    handler = signal.getsignal(number)
    with pytest.raises(Cancelled):
        run_step(bench(), "bmc", work=Work(act, peer.probe))
    assert signal.getsignal(number) == handler and peer.acted == 0
    step = record(store)["steps"]["bmc"]
    assert (record(store)["state"], step["state"], step["outputs"]) == ("cancelled", "failed", {"before": "old"})
    assert "run again" in step["error"]


def test_an_error_that_nobody_foresaw_is_in_the_record(store: Store, bench: Callable[..., Task]) -> None:
    with pytest.raises(OperationFailed, match="nobody foresaw: KeyError"):
        run_step(bench(), "bmc", work=Peer(KeyError("x")).work())
    assert record(store)["state"] == "failed"


def test_no_secret_gets_into_the_record(store: Store, bench: Callable[..., Task]) -> None:
    task = bench(bmc_username="admin", bmc_password="plain-sight-7")
    with pytest.raises(Denied):
        run_step(task, "bmc", work=Peer(Denied("refuses plain-sight-7 of consumer:token:secret")).work())
    assert record(store)["steps"]["bmc"]["error"] == "refuses ******** of ********:********:********"


# -- addresses ----------------------------------------------------------------------------------------
def taken(store: Store) -> dict[str, str]:
    return store.read(pool.owners)


def asking(store: Store, system_id: str, target: str = "pool:rack-a", **given: Any) -> Task:
    pools = {"rack-a": {"addresses": "192.0.2.10-192.0.2.12"}}
    settings = settings_of(params(pools=pools))
    server = Server(system_id, system_id)
    journal = Journal(store, server, HERE)
    return Task(settings, server, Order("small", target), Maas(settings.maas), journal, Deadline(60), **given)


BMC = Endpoint("203.0.113.1", "admin", "x")


def test_no_two_servers_get_one_address(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "answers", lambda _host, _port: False)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda name: pool.address_for(asking(store, name), BMC), "abc"))
    assert sorted(found) == ["192.0.2.10", "192.0.2.11", "192.0.2.12"]
    assert pool.address_for(asking(store, "b"), BMC) == found[1]
    with pytest.raises(Settled, match="no free address left"):
        pool.address_for(asking(store, "d"), BMC)
    line = store.read(lambda change: check_free(change, POOLS["rack-a"], ["a", "d", "e"]))
    assert line == "pool rack-a: 2 addresses are wanted; 0 of 3 are free"


def test_an_address_at_which_a_bmc_answers_is_passed_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "answers", lambda host, _port: host == "192.0.2.10")
    told: list[str] = []
    assert pool.address_for(asking(store, "a", tell=told.append), BMC) == "192.0.2.11"
    assert taken(store) == {"192.0.2.11": "a"} and "192.0.2.10" in told[0]


def test_a_named_address_is_one_servers(store: Store) -> None:
    assert pool.address_for(asking(store, "a", "192.0.2.11"), BMC) == "192.0.2.11"
    with pytest.raises(Settled, match=r"address 192\.0\.2\.11 is server a's"):
        pool.address_for(asking(store, "b", "192.0.2.11"), BMC)
    pool.address_for(asking(store, "a", "192.0.2.50"), BMC)
    pool.forget_others(asking(store, "a"), "192.0.2.50")
    assert taken(store) == {"192.0.2.50": "a"}


def test_a_rehearsal_takes_no_address(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "answers", lambda _host, _port: False)
    assert pool.address_for(asking(store, "a", check=True), BMC) == "192.0.2.10"
    assert pool.address_for(asking(store, "a", "192.0.2.12", check=True), BMC) == "192.0.2.12"
    assert taken(store) == {}
