# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private PostgreSQL server for tests: a folder of its own, a port of its own, gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.daemon import exclusive, free_port

INSTALLED = Path("/usr/lib/postgresql")
USER = "postgres"


def binaries() -> Path:
    """The folder with the newest server's programs; installs Debian's package where there is none."""
    with exclusive("packages"):
        if not list(INSTALLED.glob("*/bin/initdb")):
            _install()
    return max(INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])).parent


def _install() -> None:
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The package would make a cluster and start it.
    config = Path("/etc/postgresql-common/createcluster.conf")
    if not config.exists():
        config.parent.mkdir(exist_ok=True)
        config.write_text("create_main_cluster = false\n")
    for words in (["update"], ["install", "--no-install-recommends", "postgresql"]):
        subprocess.run([*apt, *words], env=env, check=True, stdout=subprocess.DEVNULL)


class Postgres:
    """A server, which can be killed and started again. ``password`` belongs to the user ``app``."""

    password = "correct horse"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.bin = binaries()
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self.folder, USER)
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync")
        access = self.folder / "data/pg_hba.conf"
        access.write_text("host all app 127.0.0.1/32 scram-sha-256\n" + access.read_text())
        self.start()
        self.sql(f"CREATE ROLE app LOGIN PASSWORD '{self.password}'")

    def start(self) -> None:
        settings = [f"port={self.port}", f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1"]
        words = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                self._as_user("postgres", "-D", str(self.folder / "data"), *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, Deadline(60), what="PostgreSQL to answer", first=0.02)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: SIGINT throws clients out, SIGQUIT is a crash."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(timeout=60)
            self._server = None

    def new_database(self, name: str) -> str:
        """The URL of a fresh database."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {name} STRATEGY file_copy")
        return self.url(name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", USER, "-d", database]
        return self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *where, "-c", statement)

    def _answers(self) -> bool | None:
        assert self._server is not None
        if self._server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {(self.folder / 'log').read_text()[-2000:]}")
        argv = self._as_user("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        return subprocess.run(argv).returncode == 0 or None

    def _as_user(self, program: str, *words: str) -> list[str]:
        """PostgreSQL refuses to run as root; a server ends with the tests, however they end."""
        change = ["--reuid", USER, "--regid", USER, "--init-groups"] if os.getuid() == 0 else []
        return ["setpriv", *change, "--pdeathsig", "QUIT", str(self.bin / program), *words]

    def _run(self, program: str, *words: str) -> str:
        done = subprocess.run(self._as_user(program, *words), capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.stdout.strip()


@contextmanager
def running() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="rackstead-postgres-") as folder:
        server = Postgres(Path(folder))
        try:
            server.create()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
