# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in MicroK8s's files: arguments of its services, containerd's environment, mirrors of registries."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..common.errors import Conflict
from ..common.problems import Problems
from ..common.show import diff_of
from .client import MicroK8s

KUBELITE, CONTAINERD = "microk8s.daemon-kubelite", "microk8s.daemon-containerd"
#: file below args -> the service that reads it
SERVICES = {
    "kubelet": KUBELITE,
    "kube-apiserver": KUBELITE,
    "kube-controller-manager": KUBELITE,
    "kube-scheduler": KUBELITE,
    "kube-proxy": KUBELITE,
    "containerd": CONTAINERD,
    "k8s-dqlite": "microk8s.daemon-k8s-dqlite",
}
ENVIRONMENT = "containerd-env"
#: Services that are still to be restarted; it outlives a run that is killed between writing and restarting.
PENDING = ".rackstead-restart"
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_REGISTRY = re.compile(r"[\w.-]+(:\d+)?")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")

#: A value of None takes a line out.
Values = Mapping[str, Any]


def ensure_config(
    client: MicroK8s,
    arguments: Mapping[str, Values],
    environment: Values,
    mirrors: Sequence[Mapping[str, Any]],
    restart: bool = True,
    seconds: float = 300.0,
    check: bool = False,
) -> dict[str, Any]:
    """The files hold what is given, and the services that read them run with it. A value of None takes a line out."""
    _validate(arguments, environment, mirrors)
    args = client.data / "args"
    if not args.is_dir():
        raise Conflict(f"there is no folder {args}", hint="install MicroK8s first")
    wanted = _wanted(args, arguments, environment, mirrors)
    changes = {path: text for path, text in wanted.items() if _read(path) != text}
    due = sorted({service for path in changes if (service := _service(path.name))} | set(_pending(args)))
    diffs = [_diff(path, args, text) for path, text in changes.items()]
    if not check:
        _note(args, due)
        for path, text in changes.items():
            _write(path, text)
        if restart and due:
            _restart(client, due, seconds)
            _note(args, [])
    changed = bool(changes) or bool(restart and due)
    files = [str(path.relative_to(args)) for path in changes]
    return {"changed": changed, "files": files, "restarted": due if restart else [], "diff": diffs}


def _validate(arguments: Mapping[str, Values], environment: Values, mirrors: Sequence[Mapping[str, Any]]) -> None:
    problems = Problems()
    for service, values in arguments.items():
        if service not in SERVICES:
            problems.unknown("arguments", service, SERVICES)
        for key in values or {}:
            if not key.startswith("-"):
                problems.add(f"arguments.{service}", f'"{key}" is not an argument', f"--{key}")
    for key in environment:
        if not _VARIABLE.fullmatch(key):
            problems.add("environment", f'"{key}" is not a variable', "letters, digits and _")
    seen: set[str] = set()
    for mirror in mirrors:
        registry = str(mirror["registry"])
        if not _REGISTRY.fullmatch(registry):
            problems.add("mirrors.registry", f'"{registry}" is not a registry', "HOST or HOST:PORT such as docker.io")
        if registry in seen:
            problems.add("mirrors.registry", f'"{registry}" is given twice')
        seen.add(registry)
        for url in mirror.get("endpoints") or []:
            if urlsplit(str(url)).scheme not in ("http", "https") or not urlsplit(str(url)).hostname:
                problems.add(f"mirrors.{registry}.endpoints", f'"{url}" is not an address', "https://HOST[:PORT]")
    problems.raise_if_any()


def _wanted(
    args: Path, arguments: Mapping[str, Values], environment: Values, mirrors: Sequence[Mapping[str, Any]]
) -> dict[Path, str]:
    found = {args / name: with_arguments(_read(args / name), values or {}) for name, values in arguments.items()}
    if environment:
        path = args / ENVIRONMENT
        found[path] = with_variables(_read(path), environment)
    for mirror in mirrors:
        found[args / "certs.d" / str(mirror["registry"]) / "hosts.toml"] = hosts_toml(mirror)
    return found


def with_arguments(text: str, values: Values) -> str:
    """The lines of an arguments file with these arguments set; the others stay, and so does the order."""
    left = dict(values)
    lines = []
    for line in text.splitlines():
        key = re.split(r"[=\s]", line.strip(), maxsplit=1)[0]
        if key not in values:
            lines.append(line)
        elif key in left:
            lines += _argument(key, left.pop(key))
    for key, value in left.items():
        lines += _argument(key, value)
    return "".join(line + "\n" for line in lines)


def _argument(key: str, value: str | None) -> list[str]:
    return [] if value is None else [f"{key}={value}" if value != "" else key]


def with_variables(text: str, values: Values) -> str:
    """The lines of an environment file with these variables set; comments and the others stay."""
    left = dict(values)
    lines = []
    for line in text.splitlines():
        key = line.partition("=")[0].strip().removeprefix("export ").strip()
        if key not in values:
            lines.append(line)
        elif key in left:
            value = left.pop(key)
            lines += [] if value is None else [f"{key}={value}"]
    lines += [f"{key}={value}" for key, value in left.items() if value is not None]
    return "".join(line + "\n" for line in lines)


def hosts_toml(mirror: Mapping[str, Any]) -> str:
    """containerd's file about one registry: where it is asked for instead, in this order."""
    server = mirror.get("server") or f"https://{mirror['registry']}"
    lines = [f'server = "{server}"']
    for url in mirror.get("endpoints") or []:
        lines += ["", f'[host."{url}"]', 'capabilities = ["pull", "resolve"]']
        if mirror.get("ca_file"):
            lines.append(f'ca = "{mirror["ca_file"]}"')
    return "\n".join(lines) + "\n"


def _service(name: str) -> str:
    # containerd looks at hosts.toml whenever it pulls.
    return CONTAINERD if name == ENVIRONMENT else SERVICES.get(name, "")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _pending(args: Path) -> list[str]:
    return _read(args / PENDING).split()


def _note(args: Path, services: Sequence[str]) -> None:
    if services:
        _write(args / PENDING, "\n".join(services) + "\n")
    else:
        (args / PENDING).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """Whole or not at all; readable by who could read it, and by root alone where it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o660
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _restart(client: MicroK8s, services: Sequence[str], seconds: float) -> None:
    for service in services:
        client.snap_done("restart", service)
    client.wait_up(seconds)


def _diff(path: Path, args: Path, text: str) -> dict[str, str]:
    """Users and passwords of proxies are left out."""
    before, after = (_USER.sub("********@", side) for side in (_read(path), text))
    return diff_of({"text": before}, {"text": after}, f"args/{path.relative_to(args)}")
