# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prerequisites and privileges of a real Debian: looked at, mended, given and taken back, here and through a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until

from tests.integration.conftest import module_project
from tests.runner.conftest import CommandLine
from tests.runner.test_cli_remote_incus import OnIncus

if TYPE_CHECKING:
    from tests.integration.conftest import Project
    from tests.runner.conftest import Ended

__all__ = ["module_project"]

pytestmark = pytest.mark.timeout(600)

HERE = "incus://deb"
#: A package in a source of its own, so that apt installs for real and asks nobody outside.
REPOSITORY = """
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
mkdir -p /srv/repo/probe/DEBIAN
cd /srv/repo
cat > probe/DEBIAN/control <<END
Package: rstest-probe
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: shows that apt was here
END
dpkg-deb --build probe probe.deb >/dev/null
{ cat probe/DEBIAN/control; echo Filename: ./probe.deb; echo Size: $(stat -c %s probe.deb);
  echo SHA256: $(sha256sum probe.deb | cut -d" " -f1); } > Packages
echo "deb [trusted=yes] file:/srv/repo ./" > /etc/apt/sources.list
"""
REQUIREMENTS = {
    "memory": "64MiB",
    "memory_recommended": "64MiB",
    "disk": "1MiB",
    "disk_recommended": "1MiB",
    "snapd": False,
    "packages": ["rstest-probe"],
    "resolve": ["localhost"],
    "modules": [],
    "time": False,
    "swap": "allow",
}


@dataclass
class Debian:
    """An instance of Debian 12, and the command line that works on it."""

    rackstead: CommandLine

    def __call__(self, script: str) -> str:
        """What a script prints in it."""
        return self.rackstead.project.inside("deb", "sh", "-ec", script)

    def allows(self, *words: str) -> bool:
        """Whether sudo lets op run this, by its own word."""
        command = " ".join(f"'{word}'" for word in words)
        return self(f"sudo -l -U op {command} >/dev/null 2>&1 && echo yes || echo no").strip() == "yes"

    def traces(self) -> str:
        """What the tests could change: files of sudo, apt and the kernel's modules, and the packages."""
        return self(
            "cd /etc; find sudoers.d modules-load.d apt -type f -exec sha256sum {} + | sort; dpkg-query -W; "
            "stat -c '%n %a %u' sudoers.d/*"
        )

    def system(self, command: str, *words: str, **requirements: Any) -> Ended:
        given = {"system_requirements": {**REQUIREMENTS, **requirements}}
        more = ("-e", json.dumps(given)) if "prerequisites" in command else ()
        return self.rackstead("system", command, *words, *more)


@pytest.fixture(scope="module")
def debian(module_project: Project, debian_image: str, tmp_path_factory: pytest.TempPathFactory) -> Debian:
    """What each of these tests leaves is none of the others' business."""
    module_project.incus("launch", debian_image, "deb", "-q")
    made = Debian(CommandLine(tmp_path_factory.mktemp("system"), module_project, "system"))
    # cloud-init writes a file of sudo's by itself; what changes from then on is ours.
    made("timeout 200 cloud-init status --wait >/dev/null || true; useradd --create-home op; useradd other")
    return made


