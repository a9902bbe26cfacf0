# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has images in a daemon under the aliases that plans name, wherever the images come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import urlencode

from ..common.errors import Conflict, NotFound, OperationFailed, RacksteadError, Unreachable
from . import imagebuild, imagefetch
from .aptsources import strip_credentials
from .imagefetch import Checksum
from .incus.client import IncusClient

#: Property of an image that says what it was made from; only images that have it are ever removed here.
KEY = "rackstead.key"


@dataclass(frozen=True)
class File:
    """A unified tarball, or a root file system with a metadata tarball beside it."""

    path: Path
    metadata: Path | None = None

    @property
    def parts(self) -> list[Path]:
        """In the order in which Incus computes the fingerprint."""
        return [self.metadata, self.path] if self.metadata else [self.path]


@dataclass(frozen=True)
class Url:
    """The same from a web server, each file with its checksum. ``timeout`` bounds each wait, in seconds."""

    url: str
    checksum: Checksum
    metadata_url: str = ""
    metadata_checksum: Checksum | None = None
    timeout: float = 60.0

    @property
    def key(self) -> str:
        second = f",{self.metadata_checksum}" if self.metadata_checksum else ""
        return f"url:{self.checksum}{second}"


@dataclass(frozen=True)
class Server:
    """An image server and the name of the image there. ``certificate`` is the server's own, in PEM."""

    url: str
    protocol: str
    alias: str
    certificate: str = ""
    timeout: float = 5.0


@dataclass(frozen=True)
class Wanted:
    """An alias and where its image comes from. ``source``: auto, build, file, server or url."""

    alias: str
    source: str
    cache: Path
    type: str = "container"
    public: bool = False
    auto_update: bool = True
    properties: Mapping[str, str] = field(default_factory=dict)
    rebuild: bool = False
    timeout: float = 1800.0
    file: File | None = None
    url: Url | None = None
    server: Server | None = None
    order: Callable[[], imagebuild.Order] | None = None


@dataclass(frozen=True)
class View:
    """What can be seen of an alias; compared for the diff. Empty strings where there is no image."""

    alias: str
    fingerprint: str = ""
    key: str = ""
    public: bool = False
    auto_update: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    update_source: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What was, or in check mode would be, done, and why."""

    before: View
    after: View
    source: str = "existing"
    why: str = ""
    actions: list[str] = field(default_factory=list)
    build_needed: bool = False
    build_seconds: float = 0.0
    missing_tools: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.actions)

    def diff(self) -> dict[str, Any]:
        return {"before": asdict(self.before), "after": asdict(self.after)}


def observe(client: IncusClient, alias: str) -> View:
    target = client.resolve_alias(alias)
    image = client.find(f"/images/{target}") if target else None
    if image is None:
        return View(alias)
    properties = dict(image.get("properties") or {})
    source = image.get("update_source") or {}
    return View(
        alias=alias,
        fingerprint=str(image["fingerprint"]),
        key=properties.pop(KEY, ""),
        public=bool(image["public"]),
        auto_update=bool(image["auto_update"]),
        properties=properties,
        update_source={key: str(source[key]) for key in ("server", "protocol", "alias") if source.get(key)},
    )


# -- the sources ----------------------------------------------------------------------------------
# Each says whether an alias has its image already (fits), gets the image and returns its fingerprint
# (get), and says in check mode what that would give (foresee).
@dataclass
class FromFile:
    """Files on this machine. Their digest is the image's fingerprint."""

    file: File
    key: str = ""
    name: str = "file"
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in self.file.parts:
            if not path.is_file():
                raise NotFound("there is no such file", where=str(path))
        self.fingerprint = imagefetch.digest_of(self.file.parts)
        self.key = self.key or f"file:sha256:{self.fingerprint}"

    def fits(self, view: View) -> bool:
        return view.fingerprint == self.fingerprint

    def get(self, client: IncusClient, wanted: Wanted, outcome: Outcome) -> str:
        present = client.find(f"/images/{self.fingerprint}")
        if present is None:
            outcome.actions.append(self._importing())
            upload(client, wanted, self.file, {**wanted.properties, KEY: self.key}, self.fingerprint)
        elif present["properties"].get(KEY) != self.key:
            outcome.actions.append("note what the image was made from")
            properties = {**present["properties"], KEY: self.key}
            client.patch(f"/images/{self.fingerprint}", {"properties": properties})
        return self.fingerprint

    def foresee(self, client: IncusClient, outcome: Outcome) -> View:
        if client.find(f"/images/{self.fingerprint}") is None:
            outcome.actions.append(self._importing())
        return View(outcome.before.alias, self.fingerprint, self.key)

    def _importing(self) -> str:
        return f"import {' and '.join(path.name for path in self.file.parts)}"


