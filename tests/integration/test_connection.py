# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection plugin in real instances, over the socket and over TLS."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants as C  # noqa: N812  its name everywhere
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.playbook.play_context import PlayContext
from ansible_collections.rackstead.infra.plugins.connection import instance as plugin
from testbed import daemon as testbed
from testbed.ansible import Playbooks
from testbed.proxy import RecordingProxy

PLUGIN = "rackstead.infra.instance"
PASSWORD = "correct-horse-battery-staple"
MEGABYTE = 1 << 20
Connect = Callable[..., Any]

# What Ansible's loader does, which finds no collection that Python has imported already.
C.config.initialize_plugin_configuration_definitions(
    "connection", PLUGIN, yaml.safe_load(plugin.DOCUMENTATION)["options"]
)


@pytest.fixture(scope="module")
def box(daemon: testbed.Daemon, module_project: Any) -> Any:
    """A project with the instance ``box``, which runs busybox."""
    module_project.incus("launch", "tiny", "box", "-q")
    return module_project


@pytest.fixture(scope="module")
def debian(daemon: testbed.Daemon, debian_image: str, module_project: Any) -> Any:
    """A project with the instance ``deb``: Debian with a user who may become root with a password."""
    module_project.incus("launch", debian_image, "deb", "-q")
    script = f"""
        useradd -m -s /bin/bash deploy && echo deploy:{PASSWORD} | chpasswd
        echo 'deploy ALL=(ALL) ALL' > /etc/sudoers.d/deploy
    """
    module_project.inside("deb", "sh", "-ec", script)
    return module_project


@pytest.fixture
def connect(box: Any) -> Iterator[Connect]:
    """``connect(**options)``: the plugin, on the instance ``box`` over the socket unless told otherwise."""
    opened = []

    def make(instance: str = "box", **options: Any) -> Any:
        connection = plugin.Connection(PlayContext())
        connection._load_name = PLUGIN
        given = {"remote_addr": instance, "url": box.daemon.url_unix, "project": box.name, **options}
        connection.set_options(direct=given)
        opened.append(connection)
        return connection

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture(scope="module")
def tls(box: Any) -> dict[str, str]:
    """Connection options for HTTPS with a certificate of its own."""
    return tls_options(box.daemon.trust("connection"))


def tls_options(endpoint: dict[str, str]) -> dict[str, str]:
    names = {"cert_file": "client_cert", "key_file": "client_key", "fingerprint": "server_fingerprint"}
    return {names.get(field, field): value for field, value in endpoint.items()}


def hosts(project: Any, *instances: str, **variables: Any) -> dict[str, Any]:
    """An inventory of instances by name."""
    python = {"ansible_python_interpreter": "/usr/bin/python3", "ansible_connection": PLUGIN}
    return {name: {**python, "ansible_rackstead_project": project.name, **variables} for name in instances}


@pytest.fixture(params=["socket", "tls"])
def way(request: pytest.FixtureRequest, tls: dict[str, str]) -> dict[str, str]:
    """Options for both ways to a daemon."""
    return tls if request.param == "tls" else {}


# -- commands -------------------------------------------------------------------------------------
def test_a_command_gives_its_code_and_both_outputs(connect: Connect, way: dict[str, str]) -> None:
    code, out, err = connect(**way).exec_command(r"printf 'a\377\000b'; echo wrong >&2; exit 7")
    assert (code, out, err) == (7, b"a\xff\x00b", b"wrong\n")


def test_megabytes_of_input_and_output_pass_at_once(connect: Connect, way: dict[str, str]) -> None:
    data = os.urandom(MEGABYTE) * 5
    assert connect(**way).exec_command("cat; echo end >&2", in_data=data) == (0, data, b"end\n")


def test_a_command_that_does_not_read_its_input_ends(connect: Connect) -> None:
    assert connect().exec_command("true", in_data=b"x" * 3 * MEGABYTE) == (0, b"", b"")


def test_a_process_left_behind_does_not_hold_the_command(connect: Connect) -> None:
    connection = connect(command_timeout=20)
    assert connection.exec_command("sleep 300 & echo started")[1] == b"started\n"
    connection.exec_command("killall sleep")


def test_one_http_connection_serves_a_task(connect: Connect, recording_proxy: RecordingProxy) -> None:
    connection = connect(url=recording_proxy.url)
    for _turn in range(3):
        connection.exec_command("true")
    streams = [request for request in recording_proxy.requests if "/websocket?" in request.path]
    assert len(streams) == 9
    assert recording_proxy.connections - len(streams) == 1
    assert len(recording_proxy.requests) == 15  # exec, three streams and the end, three times


@pytest.mark.parametrize(
    ("user", "uid", "home"), [("guest", 1000, "/home/guest"), ("1000", 1000, "/home/guest"), ("4321", 4321, "/")]
)
def test_a_user_is_found_by_name_and_by_number(connect: Connect, user: str, uid: int, home: str) -> None:
    out = connect(remote_user=user).exec_command("id -u; echo $HOME; pwd")[1].decode().split()
    assert out == [str(uid), home, home]


