# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Crash safety of provisioning: a run, or a peer, is killed at every point where that could matter.

One undisturbed run tells the points that there are, around each write into the state store, each order to MAAS,
each run of SUM and each LAN parameter. Then each server of a rack is
provisioned by a process that is killed with SIGKILL at a point of its own, and by another one after it. The
peers must hold the same in the end as after the undisturbed run, with one commissioning and one push of BIOS
settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import NAMES
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed import rack as racks

from tests.integration.provisioning import LONG, QUICK, Run, orders, unfinished

#: Runs at once: each waits for its peers most of the time.
AT_ONCE = 4
#: Boots and orders are as quick as can be: what is looked for lies in the order of things.
PACE = {"boot": 0.05, "delay": 0.05}


#: What a step does in its middle: after each of these something else is left behind.
MIDDLE = (
    "commission: after MAAS POST commission",
    "bios_pull: after store put",
    "bios_push: after store write #2",  # about to push
    "bios_push: after sum ChangeBiosCfg",
    "bios_push: after store write #3",  # pushed
    "bios_push: after store write #4",  # about to boot
    "bios_push: after MAAS POST rescue_mode",
    "bios_push: after store write #5",  # booted
    "bmc: after store write",  # about to move
    "bmc: after lan 12",
    "bmc: after lan 3",
    "bmc: before lan 0 #3",  # gone, and the lock not given back
    "bmc: after MAAS PUT machines",
    "finalize: after MAAS POST exit_rescue_mode",
    "finalize: after MAAS POST tags",
    "finalize: after MAAS POST update_nodes",
)


def told(points: Sequence[str]) -> list[str]:
    """Where to kill: at the beginning of each step, in its middle, and at its end, with nothing written of it yet."""
    starts = [point for point in points if point.endswith(": after store begin")]
    ends = [before for before, point in itertools.pairwise(points) if point.endswith(": end")]
    ends = [point.replace("after store", "before store") for point in ends]
    return [*starts, *MIDDLE, *ends]


def in_turn(work: Callable[[int, str], list[str]], points: Sequence[str]) -> list[str]:
    """Do the work for all points, a few at a time; a server each, from the second on. Returns what went wrong."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(work, range(2, len(points) + 2), points)
        return [line for lines in found for line in lines]


@pytest.mark.timeout(600)
def test_a_run_that_is_killed_is_taken_up_by_the_next(undisturbed: list[str]) -> None:
    points = told(undisturbed)
    assert set(points) <= set(undisturbed) and len(points) == len(MIDDLE) + 2 * len(NAMES)
    with racks.running(len(points) + 1, **PACE) as rack:

        def killed(number: int, point: str) -> list[str]:
            run = Run(rack, number, point)
            if run.ended() != -9:
                return [f"{run}: ended before: {run.log.read_text()}"]
            again = Run(rack, number)
            if again.ended():
                return [f"{run}: and then: {again.log.read_text()}"]
            return [f"{run}: not so: {', '.join(wrong)}"] if (wrong := unfinished(rack, number)) else []

        assert in_turn(killed, points) == []


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[list[str]]:
    """The points of a run that nobody disturbs, and of which a second finds nothing to do."""
    with racks.running(1, **PACE) as rack:
        points = Run(rack, 1).ok()
        assert unfinished(rack, 1) == []
        before = orders(rack.servers[0])
        Run(rack, 1).ok()
        assert unfinished(rack, 1) == [] and orders(rack.servers[0]) == before
        yield points


# -- peers that are killed ----------------------------------------------------------------------------
AT_MAAS = (
    "commission: after MAAS POST commission",
    "bios_push: after MAAS POST rescue_mode",
    "finalize: after MAAS POST exit_rescue_mode",
)
AT_HOST = ("bios_push: before sum ChangeBiosCfg", "bios_push: after sum ChangeBiosCfg")
AT_BMC = ("bmc: after store write", "bmc: after lan 3")


def brought_about(rack: racks.Rack, runs: Sequence[Run]) -> list[str]:
    """What is wrong after the runs, of which those that failed were run again, once."""
    for run in runs:
        if run.ended():
            Run(rack, run.number).ok()
    wrong = {str(run): unfinished(rack, run.number) for run in runs}
    return [f"{run}: {', '.join(what)}" for run, what in wrong.items() if what]


def stopped(rack: racks.Rack, first: int, points: Sequence[str]) -> list[Run]:
    """Runs that have stopped at these points."""
    pace = {**QUICK, "bmc": {"timeout": 20, "attempts": 2, "backoff": 0.2}}
    runs = [Run(rack, number, point, "STOP", steps=pace) for number, point in enumerate(points, first)]
    for run in runs:
        run.reached()
    return runs


@pytest.fixture
def rack() -> Iterator[racks.Rack]:
    with racks.running(3, **PACE) as one:
        yield one


@pytest.mark.timeout(600)
def test_maas_dies_and_comes_back(rack: racks.Rack) -> None:
    runs = stopped(rack, 1, AT_MAAS)
    rack.maas.die()
    for run in runs:
        run.go_on()
    while_dead = Deadline(1.5)
    wait_until(lambda: while_dead.expired() or None, Deadline(LONG), what="a while")
    assert [run.process.poll() for run in runs] == [None, None, None]
    rack.maas.rise()
    assert brought_about(rack, runs) == []


@pytest.mark.timeout(600)
def test_a_host_loses_its_power_around_the_push(rack: racks.Rack) -> None:
    runs = stopped(rack, 1, AT_HOST)
    for run in runs:
        rack.lose_power(rack.servers[run.number - 1])
        run.go_on()
    assert brought_about(rack, runs) == []


@pytest.mark.timeout(600)
def test_a_bmc_dies_on_its_way(rack: racks.Rack) -> None:
    """What was sent to it and not committed is gone with its process."""
    runs = stopped(rack, 1, AT_BMC)
    for run in runs:
        rack.servers[run.number - 1].bmc.stop()
        run.go_on()
        rack.revive(rack.servers[run.number - 1])
    assert brought_about(rack, runs) == []