@dataclass
class FromUrl:
    """Files on a web server, known by their checksums before they are fetched."""

    url: Url
    name: str = "url"

    def fits(self, view: View) -> bool:
        return view.key == self.url.key

    def get(self, client: IncusClient, wanted: Wanted, outcome: Outcome) -> str:
        outcome.actions.append(f"download {strip_credentials(self.url.url)}")
        rootfs = imagefetch.download(self.url.url, self.url.checksum, wanted.cache, self.url.timeout)
        metadata = None
        if self.url.metadata_checksum:
            second = self.url.metadata_url, self.url.metadata_checksum
            metadata = imagefetch.download(*second, wanted.cache, self.url.timeout)
        return FromFile(File(rootfs, metadata), self.url.key).get(client, wanted, outcome)

    def foresee(self, _client: IncusClient, outcome: Outcome) -> View:
        outcome.actions.append(f"download {strip_credentials(self.url.url)}")
        return View(outcome.before.alias, key=self.url.key)


@dataclass
class FromServer:
    """An image server, which the daemon asks by itself, and again for updates."""

    server: Server
    name: str = "server"

    def fits(self, view: View) -> bool:
        wanted = {"server": self.server.url, "protocol": self.server.protocol, "alias": self.server.alias}
        return dict(view.update_source) == wanted

    def get(self, client: IncusClient, wanted: Wanted, outcome: Outcome) -> str:
        source = {
            "type": "image",
            "mode": "pull",
            "server": self.server.url,
            "protocol": self.server.protocol,
            "alias": self.server.alias,
            "certificate": self.server.certificate,
            "image_type": wanted.type,
        }
        body = {"source": source, "auto_update": wanted.auto_update, "public": wanted.public}
        outcome.actions.append(f"pull {self.server.alias} from {imagefetch.host_of(self.server.url)}")
        try:
            ended = client.post("/images", body, timeout=wanted.timeout)
        except RacksteadError as error:
            raise error.at(f"{self.server.alias} on {self.server.url}") from error
        return str(ended["metadata"]["fingerprint"])

    def foresee(self, _client: IncusClient, outcome: Outcome) -> View:
        outcome.actions.append(f"pull {self.server.alias} from {imagefetch.host_of(self.server.url)}")
        source = {"server": self.server.url, "protocol": self.server.protocol, "alias": self.server.alias}
        return View(outcome.before.alias, update_source=source)


@dataclass
class FromBuild:
    """An image built here, or taken from the cache of images built here."""

    order: imagebuild.Order
    rebuild: bool = False
    name: str = "build"

    def fits(self, view: View) -> bool:
        return view.key == self.order.recipe.key and not self.rebuild

    def get(self, client: IncusClient, wanted: Wanted, outcome: Outcome) -> str:
        built = imagebuild.ensure_built(self.order, rebuild=self.rebuild)
        outcome.build_seconds = built.seconds
        if built.seconds:
            outcome.actions.append(f"build {self.order.recipe.description}")
        file = FromFile(File(built.rootfs, built.metadata), built.key)
        return file.get(client, wanted, outcome)

    def foresee(self, client: IncusClient, outcome: Outcome) -> View:
        built = None if self.rebuild else imagebuild.cached(self.order)
        if built:
            return FromFile(File(built.rootfs, built.metadata), built.key).foresee(client, outcome)
        outcome.build_needed = True
        outcome.missing_tools = imagebuild.missing_tools(self.order.recipe)
        outcome.actions.append(f"build {self.order.recipe.description}")
        return View(outcome.before.alias, key=self.order.recipe.key)


AnySource: TypeAlias = "FromFile | FromUrl | FromServer | FromBuild"


