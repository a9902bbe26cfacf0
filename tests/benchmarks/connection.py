# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play of twenty ordinary tasks in instances that run: our connection plugin and community.general.incus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .floor import Rest, each
from .process import Wrong, run
from .samples import Row
from .world import World

OURS, PEER = "rackstead.infra.instance", "community.general.incus"
DEFAULTS, PIPELINING = "20-task play, as they come", "20-task play, both pipelining"
IMAGE = "debian/12"  # systemd and Python
PYTHON = "/usr/bin/python3"  # of the instances; named, so that nobody pays for discovery
TEMPLATE = """\
# {{ ansible_facts.hostname }}
{% for number in range(200) %}
server node{{ number }} 10.0.0.{{ number }}:8080;
{% endfor %}
"""


def tasks(payload: str, template: str, fetched: str) -> list[dict[str, Any]]:
    """What configures a small application; the last one removes it all, so that every run is the first."""
    top = "/srv/bench"
    return [
        {"ansible.builtin.setup": {}},
        {"ansible.builtin.command": "uname -r"},
        {"ansible.builtin.group": {"name": "bench", "system": True}},
        {"ansible.builtin.file": {"path": f"{top}/conf.d", "state": "directory", "mode": "0750", "group": "bench"}},
        {"ansible.builtin.copy": {"content": "answer = 42\nname = bench\n", "dest": f"{top}/app.conf", "mode": "0640"}},
        {"ansible.builtin.copy": {"src": payload, "dest": f"{top}/payload.bin", "mode": "0644"}},
        {"ansible.builtin.template": {"src": template, "dest": f"{top}/conf.d/upstream.conf", "mode": "0644"}},
        {"ansible.builtin.lineinfile": {"path": f"{top}/app.conf", "regexp": "^answer", "line": "answer = 43"}},
        {"ansible.builtin.lineinfile": {"path": f"{top}/app.conf", "line": "log = /var/log/bench"}},
        {"ansible.builtin.blockinfile": {"path": f"{top}/app.conf", "block": "[limits]\nfiles = 1024"}},
        {"ansible.builtin.replace": {"path": f"{top}/app.conf", "regexp": "name = .*", "replace": "name = other"}},
        {"ansible.builtin.file": {"src": f"{top}/app.conf", "dest": f"{top}/current", "state": "link"}},
        {"ansible.builtin.stat": {"path": f"{top}/payload.bin"}},
        {"ansible.builtin.slurp": {"src": f"{top}/app.conf"}},
        {"ansible.builtin.find": {"paths": top, "recurse": True}},
        {"ansible.builtin.shell": f"wc -c {top}/conf.d/*.conf | tail -1"},
        {"ansible.builtin.command": {"cmd": f"touch {top}/done", "creates": f"{top}/done"}},
        {"ansible.builtin.fetch": {"src": f"{top}/payload.bin", "dest": fetched}},
        {"ansible.builtin.file": {"path": top, "state": "absent"}},
        {"ansible.builtin.group": {"name": "bench", "state": "absent"}},
    ]


@contextmanager
def hosts(world: World, count: int) -> Iterator[list[str]]:
    """That many instances, booted to the end."""
    names = [f"bench-host-{number:02}" for number in range(count)]
    rest = Rest(world.rest.path, world.rest.project)
    try:
        each(lambda name: rest.create(name, IMAGE, {}), names, 2)
        each(rest.start, names, 2)
        for name in names:
            # "degraded" (rc 1) has ended booting as well
            wait = ["incus", "exec", name, "--", "systemctl", "is-system-running", "--wait", "--quiet"]
            run(wait, world.env, world.folder, allow=(0, 1))
        yield names
    finally:
        world.empty()


def inventory(world: World, plugin: str, names: list[str]) -> str:
    common = {
        "ansible_connection": plugin,
        "ansible_python_interpreter": PYTHON,
        "ansible_incus_project": world.rest.project,
    }
    document = {"all": {"hosts": dict.fromkeys(names), "vars": common}}
    return str(world.file(f"hosts-{plugin}.yml", document))


def play(world: World) -> Any:
    payload = world.file("payload.bin", "0123456789abcdef" * 4096)
    template = world.file("upstream.conf.j2", TEMPLATE)
    book = [
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": tasks(str(payload), str(template), str(world.folder / "fetched")),
        }
    ]
    return world.file("connection.yml", book)


def measure(world: World, names: list[str], plugins: Sequence[str], forks: int, turns: int, start: Row) -> list[Row]:
    """Rows for the plugins as they come, and with Ansible's pipelining switched on for all of them.

    The contenders take turns, so that a busy minute hits both.
    """
    book = play(world)
    rows: list[Row] = []
    for operation, settings in ((DEFAULTS, {}), (PIPELINING, {"ANSIBLE_PIPELINING": "1"})):
        block = {plugin: Row(operation, plugin, len(names), startup=start) for plugin in plugins}
        for turn in range(turns):
            for plugin in plugins[:: 1 if turn % 2 == 0 else -1]:
                env = {**settings, "ANSIBLE_FORKS": str(forks)}
                sample, printed = world.playbook(book, inventory(world, plugin, names), env=env)
                check(printed, names)
                block[plugin].samples.append(sample)
                world.say(f"{operation} on {len(names)} · {plugin}: {sample.wall:.2f} s")
        rows += block.values()
    return rows


def check(printed: str, names: list[str]) -> None:
    """Every host did all twenty tasks."""
    recap = printed[printed.rfind("PLAY RECAP") :]
    if recap.count(" ok=20 ") != len(names):
        raise Wrong(f"not every host did 20 tasks:\n{printed[-3000:]}")