def test_an_unknown_user_is_named_with_the_nearest(connect: Connect) -> None:
    with pytest.raises(AnsibleConnectionFailure, match='no user "gest" in /etc/passwd; did you mean "guest"'):
        connect(remote_user="gest").exec_command("true")


def test_shell_and_folder_can_be_chosen(connect: Connect) -> None:
    assert connect(cwd="/var/log").exec_command("pwd")[1] == b"/var/log\n"
    assert connect(executable="/bin/busybox ash").exec_command("echo $0")[1] == b"ash\n"


def test_a_command_past_its_time_is_killed(connect: Connect) -> None:
    with pytest.raises(AnsibleError, match=r"instance box: .* within 0.5 s and was killed"):
        connect(command_timeout=0.5).exec_command("exec sleep 4711")
    assert b"4711" not in connect().exec_command("ps")[1]


# -- files ----------------------------------------------------------------------------------------
def test_hundreds_of_megabytes_are_never_in_memory_whole(connect: Connect, way: dict[str, str], tmp_path: Path) -> None:
    source, back = tmp_path / "big", tmp_path / "back"
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for _block in range(150):
            block = os.urandom(MEGABYTE)
            digest.update(block)
            file.write(block)
    connection = connect(**way)
    tracemalloc.start()
    try:
        connection.put_file(str(source), "/root/big")
        connection.fetch_file("/root/big", str(back))
        assert tracemalloc.get_traced_memory()[1] < 20 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert connection.exec_command("sha256sum < /root/big; rm /root/big")[1].split()[0].decode() == digest.hexdigest()
    with back.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest.hexdigest()


