# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules and the inventory for MAAS, on a stand-in that checks OAuth and has the whole status machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from standins import maas as standin
from standins.site import Fault
from testbed.ansible import Modules, Playbooks, done, failed, unwrapped


@pytest.fixture(scope="module")
def modules() -> Iterator[Modules]:
    runner = Modules({})
    yield runner
    runner.close()


@pytest.fixture
def maas() -> Iterator[standin.Maas]:
    with standin.running() as site:
        yield site


def orders(machine: standin.Machine) -> list[str]:
    return [op for op, _data in machine.orders]


# -- a machine's way ----------------------------------------------------------------------------------
def test_from_new_to_deployed_and_back(modules: Modules, maas: standin.Maas) -> None:
    machine = maas.add("rack-a-10")

    def bring(state: str, check: bool = False, **more: Any) -> dict[str, Any]:
        args = {**maas.options, "machine": "rack-a-10", "state": state, **more}
        return done(modules("maas_machine", args, check=check, diff=True))

    predicted = bring("ready", check=True)
    assert predicted["changed"] and predicted["diff"]["after"].startswith("status: Ready\n") and not machine.orders
    commissioning = {"enable_ssh": True, "skip_storage": False, "testing_scripts": ["smartctl-validate", "ntp"]}
    ready = bring("ready", commissioning=commissioning)
    assert ready["changed"] and ready["machine"]["status_name"] == "Ready" and machine.status == 4
    told = {"enable_ssh": "True", "skip_storage": "False", "testing_scripts": "smartctl-validate,ntp"}
    assert machine.orders == [("commission", told)]
    assert not bring("ready")["changed"]

    deployed = bring("deployed", deploy={"distro_series": "noble", "user_data": "#cloud-config\n{}"})
    assert deployed["machine"]["status_name"] == "Deployed" and deployed["machine"]["power"] == "on"
    assert machine.orders[-1] == ("deploy", {"distro_series": "noble", "user_data": "I2Nsb3VkLWNvbmZpZwp7fQ=="})
    assert not bring("deployed")["changed"]
    assert failed(modules("maas_machine", {**maas.options, "machine": "rack-a-10", "state": "ready"})) == (
        "machine rack-a-10: is Deployed: there is no way from there to state ready; state released gives it back first"
    )
    assert bring("released", erase=True, comment="done with it")["machine"]["status_name"] == "Ready"
    assert machine.orders[-1] == ("release", {"erase": "True", "comment": "done with it"})
    assert bring("broken", comment="a fan is loud")["changed"] and machine.status == 8
    assert bring("ready")["changed"] and machine.status == 4
    assert orders(machine) == ["commission", "deploy", "release", "mark_broken", "mark_fixed"]
    assert bring("ready", again=True)["changed"] and orders(machine)[-1] == "commission"


def test_power_and_owner_data(modules: Modules, maas: standin.Maas) -> None:
    machine = maas.add("m", status=4, owner_data={"keep": "1", "rack": "A-9"})
    args = {**maas.options, "machine": machine.mac, "power": "on", "owner_data": {"rack": "A-10", "unit": 7}}
    predicted = done(modules("maas_machine", args, check=True, diff=True))
    assert predicted["changed"] and not machine.orders
    result = done(modules("maas_machine", args, diff=True))
    assert result["diff"] == predicted["diff"] and result["machine"] == predicted["machine"]
    assert machine.power == "on" and machine.owner_data == {"keep": "1", "rack": "A-10", "unit": "7"}
    assert not done(modules("maas_machine", args))["changed"]
    done(modules("maas_machine", {**maas.options, "machine": "m.maas", "power": "off", "soft": True}))
    assert machine.orders[-1] == ("power_off", {"stop_mode": "soft"})
    done(modules("maas_machine", {**maas.options, "machine": "m", "owner_data": {"rack": ""}}))
    assert machine.owner_data == {"keep": "1", "unit": "7"}