def test_privileges_are_given_checked_and_taken_back(debian: Debian) -> None:
    allowed = ["-u", "op", "--allow", "/usr/bin/id -u", "--allow", "/usr/bin/cat /etc/shadow", "--allow"]
    allowed += ["/usr/bin/echo one ..."]
    where = ["-i", HERE]
    before = debian.traces()
    lacking = debian.system("check-privileges", *where, *allowed)
    assert lacking.code == 1 and "/usr/bin/id -u: not allowed" in lacking.out, lacking.err
    dry = debian.system("setup-privileges", *where, *allowed, "--check", "--diff")
    assert dry.code == 0 and "+op ALL=(root) NOPASSWD: /usr/bin/id -u" in dry.out and "would change" in dry.out
    assert debian.traces() == before and not debian.allows("/usr/bin/id", "-u")

    done = debian.system("setup-privileges", *where, *allowed)
    assert done.code == 0 and "3 commands by /etc/sudoers.d/rackstead-op (changed)" in done.out, done.err
    assert debian("stat -c '%a %u %g' /etc/sudoers.d/rackstead-op; ls -A /etc/sudoers.d").splitlines()[0] == "440 0 0"
    assert "unfinished" not in debian("ls -A /etc/sudoers.d")
    assert debian("su op -c 'sudo -n /usr/bin/id -u'").strip() == "0"
    for words, allows in {
        ("/usr/bin/id", "-u"): True,
        ("/usr/bin/id",): False,
        ("/usr/bin/id", "-u", "-n"): False,
        ("/usr/bin/cat", "/etc/shadow"): True,
        ("/usr/bin/cat", "/etc/shadow", "/root/x"): False,
        ("/usr/bin/echo", "one", "two three"): True,
        ("/usr/bin/echo", "two"): False,
        ("/bin/sh",): False,
    }.items():
        assert debian.allows(*words) is allows, words
    assert "not allowed" in debian("sudo -l -U other 2>&1 || true")
    # Whoever gave more by other means is found out.
    debian("usermod --append --groups sudo op")
    wide = debian.system("check-privileges", *where, *allowed)
    assert wide.code == 1 and "too wide" in wide.out and "ALL, as ALL" in wide.out
    debian("gpasswd --delete op sudo")

    # A mode that is not sudo's is put right.
    debian("chmod 644 /etc/sudoers.d/rackstead-op")
    assert debian.system("setup-privileges", *where, *allowed, "--json").document["changed"]
    assert debian("stat -c %a /etc/sudoers.d/rackstead-op").strip() == "440"
    again = debian.system("setup-privileges", *where, *allowed, "--json").document
    assert (again["changed"], again["exit_code"]) == (False, 0)

    nobody = debian.system("setup-privileges", *where, "-u", "nobody-here", "--allow", "/usr/bin/true")
    assert nobody.code == 2 and 'user: "nobody-here" does not exist' in nobody.err
    gone = debian.system("setup-privileges", *where, "-u", "op", "--remove")
    assert gone.code == 0 and not debian.allows("/usr/bin/id", "-u") and debian.traces() == before


def test_visudo_has_the_last_word(debian: Debian) -> None:
    """A fragment that visudo refuses does not take its place, and leaves nothing behind."""
    where = ["-i", HERE, "-u", "op"]
    debian("echo 'op ALL=(' > /etc/sudoers.d/broken")
    faulty = debian.traces()
    refused = debian.system("setup-privileges", *where, "--allow", "/usr/bin/true")
    assert refused.code == 1 and "is faulty already" in refused.err and debian.traces() == faulty
    # This visudo finds the machine's files good, and every new one bad.
    debian(
        "rm /etc/sudoers.d/broken; mv /usr/sbin/visudo /usr/sbin/visudo.real; "
        "printf '#!/bin/sh\\ncase \"$*\" in *-f*) echo bad fragment >&2; exit 1;; esac\\n' > /usr/sbin/visudo; "
        "chmod 755 /usr/sbin/visudo"
    )
    before = debian.traces()
    refused = debian.system("setup-privileges", *where, "--allow", "/usr/bin/true")
    debian("mv /usr/sbin/visudo.real /usr/sbin/visudo")
    assert refused.code == 1 and "visudo refuses it: bad fragment" in refused.err
    assert debian.traces() == before and not debian.allows("/usr/bin/true")
    # What a killed run left is in nobody's way.
    debian("touch /etc/sudoers.d/.rackstead-op.unfinished")
    assert debian.system("setup-privileges", *where, "--allow", "/usr/bin/true").code == 0
    assert debian.allows("/usr/bin/true") and "unfinished" not in debian("ls -A /etc/sudoers.d")
    debian("rm /etc/sudoers.d/rackstead-op")