def test_a_file_belongs_to_the_user_who_put_it(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(b"\x00\xff")
    connection = connect(remote_user="guest")
    connection.put_file(str(tmp_path / "note"), "/home/guest/note")
    assert connection.exec_command("stat -c '%u %g %s' /home/guest/note")[1] == b"1000 1000 2\n"


def test_an_empty_file_arrives(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    connect().put_file(str(tmp_path / "empty"), "/root/empty")
    connect().fetch_file("/root/empty", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b""


def test_faulty_transfers_name_the_file_and_leave_nothing(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    with pytest.raises(AnsibleError, match="put /no/such/folder/x: "):
        connect().put_file(str(tmp_path / "there"), "/no/such/folder/x")
    with pytest.raises(AnsibleError, match=r"does not exist: .*/missing"):
        connect().put_file(str(tmp_path / "missing"), "/root/x")
    with pytest.raises(AnsibleError, match="fetch /no/file: "):
        connect().fetch_file("/no/file", str(tmp_path / "out"))
    with pytest.raises(AnsibleError, match="fetch /etc: /etc is a directory, not a file"):
        connect().fetch_file("/etc", str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


# -- what is out of reach -------------------------------------------------------------------------
def test_what_is_unreachable_says_why_in_one_sentence(connect: Connect, box: Any, tls: dict[str, str]) -> None:
    box.incus("init", "tiny", "asleep", "-q")
    box.incus("launch", "tiny", "frosty", "-q")
    box.incus("pause", "frosty")
    place = f'in project "{box.name}" of Incus at {box.daemon.url_unix}'
    wrong_pin = {**tls, "server_fingerprint": "0" * 64}
    cases = [
        ({"instance": "boxx"}, f'instance "boxx" {place} does not exist; did you mean "box"?'),
        ({"instance": "boxx", "remote_user": "guest"}, f'instance "boxx" {place} does not exist; did you mean "box"?'),
        ({"instance": "asleep"}, f'instance "asleep" {place} is stopped, not running'),
        ({"instance": "frosty"}, f'instance "frosty" {place} is frozen, not running'),
        ({"url": "unix:///no/such.socket"}, "Incus at unix:///no/such.socket: connect: No such file or directory"),
        ({"url": "https://127.0.0.1:1"}, "Incus at https://127.0.0.1:1: connect: Connection refused"),
        (wrong_pin, "not the pinned 000000000"),
        ({**tls, "client_cert": "/no/file"}, "client_cert: /no/file"),
    ]
    for options, sentence in cases:
        with pytest.raises(AnsibleConnectionFailure) as raised:
            connect(**options).exec_command("true")
        assert sentence in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_host_name_with_dots_means_its_first_part(connect: Connect) -> None:
    assert connect("box.example.org").exec_command("hostname")[1] == b"box\n"


def test_a_restricted_certificate_sees_its_project_only(connect: Connect, box: Any, daemon: testbed.Daemon) -> None:
    mine = tls_options(daemon.trust("restricted-connection", projects=[box.name]))
    assert connect(**mine).exec_command("echo in")[1] == b"in\n"
    with pytest.raises(AnsibleConnectionFailure, match=r'project "default"|not trusted|restricted'):
        connect(**mine, project="default").exec_command("true")


def test_an_instance_on_another_member_of_a_cluster(connect: Connect, cluster: testbed.Cluster, tmp_path: Path) -> None:
    cluster.first.incus("launch", "tiny", "across", "--target", "m2", "-q")
    connection = connect("across", url=cluster.first.url_unix, project="default")
    assert connection.exec_command("cat; hostname", in_data=b"x" * MEGABYTE)[1] == b"x" * MEGABYTE + b"across\n"
    (tmp_path / "file").write_bytes(b"y" * MEGABYTE)
    connection.put_file(str(tmp_path / "file"), "/root/file")
    connection.fetch_file("/root/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"y" * MEGABYTE
    cluster.first.incus("delete", "-f", "across")


def test_a_dead_host_is_unreachable_in_a_play(play: Playbooks, box: Any) -> None:
    result = play([{"name": "try", "ansible.builtin.raw": "true"}], hosts(box, "box", "ghost"))
    assert result.of("try", "box").status == "ok"
    dead = result.of("try", "ghost")
    assert dead.status == "unreachable"
    assert 'instance "ghost" in project' in dead.msg
    assert "does not exist" in dead.msg


# -- become and modules ---------------------------------------------------------------------------
def test_su_in_busybox(play: Playbooks, box: Any) -> None:
    become = {"become": True, "become_method": "ansible.builtin.su", "become_user": "guest"}
    result = play([{"name": "who", "ansible.builtin.raw": "id -un", **become}], hosts(box, "box")).ok()
    assert result.of("who")["stdout"].strip() == "guest"


def test_raw_takes_an_executable_of_its_own(play: Playbooks, box: Any) -> None:
    tasks = [{"name": "ash", "ansible.builtin.raw": "echo $0", "args": {"executable": "/bin/ash"}}]
    assert play(tasks, hosts(box, "box")).ok().of("ash")["stdout"].strip() == "/bin/ash"


def test_a_module_costs_one_exec_and_no_file(play: Playbooks, debian: Any, recording_proxy: RecordingProxy) -> None:
    tasks = [{"name": "run", "ansible.builtin.command": "uname"}]
    play(tasks, hosts(debian, "deb"), env=recording_proxy.env).ok()
    assert recording_proxy.mutating == [f"POST /1.0/instances/deb/exec?project={debian.name}"]


def test_modules_files_and_become_in_debian(play: Playbooks, debian: Any, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(range(256)) * 100)
    sudo = {"become": True, "become_method": "ansible.builtin.sudo"}
    tasks = [
        {"name": "facts", "ansible.builtin.setup": {"gather_subset": ["min"]}},
        {
            "name": "copy",
            "ansible.builtin.copy": {"src": str(tmp_path / "source"), "dest": "/tmp/copied", "mode": "0600"},
        },
        {"name": "fetch", "ansible.builtin.fetch": {"src": "/tmp/copied", "dest": f"{tmp_path}/fetched", "flat": True}},
        {"name": "me", "ansible.builtin.command": "id -un"},
        {"name": "root", "ansible.builtin.command": "id -un", **sudo},
        {"name": "script", "ansible.builtin.script": str(tmp_path / "script.sh"), **sudo},
        {"name": "later", "ansible.builtin.command": "id -un", "async": 30, "poll": 1},
    ]
    (tmp_path / "script.sh").write_text("#!/bin/sh\nid -un\n")
    (tmp_path / "script.sh").chmod(0o755)
    inventory = hosts(debian, "deb", ansible_user="deploy", ansible_become_password=PASSWORD)
    result = play(tasks, inventory).ok()
    assert result.of("facts")["ansible_facts"]["ansible_distribution"] == "Debian"
    assert result.of("me")["stdout"] == result.of("later")["stdout"] == "deploy"
    assert result.of("root")["stdout"] == result.of("script")["stdout"].strip() == "root"
    assert (tmp_path / "fetched").read_bytes() == (tmp_path / "source").read_bytes()


def test_a_wrong_become_password_is_said_so(play: Playbooks, debian: Any) -> None:
    inventory = hosts(debian, "deb", ansible_user="deploy", ansible_become_password="wrong-password")
    result = play([{"name": "root", "ansible.builtin.command": "id", "become": True}], inventory)
    assert result.of("root").status == "unreachable"
    assert "incorrect sudo password" in result.of("root").msg
    assert "wrong-password" not in result.stdout + result.stderr


def test_without_pipelining_modules_travel_as_files(
    play: Playbooks, debian: Any, recording_proxy: RecordingProxy
) -> None:
    tasks = [{"name": "run", "ansible.builtin.command": "uname"}]
    env = {**recording_proxy.env, "ANSIBLE_PIPELINING": "false"}
    play(tasks, hosts(debian, "deb"), env=env).ok()
    assert any(line.startswith("POST /1.0/instances/deb/files?") for line in recording_proxy.mutating)