def test_a_failure_is_told_with_its_cause(modules: Modules, maas: standin.Maas) -> None:
    machine = maas.add("sick", ends={"commission": 2})
    args = {**maas.options, "machine": "sick", "state": "ready"}
    assert failed(modules("maas_machine", args)) == (
        "machine sick: Failed commissioning; 1 script failed; "
        "script 50-maas-01-commissioning failed (1): no disk was found"
    )
    machine.ends = {}
    assert done(modules("maas_machine", args))["machine"]["status_name"] == "Ready"
    machine.ends = {"deploy": 11}
    message = failed(modules("maas_machine", {**args, "state": "deployed"}))
    assert (
        message
        == "machine sick: Failed deployment; deploy failed; script 50-maas-01-commissioning failed (1): no disk was found"
    )


def test_a_machine_that_is_stuck_is_waited_for_and_aborted(modules: Modules, maas: standin.Maas) -> None:
    machine = maas.add("slow", ends={"commission": None})
    args = {**maas.options, "machine": "slow", "state": "ready", "wait": 1}
    expected = (
        "waited 1 s in vain for machine slow to be ready (last seen: Commissioning); "
        "a later run goes on waiting; state aborted stops it"
    )
    assert failed(modules("maas_machine", args)) == expected
    assert failed(modules("maas_machine", args)) == expected
    assert orders(machine) == ["commission"]
    assert done(modules("maas_machine", {**args, "state": "aborted"}))["changed"] and machine.status == 0
    assert not done(modules("maas_machine", {**args, "state": "aborted"}))["changed"]
    done(modules("maas_machine", {**args, "wait": 0}))
    assert machine.status == 1  # ordered, and not waited for


def test_a_killed_run_orders_nothing_twice(modules: Modules, maas: standin.Maas) -> None:
    maas.delay = 3.0
    machine = maas.add("m")
    args = {**maas.options, "machine": "m", "state": "ready"}
    program = (
        "import json, sys\n"
        "from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas import client, lifecycle\n"
        "args = json.loads(sys.argv[1])\n"
        "site = client.Site(args['url'], args['api_key'])\n"
        "with client.Maas(site) as maas:\n"
        "    lifecycle.ensure_machine(maas, args['machine'], lifecycle.Order('ready'), check=False)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    killed = subprocess.Popen([sys.executable, "-c", program, json.dumps(args)], env=env)
    wait_until(lambda: orders(machine) or None, Deadline(60), what="the order")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    result = done(modules("maas_machine", args))
    assert not result["changed"] and result["machine"]["status_name"] == "Ready"
    assert orders(machine) == ["commission"]


# -- what MAAS may do ---------------------------------------------------------------------------------
def test_an_answer_that_is_lost(modules: Modules, maas: standin.Maas) -> None:
    """The order was taken, and nobody heard so; the next one was not even looked at."""
    machine = maas.add("m")
    maas.faults = [Fault("POST", "commission", "lose"), Fault("GET", "machines", 502)]
    assert done(modules("maas_machine", {**maas.options, "machine": "m", "state": "ready"}))["changed"]
    assert orders(machine) == ["commission"]
    maas.faults = [Fault("POST", "deploy", "drop")]
    args = {**maas.options, "machine": "m", "state": "deployed"}
    assert failed(modules("maas_machine", args)).startswith(f"MAAS at {maas.url}: does not answer: ")
    assert machine.status == 4
    assert done(modules("maas_machine", args))["machine"]["status_name"] == "Deployed"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("POST", "deploy", 503), "POST machines/abc001/: 503: No available IP addresses"),
        (Fault("POST", "deploy", 409), "POST machines/abc001/: 409: No available IP addresses"),
        (Fault("GET", "machines", 401), "does not accept the API key; make a new one in MAAS's preferences"),
        (Fault("POST", "deploy", 403), "POST machines/abc001/: 403: No available IP addresses"),
    ],
)
def test_refusals(modules: Modules, maas: standin.Maas, fault: Fault, message: str) -> None:
    machine = maas.add("m", status=4)
    maas.faults = [Fault(fault.method, fault.path, fault.how)]
    args = {**maas.options, "machine": "m", "state": "deployed"}
    assert failed(modules("maas_machine", args)) == f"MAAS at {maas.url}: {message}"
    assert machine.status == 4


