# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with a provider to ask, and a browser to look at its pages."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from testbed.daemon import exclusive

from tests.runner.rest_server import Server

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
#: Milliseconds that the browser waits for a thing before a test fails.
PATIENCE = 60_000


def ensure_chromium() -> None:
    """Install Debian's browser if it is missing."""
    if CHROMIUM.exists():
        return
    with exclusive("packages"):
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*apt, "update"], check=True, env=env)
        subprocess.run([*apt, "install", "--no-install-recommends", "chromium"], check=True, env=env)


@contextmanager
def browser() -> Iterator[Browser]:
    ensure_chromium()
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        try:
            yield found
        finally:
            found.close()


def instance(name: str, status: str, number: int) -> dict[str, Any]:
    address = {"family": "inet", "scope": "global", "address": f"10.9.0.{number}"}
    return {
        "name": name,
        "project": "default",
        "status": status,
        "type": "container",
        "config": {"user.rackstead.plan": "demo", "image.description": "Debian bookworm"},
        "profiles": ["default"],
        "description": "",
        "devices": {},
        "location": "none",
        "created_at": "2026-01-01T00:00:00Z",
        "state": {"network": {"eth0": {"addresses": [address]}}, "memory": {"usage": 52_428_800}},
        "snapshots": [],
    }


#: What the provider has. The second has a name that must not become markup.
INSTANCES = {one["name"]: one for one in (instance("web-01", "Running", 2), instance("db-<b>01", "Stopped", 3))}


class Incus(BaseHTTPRequestHandler):
    """As much of Incus as the page asks for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/1.0/instances").strip("/")
        found: Any = INSTANCES[name.replace("%3Cb%3E", "<b>")] if name else list(INSTANCES.values())
        body = json.dumps({"type": "sync", "status": "Success", "status_code": 200, "metadata": found}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "local"

    def log_message(self, *words: object) -> None:
        """Nobody reads it."""


class Provider(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@contextmanager
def provider(path: Path) -> Iterator[None]:
    server = Provider(str(path), Incus)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Site(Server):
    """A server whose provider listens, or not, on ``incus`` in its folder. Restarted, it has the same port."""

    @property
    def env(self) -> dict[str, str]:
        keys = {"RACKSTEAD_STATE_KEY_FILE": str(self.folder / "keys")} if (self.folder / "keys").exists() else {}
        return {**super().env, **keys, "RACKSTEAD_URL": f"unix://{self.folder}/incus"}

    def start(self) -> Site:
        super().start()
        self.words = ("--listen", self.url.removeprefix("http://"))
        return self
