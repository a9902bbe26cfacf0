# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door for images: what a user asked for, checked whole, as a Wanted."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..common.problems import Problems
from . import imagebuild
from .imagefetch import Checksum, parse_checksum
from .images import KEY, File, Server, Url, Wanted

CHECKSUMS = "sha256: and 64, or sha512: and 128, hexadecimal digits"
#: Variant of the images of a public server that has cloud-init, which plans count on.
VARIANT = "cloud"


def wanted_of(params: Mapping[str, Any]) -> Wanted:
    """Every option of the module ``image`` by its name. Raises InvalidInput with all that is wrong."""
    problems = Problems()
    source = params["source"]
    url = _url(params, problems) if source == "url" else None
    server = _server(params, problems) if source in ("server", "auto") else None
    order = functools.partial(_order, params)
    if source == "build" or (source == "auto" and params.get("distribution")):
        _check_build(params, problems)
    if KEY in (params["properties"] or {}):
        problems.add("properties", f"{KEY} is this module's own")
    problems.raise_if_any()
    return Wanted(
        alias=params["alias"],
        source=source,
        cache=Path(params["cache_dir"]),
        type=params["type"],
        public=params["public"],
        auto_update=params["auto_update"],
        properties={key: str(value) for key, value in (params["properties"] or {}).items()},
        rebuild=params["rebuild"],
        timeout=float(params["timeout"]),
        file=_file(params) if source == "file" else None,
        url=url,
        server=server,
        order=order if params["type"] == "container" else None,
    )


def _check_build(params: Mapping[str, Any], problems: Problems) -> None:
    if params["type"] != "container":
        problems.add("type", f'"{params["type"]}" cannot be built', "container")
    distribution, release = build_of(params)
    if not distribution or not release:
        problems.add(
            "alias",
            f'"{params["alias"]}" does not say what to build',
            "debian/12 and the like, or distribution and release",
        )


def build_of(params: Mapping[str, Any]) -> tuple[str, str]:
    """Distribution and release to build: as given, else as the alias says (``debian/12``, ``ubuntu/24.04/cloud``)."""
    parts = [*params["alias"].lower().split("/"), "", ""]
    known = parts[0] in imagebuild.DISTRIBUTIONS
    return params["distribution"] or (parts[0] if known else ""), str(params["release"] or (parts[1] if known else ""))


def _order(params: Mapping[str, Any]) -> imagebuild.Order:
    problems = Problems()
    _check_build(params, problems)
    problems.raise_if_any()
    given = (params["architecture"] or "", params["packages"] or [])
    recipe = imagebuild.recipe_for(*build_of(params), *given)
    sources = imagebuild.mirrors_for(
        recipe.distribution,
        recipe.release,
        recipe.architecture,
        params["mirror"] or "",
        params["security_mirror"] or "",
    )
    recipe = imagebuild.recipe_for(*build_of(params), *given, suites=[source.suite for source in sources])
    return imagebuild.Order(recipe, sources, Path(params["cache_dir"]))


def _file(params: Mapping[str, Any]) -> File:
    metadata = params["metadata_path"]
    return File(Path(params["path"]), Path(metadata) if metadata else None)


def _url(params: Mapping[str, Any], problems: Problems) -> Url | None:
    for option in ("url_rootfs", "url_metadata"):
        _http(params[option], option, problems)
    first = _checksum(params["checksum"], "checksum", problems)
    second = _checksum(params["metadata_checksum"], "metadata_checksum", problems)
    if bool(params["url_metadata"]) != bool(params["metadata_checksum"]):
        problems.add("url_metadata", "goes together with metadata_checksum")
    if first is None:
        return None
    return Url(params["url_rootfs"], first, params["url_metadata"] or "", second)


def _checksum(text: str | None, option: str, problems: Problems) -> Checksum | None:
    if not text:
        return None
    try:
        return parse_checksum(text)
    except ValueError as error:
        problems.add(option, str(error), CHECKSUMS)
        return None


def _http(url: str | None, option: str, problems: Problems) -> None:
    if url and urlsplit(url).scheme not in ("http", "https"):
        problems.add(option, f'"{url}" is not the address of a web server', "http://..., https://...")


def _server(params: Mapping[str, Any], problems: Problems) -> Server:
    _http(params["server"], "server", problems)
    alias = params["server_alias"] or params["alias"]
    if not params["server_alias"] and params["source"] == "auto" and all(build_of(params)):
        alias = alias if alias.endswith(f"/{VARIANT}") else f"{alias}/{VARIANT}"
    certificate = params["server_certificate"] or ""
    if certificate and "BEGIN CERTIFICATE" not in certificate:
        problems.add("server_certificate", "is not a certificate in PEM")
    return Server(params["server"].rstrip("/"), params["protocol"], alias, certificate, float(params["server_timeout"]))