def test_a_key_that_expires_midway(modules: Modules, maas: standin.Maas) -> None:
    maas.delay = 2.0
    machine = maas.add("m")

    def expire() -> None:
        wait_until(lambda: orders(machine) or None, Deadline(60), what="the order", first=0.01)
        maas.keys.clear()

    thread = threading.Thread(target=expire)
    thread.start()
    message = failed(modules("maas_machine", {**maas.options, "machine": "m", "state": "ready"}))
    thread.join()
    assert message == f"MAAS at {maas.url}: does not accept the API key; make a new one in MAAS's preferences"


# -- bad input ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"url": "maas.example", "api_key": "one:two", "timeout": 0},
            (
                "url: is not the URL of a MAAS; allowed: such as https://maas.example:5443/MAAS\n"
                "timeout: 0 is not valid; allowed: seconds, more than 0"
            ),
        ),
        ({"api_key": "one:two"}, "api_key: is not a MAAS API key; allowed: three words with colons between"),
        (
            {"api_key": "", "api_key_file": "/nowhere"},
            "api_key_file: /nowhere cannot be read: No such file or directory",
        ),
        ({"api_key": ""}, "api_key: is missing; api_key_file does as well"),
        (
            {"again": True, "soft": True, "wait": -1, "deploy": {"distro_series": "noble"}},
            (
                "wait: -1 is not valid; allowed: seconds, 0 or more\n"
                "again: is of no use without state ready; allowed: with it\n"
                "soft: is of no use without power off; allowed: with it\n"
                "deploy: is of no use without state deployed; allowed: with it"
            ),
        ),
    ],
)
def test_bad_input(modules: Modules, maas: standin.Maas, args: dict[str, Any], message: str) -> None:
    assert failed(modules("maas_machine", {**maas.options, "machine": "m", **args})) == message
    assert maas.asked == []


def test_names(modules: Modules, maas: standin.Maas) -> None:
    maas.add("twin")
    maas.add("twin")
    args = {**maas.options, "machine": "twin"}
    assert failed(modules("maas_machine_info", args)) == (
        f"MAAS at {maas.url}: machine twin: there are 2: abc001, abc002; name the system ID"
    )
    message = failed(modules("maas_machine_info", {**args, "machine": "nobody"}))
    assert message == f"MAAS at {maas.url}: machine nobody: does not exist"
    found = done(modules("maas_machine_info", {**maas.options, "filters": {"pool": "default"}}))["machines"]
    assert [(one["system_id"], one["memory"]) for one in found] == [("abc001", 16384), ("abc002", 16384)]
    assert done(modules("maas_machine_info", {**args, "machine": "abc002"}))["machines"][0]["macs"]


# -- tags ---------------------------------------------------------------------------------------------
def test_tags(modules: Modules, maas: standin.Maas) -> None:
    one, two = maas.add("one"), maas.add("two")

    def tag(check: bool = False, **args: Any) -> dict[str, Any]:
        return done(modules("maas_tag", {**maas.options, "name": "edge", **args}, check=check, diff=True))

    first = {"comment": "at the edge", "machines": ["one"]}
    predicted = tag(check=True, **first)
    assert predicted["changed"] and maas.tags == {}
    assert tag(**first)["diff"] == predicted["diff"]
    assert maas.tags == {"edge": "at the edge"} and one.tags == {"edge"} and not two.tags
    assert not tag(**first)["changed"]
    assert tag(machines=["two.maas"])["tag"]["machines"] == ["abc001", "abc002"]
    assert tag(machines=["two"], exact=True)["tag"]["machines"] == ["abc002"] and not one.tags
    assert tag(comment="far away")["changed"] and maas.tags == {"edge": "far away"}
    message = failed(modules("maas_tag", {**maas.options, "name": "edge", "machines": ["three"]}))
    assert message == f"MAAS at {maas.url}: machine three: does not exist"
    assert tag(state="absent", check=True)["changed"] and maas.tags
    assert tag(state="absent")["changed"] and not maas.tags and not two.tags
    assert not tag(state="absent")["changed"]
    message = failed(modules("maas_tag", {**maas.options, "name": "two words"}))
    assert message == "name: 'two words' is not valid; allowed: letters, digits, - _ ."