def upload(client: IncusClient, wanted: Wanted, file: File, properties: Mapping[str, str], fingerprint: str) -> None:
    """Send an image to the daemon, which refuses it if it does not have this fingerprint."""
    headers = {
        "X-Incus-public": str(wanted.public).lower(),
        "X-Incus-properties": urlencode(properties),
        "X-Incus-fingerprint": fingerprint,
        "X-Incus-filename": file.path.name,
    }
    try:
        if file.metadata is None:
            with file.path.open("rb") as body:
                client.post("/images", body, headers=headers, timeout=wanted.timeout)
            return
        rootfs = "rootfs.img" if wanted.type == "virtual-machine" else "rootfs"
        with file.metadata.open("rb") as first, file.path.open("rb") as second:
            form = Multipart([("metadata", file.metadata.name, first), (rootfs, file.path.name, second)])
            client.post("/images", form, headers={**headers, **form.headers}, timeout=wanted.timeout)
    except Conflict:
        # Somebody else imported the same bytes meanwhile.
        if client.find(f"/images/{fingerprint}") is None:
            raise


class Multipart:
    """A multipart/form-data body read piece by piece, so that an image is never held in memory whole."""

    def __init__(self, parts: Sequence[tuple[str, str, BinaryIO]]) -> None:
        boundary = os.urandom(16).hex()
        self.headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        self._pending: list[bytes | BinaryIO] = []
        for name, filename, file in parts:
            disposition = f'form-data; name="{name}"; filename="{filename}"'
            head = (
                f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
            )
            self._pending += [head.encode(), file, b"\r\n"]
        self._pending.append(f"--{boundary}--\r\n".encode())

    def read(self, size: int = 1024**2) -> bytes:
        while self._pending:
            head = self._pending[0]
            if isinstance(head, bytes):
                piece, rest = head[:size], head[size:]
                self._pending[:1] = [rest] if rest else []
                return piece
            if piece := head.read(size):
                return piece
            self._pending.pop(0)
        return b""


# -- deciding and doing ---------------------------------------------------------------------------
def ensure_present(client: IncusClient, wanted: Wanted, *, check: bool) -> Outcome:
    """Have ``wanted`` under its alias. Nothing is removed but an image of ours that the alias left behind."""
    before = observe(client, wanted.alias)
    outcome = Outcome(before, before)
    if wanted.source != "auto" or not before.fingerprint:
        _obtain(client, wanted, outcome, check)
    else:
        outcome.why = f"the alias {wanted.alias} is there already"
    _settle(client, wanted, outcome, check)
    if not check and outcome.changed:
        outcome.after = observe(client, wanted.alias)
    return outcome


def _obtain(client: IncusClient, wanted: Wanted, outcome: Outcome, check: bool) -> None:
    """Get the image from the first source that has it, and point the alias to it."""
    failures: list[str] = []
    for source in _candidates(client, wanted, failures):
        if source.fits(outcome.before):
            outcome.why = f"the alias {wanted.alias} has this image already"
            return
        outcome.source = source.name
        if check:
            outcome.after = replace(source.foresee(client, outcome), public=wanted.public, properties=wanted.properties)
            outcome.actions.append(_pointing(outcome.before))
        elif not _got(client, wanted, source, outcome, failures):
            continue
        outcome.why = "; ".join(failures) + (": " if failures else "") + _because(wanted, source, outcome, check)
        return


def _got(client: IncusClient, wanted: Wanted, source: AnySource, outcome: Outcome, failures: list[str]) -> bool:
    """Whether the source gave the image. A server that fails is a failure to go on from only with auto."""
    try:
        fingerprint = source.get(client, wanted, outcome)
    except (NotFound, OperationFailed, Unreachable) as error:
        if wanted.source != "auto" or not isinstance(source, FromServer):
            raise
        outcome.actions.clear()
        failures.append(f"{imagefetch.host_of(source.server.url)} does not give it ({error.what})")
        return False
    _point(client, wanted.alias, fingerprint, outcome)
    return True


