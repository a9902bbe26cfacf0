# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Incus can be asked: requests, operations and files, each with a deadline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from ...common.errors import Conflict
from .http1 import Sink
from .requests import OPERATION_TIMEOUT, Requests
from .transport import Response, typed_error


@dataclass(frozen=True)
class Server:
    """The daemon's own description of itself."""

    version: str
    name: str
    clustered: bool
    driver: str
    storage: str
    firewall: str
    architectures: tuple[str, ...]
    addresses: tuple[str, ...]
    fingerprint: str
    trusted: bool
    extensions: frozenset[str]
    vm_support: bool


@dataclass(frozen=True)
class FileInfo:
    """A file, directory or symlink inside an instance. ``mode`` is octal text such as ``0644``."""

    kind: str
    uid: int
    gid: int
    mode: str
    content: bytes
    entries: tuple[str, ...] = ()


class IncusClient(Requests):
    """Requests to one project of one daemon, and what is often asked."""

    # -- the server -------------------------------------------------------------------------------
    def server(self) -> Server:
        info = self.get("")
        env = info.get("environment") or {}
        return Server(
            version=env.get("server_version", ""),
            name=env.get("server_name", ""),
            clustered=bool(env.get("server_clustered")),
            driver=env.get("driver", ""),
            storage=env.get("storage", ""),
            firewall=env.get("firewall", ""),
            architectures=tuple(env.get("architectures") or ()),
            addresses=tuple(env.get("addresses") or ()),
            fingerprint=env.get("certificate_fingerprint", ""),
            trusted=info.get("auth") == "trusted",
            extensions=frozenset(info.get("api_extensions") or ()),
            vm_support="qemu" in env.get("driver", ""),
        )

    # -- files ------------------------------------------------------------------------------------
    def pull(self, instance: str, path: str) -> FileInfo:
        """A file with its content, or a directory with its entries. Raises NotFound."""
        found = self.raw("GET", f"/instances/{instance}/files", {"path": path})
        info = _file_info(found)
        if info.kind == "directory":
            return replace(info, content=b"", entries=tuple(found.metadata() or ()))
        return info

    def pull_file(self, instance: str, path: str, sink: Sink) -> FileInfo:
        """As ``pull``, with the content going to ``sink`` in pieces. Raises Conflict for what is no file."""
        found = self.raw("GET", f"/instances/{instance}/files", {"path": path}, timeout=OPERATION_TIMEOUT, sink=sink)
        info = _file_info(found)
        if info.kind != "file":
            raise Conflict(f"{path} is a {info.kind}, not a file")
        return info

    def push(
        self,
        instance: str,
        path: str,
        content: bytes | BinaryIO,
        *,
        uid: int | None = None,
        gid: int | None = None,
        mode: str | None = None,
        kind: str = "file",
    ) -> None:
        """Write a file (overwriting), make a directory, or make a symlink whose target is ``content``.

        Not atomic by itself: push to a temporary name and rename inside the instance for that.
        Owner and mode of an existing file are kept by Incus whatever is asked here.
        """
        given = {"uid": uid, "gid": gid, "mode": mode}
        headers = {f"X-Incus-{key}": str(value) for key, value in given.items() if value is not None}
        headers["X-Incus-type"] = kind
        self.raw("POST", f"/instances/{instance}/files", {"path": path}, content, headers, timeout=OPERATION_TIMEOUT)

    def remove(self, instance: str, path: str) -> None:
        self.raw("DELETE", f"/instances/{instance}/files", {"path": path})

    # -- small questions --------------------------------------------------------------------------
    def resolve_alias(self, alias: str) -> str:
        """The fingerprint behind an image alias, or nothing."""
        found = self.find(f"/images/aliases/{alias}")
        return str(found["target"]) if found else ""

    def addresses(self, instance: str, family: str = "inet") -> list[str]:
        """Global addresses of the instance's interfaces but the loopback."""
        return list(global_addresses(self.get(f"/instances/{instance}/state"), family))

    def ensure_trusted(self) -> None:
        """Raise Denied unless the daemon knows our certificate."""
        if not self.server().trusted:
            raise typed_error(403, "the server does not trust this client")


def _file_info(found: Response) -> FileInfo:
    return FileInfo(
        kind=found.headers.get("x-incus-type", "file"),
        uid=int(found.headers.get("x-incus-uid", 0)),
        gid=int(found.headers.get("x-incus-gid", 0)),
        mode=found.headers.get("x-incus-mode", "0644"),
        content=found.body,
    )


def global_addresses(state: Mapping[str, Any], family: str = "inet") -> Iterator[str]:
    """Global-scope addresses in an instance's state document, loopback left out."""
    for name, nic in sorted((state.get("network") or {}).items()):
        if name == "lo":
            continue
        for address in nic.get("addresses") or ():
            if address["family"] == family and address["scope"] == "global":
                yield str(address["address"])