# -- inventory and secrets ----------------------------------------------------------------------------
def inventory(maas: standin.Maas, tmp_path: Path, **options: Any) -> dict[str, Any]:
    file = tmp_path / "hosts.yml"
    file.write_text(json.dumps({"plugin": "rackstead.infra.maas", "url": maas.url, **options}))
    (tmp_path / "ansible.cfg").touch()
    env = {**Playbooks(tmp_path, {}).environment(tmp_path / "none"), "RACKSTEAD_MAAS_API_KEY": standin.KEY}
    env["ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED"] = "1"
    argv = ["ansible-inventory", "-i", str(file), "--list"]
    ran = subprocess.run(argv, env=env, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(" ".join(ran.stderr.split()))
    document: dict[str, Any] = unwrapped(json.loads(ran.stdout))
    return document


def test_inventory(maas: standin.Maas, tmp_path: Path) -> None:
    maas.add("web", status=6, power="on", address="192.0.2.20", tags={"edge"}, owner_data={"rack": "A"})
    maas.add("new")
    listing = inventory(
        maas, tmp_path, keyed_groups=[{"key": "maas_owner_data.rack | default('none')", "prefix": "rack"}]
    )
    hosts = listing["_meta"]["hostvars"]
    assert sorted(hosts) == ["new", "web"] and hosts["web"]["ansible_host"] == "192.0.2.20"
    assert hosts["web"]["maas_status_name"] == "Deployed" and "ansible_host" not in hosts["new"]
    assert listing["status_Deployed"]["hosts"] == ["web"] and listing["tag_edge"]["hosts"] == ["web"]
    assert listing["rack_A"]["hosts"] == ["web"] and sorted(listing["pool_default"]["hosts"]) == ["new", "web"]
    assert maas.asked == ["GET /machines/"]
    only = inventory(maas, tmp_path, filters={"status": "deploy*"}, group_by=["power"])
    assert (
        list(only["_meta"]["hostvars"]) == ["web"]
        and only["power_on"]["hosts"] == ["web"]
        and "status_Deployed" not in only
    )
    with pytest.raises(RuntimeError, match=r"filters\.colour: is unknown; allowed: status, pool, "):
        inventory(maas, tmp_path, filters={"colour": "red"})


def test_a_cached_inventory_asks_once(maas: standin.Maas, tmp_path: Path) -> None:
    maas.add("one")
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    first = inventory(maas, tmp_path, **cache)
    maas.add("two")
    assert inventory(maas, tmp_path, **cache) == first and maas.asked == ["GET /machines/"]


def test_a_play_shows_no_secret(maas: standin.Maas, tmp_path: Path) -> None:
    maas.add("m")
    options = {"url": maas.url}
    tasks = [
        {"rackstead.infra.maas_machine": {"machine": "m", "state": "ready"}},
        {"rackstead.infra.maas_machine": {"machine": "m", "state": "deployed", "deploy": {"user_data": "quiet-words"}}},
        {"rackstead.infra.maas_machine": {"machine": "m", "state": "broken"}},
        {"rackstead.infra.maas_tag": {"name": "wrong name"}, "ignore_errors": True},
    ]
    block = {"block": tasks, "module_defaults": {"group/rackstead.infra.maas": options}}
    env = {"RACKSTEAD_MAAS_API_KEY": standin.KEY}
    ran = Playbooks(tmp_path, env)([block], diff=True, arguments=["-vvvv"]).ok()
    assert [one.changed for one in ran.results] == [True, True, True, False]
    said = "\n".join([ran.stdout, ran.stderr])
    assert not [word for word in (standin.KEY, standin.SECRET) if word in said or word in str(ran.results)]
    assert "quiet-words" not in str([one.result.get("machine") for one in ran.results])