def test_prerequisites_are_checked_and_installed(debian: Debian) -> None:
    debian(REPOSITORY)
    where = ["-i", HERE]
    before = debian.traces()
    lacking = debian.system("check-prerequisites", *where)
    assert lacking.code == 1 and ["deb", "packages", "fail"] in [row[:3] for row in lacking.rows], lacking.err
    assert "sudo apt-get install rstest-probe" in " ".join(lacking.out.split()) and "error" not in lacking.err
    dry = debian.system("install-prerequisites", *where, "--check")
    assert dry.code == 0 and "would mend packages" in dry.out, dry.err
    assert debian.traces() == before
    done = debian.system("install-prerequisites", *where)
    assert done.code == 0 and "everything passes" in done.out, done.err
    assert "install ok" in debian("dpkg-query -W -f '${Status}' rstest-probe")
    again = debian.system("install-prerequisites", *where, "--json").document
    assert (again["changed"], again["exit_code"], again["hosts"][0]["ready"]) == (False, 0, True)

    wrong = debian.system("check-prerequisites", *where, memory="much", ports=["0"])
    assert wrong.code == 2 and 'requirements.memory: "much" is not valid' in wrong.err


@pytest.fixture
def squatter(debian: Debian) -> Iterator[None]:
    """Somebody who has a port that the cluster wants."""
    debian("systemd-run --quiet --unit=squatter python3 -m http.server 16443")
    wait_until(
        lambda: debian("cat /proc/net/tcp /proc/net/tcp6 | grep ':403B ' || true") or None,
        Deadline(120),
        what="somebody on the port",
    )
    yield
    debian("systemctl stop squatter")


@pytest.mark.usefixtures("squatter")
def test_what_installing_does_not_mend_is_told(debian: Debian) -> None:
    debian(REPOSITORY)
    where = ["-i", f"a={HERE},b={HERE}", "--json"]
    both = debian.system("install-prerequisites", *where, packages=["rstest-none"])
    assert both.code == 1 and sorted(line.split(": E")[0] for line in both.document["errors"]) == [
        f"{host}: rstest-none cannot be installed: Unable to locate package rstest-none" for host in ("a", "b")
    ]
    two = debian.system("check-prerequisites", *where, resolve=["x.invalid"]).document
    assert [one["host"] for one in two["hosts"]] == ["a", "b"] and two["changed"] is False
    said = " ".join(two["errors"])
    assert "a: ports: in use: 16443/tcp by python3, pid " in said and "b: dns: does not resolve x.invalid" in said
    assert "a: unique: host name deb is also that of b; machine id" in said


@pytest.fixture
def remote(debian: Debian, tmp_path: Path) -> Iterator[Debian]:
    """The command line knows a server, and the server where Incus is."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = OnIncus(folder)
    server.incus = dict(debian.rackstead.project.env)
    try:
        server.start()
        debian.rackstead.further = dict.fromkeys(server.incus, "")
        debian.rackstead.further |= {"RACKSTEAD_SERVER": server.url, "RACKSTEAD_TOKEN": server.token}
        yield debian
    finally:
        debian.rackstead.further = {}
        server.end()


def test_the_same_through_a_server(remote: Debian) -> None:
    inventory = remote.rackstead.folder / "hosts.ini"
    inventory.write_text("[nodes]\nnode1 ansible_connection=rackstead.infra.instance ansible_host=deb\n")
    where = ["-i", str(inventory)]
    found = remote.system("check-prerequisites", *where, packages=["sudo"])
    assert found.code == 0 and "everything passes" in found.out and "node1: 10 pass" in found.out, found.err
    done = remote.system("setup-privileges", *where, "-u", "op", "--allow", "/usr/bin/id -u")
    assert done.code == 0 and "1 command by /etc/sudoers.d/rackstead-op (changed)" in done.out, done.err
    assert remote.allows("/usr/bin/id", "-u") and not remote.allows("/usr/bin/id")
    exact = remote.system("check-privileges", *where, "-u", "op", "--allow", "/usr/bin/id -u")
    assert exact.code == 0 and "exactly the 1 that is wanted" in exact.out, exact.err
    nowhere = remote.system("check-prerequisites")
    assert nowhere.code == 2 and "name the hosts that the server" in nowhere.err
