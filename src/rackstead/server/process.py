# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's process: it listens, keeps a worker running beside it, and ends in good order."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import websockets  # noqa: F401  what uvicorn speaks WebSocket with
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from anyio.to_thread import current_default_thread_limiter

from ..jobs.service import Service
from ..webhooks.courier import delivering
from .app import Settings, create_app
from .limits import LARGEST_BODY, Protocol
from .tokens import TOKEN

log = logging.getLogger("rackstead.server")
#: Seconds for requests that are being answered when the server is told to end; for its worker; and the
#: longest pause before a worker that died is started again.
GRACE, WORKER_GRACE, PAUSE = 5.0, 20.0, 30.0
MOST_CONNECTIONS, BACKLOG = 1000, 1024
#: Threads that ask the store: about as many as it keeps connections. Seconds after which one of them lets the
#: thread that answers have the interpreter: a page of jobs is computed in a few milliseconds.
THREADS, SWITCH = 6, 0.0005


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Address:
        """Raises InvalidInput."""
        host, _colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
            good = port.isdigit() and int(port) < 1 << 16
        except ValueError:
            good = host == "localhost" and port.isdigit() and int(port) < 1 << 16
        if not good:
            raise InvalidInput([f'--listen: "{text}" is not valid; allowed: ADDRESS:PORT, such as 127.0.0.1:8650'])
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # The protocol is named for asyncio, which sets TCP_NODELAY only then.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((self.host, self.port))
            found.listen(BACKLOG)  # who comes before all is up waits
        except OSError as error:
            found.close()
            raise InvalidInput(
                [f"--listen: {self.host}:{self.port} cannot be listened on: {error.strerror}"]
            ) from error
        return found


@dataclass(frozen=True)
class Plan:
    """How the server was asked to run. Without ``parallel``, without a worker."""

    address: Address
    parallel: int = 4
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False
    open_metrics: bool = False

    def check(self, service: Service) -> None:
        """Raises InvalidInput where it must not run so."""
        if bool(self.cert) != bool(self.key):
            raise InvalidInput(["--tls-cert and --tls-key: one does not go without the other"])
        for path in (self.cert, self.key):
            if path and not os.access(path, os.R_OK):
                raise InvalidInput([f'"{path}" cannot be read'])
        if self.address.loopback:
            return
        if not service.store.list(TOKEN, Query(limit=1)):
            raise InvalidInput(
                [f"--listen: {self.address.host} is open to others and there is no token yet; --init makes the first"]
            )
        if not self.cert and not self.insecure:
            problem = f"--listen: {self.address.host} is open to others, who could read along without TLS"
            hint = "give --tls-cert and --tls-key, or --insecure-http behind a proxy that does TLS"
            raise InvalidInput([f"{problem}; {hint}"])


class Server(uvicorn.Server):
    """Signals are seen to by ``serve``: streams are to end first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(service: Service, plan: Plan) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    plan.check(service)
    sys.setswitchinterval(SWITCH)
    listener = plan.address.bind()
    with delivering(service.store):
        asyncio.run(serve(service, plan, listener))


async def serve(service: Service, plan: Plan, listener: socket.socket) -> None:
    app = create_app(service, Settings(plan.open_metrics))
    stopping: asyncio.Event = app.state.stopping
    server = Server(uvicorn.Config(app, **options(plan)))

    def stop() -> None:
        log.info("stopping")
        stopping.set()
        server.should_exit = True

    current_default_thread_limiter().total_tokens = THREADS
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    keeper = asyncio.create_task(keep_worker(plan.parallel, stopping)) if plan.parallel else None
    scheme = "https" if plan.cert else "http"
    host, port = listener.getsockname()[:2]
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    log.info("listening on %s", url, extra={"fields": {"url": url}})
    try:
        await server.serve([listener])
    finally:
        stopping.set()
        if keeper:
            await keeper
        if app.state.traces:
            await asyncio.to_thread(app.state.traces.close)


def options(plan: Plan) -> dict[str, Any]:
    return {
        "http": Protocol,
        "ws": "websockets-sansio",
        "ws_max_size": LARGEST_BODY,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "off",
        "limit_concurrency": MOST_CONNECTIONS,
        "backlog": BACKLOG,
        "timeout_graceful_shutdown": int(GRACE),
        "ssl_certfile": plan.cert,
        "ssl_keyfile": plan.key,
    }


async def keep_worker(parallel: int, stopping: asyncio.Event) -> None:
    """Have a worker running until the end; one that dies is started again."""
    pause = 0.5
    while not stopping.is_set():
        command = [sys.executable, "-m", "rackstead.server.worker", str(os.getpid()), str(parallel)]
        path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])
        begun = asyncio.get_running_loop().time()
        # A group of its own: Ctrl-C on a terminal reaches it through the server alone.
        worker = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True, env={**os.environ, "PYTHONPATH": path}
        )
        code = await ended(worker, stopping)
        if stopping.is_set():
            return
        pause = 0.5 if asyncio.get_running_loop().time() - begun > PAUSE else min(pause * 2, PAUSE)
        log.error("the worker ended with code %s; it is started again in %g s", code, pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)


async def ended(worker: asyncio.subprocess.Process, stopping: asyncio.Event) -> int | None:
    """Wait for the worker, or end it when the server stops."""
    tasks = [asyncio.create_task(worker.wait()), asyncio.create_task(stopping.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[1].cancel()
    if worker.returncode is None:
        worker.terminate()
        try:
            await asyncio.wait_for(worker.wait(), WORKER_GRACE)
        except TimeoutError:
            log.error("the worker does not end in %g s; it is killed, and its jobs go on with the next", WORKER_GRACE)
            worker.kill()
    return await worker.wait()
