# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image servers of the tests' own, on loopback: a web server that counts, and simplestreams trees."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class WebServer:
    """A folder on the web. ``requests`` notes what was asked for, newest last."""

    folder: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)


@contextmanager
def serving(folder: Path, user: str = "", password: str = "") -> Iterator[WebServer]:
    """Serve ``folder``; only to who knows the password, where there is one."""
    web = WebServer(folder)
    expected = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if expected and self.headers.get("Authorization") != expected:
                self.send_error(401)
            else:
                super().do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
            web.requests.append(self.requestline)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        web.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


def split(unified: Path, folder: Path) -> tuple[Path, Path]:
    """A unified image as its two halves: metadata tarball and root file system."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {"metadata": folder / "incus.tar.xz", "rootfs": folder / "root.tar.xz"}
    with (
        tarfile.open(unified) as source,
        tarfile.open(halves["metadata"], "w:xz") as metadata,
        tarfile.open(halves["rootfs"], "w:xz") as rootfs,
    ):
        for entry in source:
            content = source.extractfile(entry) if entry.isreg() else None
            if entry.name.startswith("rootfs"):
                entry.name = entry.name.removeprefix("rootfs").lstrip("/") or "."
                rootfs.addfile(entry, content)
            else:
                metadata.addfile(entry, content)
    return halves["metadata"], halves["rootfs"]


def variant(unified: Path, target: Path, marker: str) -> Path:
    """A copy of a unified image with one file more, so that its fingerprint is another."""
    with tarfile.open(unified) as source, tarfile.open(target, "w:gz") as copy:
        for entry in source:
            copy.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
        entry = tarfile.TarInfo(f"rootfs/etc/{marker}")
        copy.addfile(entry, io.BytesIO(b""))
    return target


def simplestreams(folder: Path, unified: Path, *aliases: str, arch: str) -> str:
    """A simplestreams tree with one image under ``aliases``; returns the image's fingerprint.

    Format: https://linuxcontainers.org/incus/docs/main/reference/image_servers/ and the index that
    images.linuxcontainers.org serves.
    """
    metadata, rootfs = split(unified, folder / "images" / "one")
    first, second = metadata.read_bytes(), rootfs.read_bytes()
    combined = hashlib.sha256(first + second).hexdigest()
    product = f"{aliases[0].replace('/', ':')}:{arch}"
    items = {
        path.name: {
            "ftype": path.name,
            "path": str(path.relative_to(folder)),
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
        for path, content in ((metadata, first), (rootfs, second))
    }
    items[metadata.name]["combined_rootxz_sha256"] = combined
    release = {"aliases": ",".join(aliases), "arch": arch, "os": "Tiny", "release": "1", "release_title": "1"}
    products = {product: {**release, "variant": "default", "versions": {"20260101_0000": {"items": items}}}}
    streams = folder / "streams" / "v1"
    streams.mkdir(parents=True, exist_ok=True)
    images = {"content_id": "images", "datatype": "image-downloads", "format": "products:1.0", "products": products}
    entry = {"datatype": "image-downloads", "path": "streams/v1/images.json", "format": "products:1.0"}
    index = {"format": "index:1.0", "index": {"images": {**entry, "products": [product]}}}
    (streams / "images.json").write_text(json.dumps(images))
    (streams / "index.json").write_text(json.dumps(index))
    return combined