def _candidates(client: IncusClient, wanted: Wanted, failures: list[str]) -> Iterator[AnySource]:
    """The sources to try, in order. A server that is out of reach is no candidate."""
    if wanted.source == "file" and wanted.file:
        yield FromFile(wanted.file)
    if wanted.source == "url" and wanted.url:
        yield FromUrl(wanted.url)
    if wanted.source in ("server", "auto") and wanted.server:
        server = wanted.server
        out = _out_of_reach(client, server) if wanted.source == "auto" else ""
        if out:
            failures.append(f"image server {imagefetch.host_of(server.url)} is out of reach ({out})")
        else:
            yield FromServer(server)
    if wanted.source in ("build", "auto") and wanted.order:
        yield FromBuild(_ordered(wanted.order, failures), wanted.rebuild)


def _ordered(order: Callable[[], imagebuild.Order], failures: Sequence[str]) -> imagebuild.Order:
    """The order for a build. Where it cannot even be written, what was tried before is said, too."""
    try:
        return order()
    except RacksteadError as error:
        if not failures:
            raise
        raise OperationFailed(f"{'; '.join(failures)}; and it cannot be built: {error}") from error


def _out_of_reach(client: IncusClient, server: Server) -> str:
    """The daemon will do the pulling, through the proxy that it is set up with."""
    proxy = str((client.get("").get("config") or {}).get("core.proxy_https", ""))
    return imagefetch.why_unreachable(server.url, server.protocol, server.certificate, server.timeout, proxy)


def _because(wanted: Wanted, source: AnySource, outcome: Outcome, check: bool) -> str:
    """What came from where, in one clause."""
    if not isinstance(source, FromBuild):
        return f"{wanted.alias} {'would be' if check else 'is'} taken from the {source.name}"
    if check:
        return f"{wanted.alias} would be {'built' if outcome.build_needed else 'taken from the cache'}"
    if outcome.build_seconds:
        return f"built {wanted.alias} from the package mirror in {outcome.build_seconds:.0f} s"
    return f"took {wanted.alias}, built earlier, from the cache"


def _point(client: IncusClient, alias: str, fingerprint: str, outcome: Outcome) -> None:
    """Let the alias name the image, and remove the image of ours that it named before."""
    old = outcome.before
    if old.fingerprint == fingerprint:
        return
    outcome.actions.append(_pointing(old))
    if client.resolve_alias(alias):
        client.put(f"/images/aliases/{alias}", {"target": fingerprint, "description": ""})
    else:
        client.post("/images/aliases", {"name": alias, "target": fingerprint, "description": ""})
    if old.key:
        _remove_unnamed(client, old.fingerprint, outcome)


def _pointing(old: View) -> str:
    return f"point {old.alias} to it" if old.fingerprint else f"name it {old.alias}"


def _remove_unnamed(client: IncusClient, fingerprint: str, outcome: Outcome) -> None:
    image = client.find(f"/images/{fingerprint}")
    if image is not None and not image["aliases"]:
        outcome.actions.append(f"remove {fingerprint[:12]}")
        client.delete(f"/images/{fingerprint}")


def _settle(client: IncusClient, wanted: Wanted, outcome: Outcome, check: bool) -> None:
    """Bring what can be set on an image in place to what is wanted. One to come is made that way."""
    if check and outcome.changed:
        return
    view = observe(client, wanted.alias) if outcome.changed else outcome.before
    after = replace(view, public=wanted.public, properties={**view.properties, **wanted.properties})
    if view == after:
        return
    outcome.after = after
    outcome.actions.append(f"set properties of {wanted.alias}")
    if not check:
        key = {KEY: view.key} if view.key else {}
        body = {"public": after.public, "properties": {**after.properties, **key}}
        client.patch(f"/images/{view.fingerprint}", body)


def ensure_absent(client: IncusClient, alias: str, *, check: bool) -> Outcome:
    """Remove the alias, and the image if no other alias names it."""
    before = observe(client, alias)
    outcome = Outcome(before, View(alias))
    if not client.resolve_alias(alias):
        outcome.why = f"there is no image {alias}"
        return outcome
    image = client.find(f"/images/{before.fingerprint}") if before.fingerprint else None
    alone = image is not None and len(image["aliases"]) == 1
    outcome.actions.append(f"remove the alias {alias}{' and its image' if alone else ''}")
    outcome.why = f"{alias} {'would be' if check else 'is'} removed"
    if not check:
        client.delete(f"/images/aliases/{alias}")
        if alone:
            client.delete(f"/images/{before.fingerprint}")
    return outcome
