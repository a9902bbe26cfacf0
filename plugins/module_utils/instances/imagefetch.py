# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches image files into a cache, verified by digest, and asks image servers whether they are there."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import tempfile
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from ..common.errors import OperationFailed, Unreachable
from .aptsources import strip_credentials

CHUNK = 1024**2
ALGORITHMS = {"sha256": 64, "sha512": 128}
#: Where a server of each protocol answers for sure.
DOORS = {"simplestreams": "/streams/v1/index.json", "incus": "/1.0"}


@dataclass(frozen=True)
class Checksum:
    """A digest in hexadecimal, and how it is computed."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest}"


def parse_checksum(text: str) -> Checksum:
    """``sha256:HEX``, ``sha512:HEX``, or 64 hexadecimal digits alone. Raises ValueError."""
    algorithm, _colon, digest = text.strip().lower().rpartition(":")
    algorithm = algorithm or "sha256"
    if len(digest) != ALGORITHMS.get(algorithm) or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f'"{text}" is not a checksum')
    return Checksum(algorithm, digest)


def digest_of(paths: Sequence[Path], algorithm: str = "sha256") -> str:
    """Digest of the files' contents one after the other: for SHA-256, Incus's fingerprint of an image."""
    total = hashlib.new(algorithm)
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                total.update(chunk)
    return total.hexdigest()


def download(url: str, checksum: Checksum, cache: Path, timeout: float) -> Path:
    """The file behind ``url``, from the cache if it lies there. Nothing unverified ever gets its name.

    ``timeout`` bounds each wait for the server, not the whole transfer.
    """
    folder = cache / "downloads"
    target = folder / checksum.digest
    if target.is_file() and digest_of([target], checksum.algorithm) == checksum.digest:
        return target
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{checksum.digest[:16]}.") as part:
        seen = _transfer(url, part.file, checksum.algorithm, timeout)
        if seen != checksum.digest:
            raise OperationFailed(
                f"the file has {checksum.algorithm} {seen}, not {checksum.digest}",
                where=strip_credentials(url),
                hint="nothing was imported: the file on the server changed, or the checksum is another file's",
            )
        os.fsync(part.fileno())
        target.unlink(missing_ok=True)
        os.link(part.name, target)
    return target


def _transfer(url: str, target: IO[bytes], algorithm: str, timeout: float) -> str:
    """Copy what ``url`` serves into ``target`` and return its digest."""
    total = hashlib.new(algorithm)
    try:
        with urllib.request.build_opener().open(_request(url), timeout=timeout) as answer:
            while chunk := answer.read(CHUNK):
                total.update(chunk)
                target.write(chunk)
    except (OSError, HTTPException) as error:
        raise Unreachable(f"cannot be downloaded: {reason(error)}", where=strip_credentials(url)) from error
    target.flush()
    return total.hexdigest()


def _request(url: str) -> urllib.request.Request:
    """A request whose user and password, if the address holds them, travel in a header."""
    parts = urlsplit(url)
    request = urllib.request.Request(strip_credentials(url))
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return request


def why_unreachable(url: str, protocol: str, certificate: str, timeout: float, proxy: str = "") -> str:
    """Nothing if the image server answers within ``timeout`` seconds, else why not.

    The asking is left to a thread, because looking up a name can take longer than any time-out.
    """
    found = [f"no answer within {timeout:g} s"]

    def ask() -> None:
        try:
            with _opener(certificate, proxy).open(f"{url.rstrip('/')}{DOORS[protocol]}", timeout=timeout) as answer:
                answer.read(1)
            found[0] = ""
        except (OSError, HTTPException, ValueError) as error:
            found[0] = reason(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return found[0]


def _opener(certificate: str, proxy: str) -> urllib.request.OpenerDirector:
    """``certificate`` is the server's own, in PEM; without it the system's authorities decide."""
    context = ssl.create_default_context(cadata=certificate or None)
    context.check_hostname = not certificate
    proxies = urllib.request.ProxyHandler({"https": proxy, "http": proxy} if proxy else None)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), proxies)


def reason(error: BaseException) -> str:
    """What an error of the network says, without the wrapping of urllib."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return reason(inner)
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def host_of(url: str) -> str:
    return urlsplit(url).hostname or url
