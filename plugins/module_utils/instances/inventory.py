# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances as hosts: what is asked of the daemons, and how records become names, variables and groups."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..common.errors import RacksteadError, Unreachable
from ..common.problems import Problems
from ..common.show import hide_secrets
from .incus.client import IncusClient, global_addresses
from .incus.transport import Endpoint
from .marks import IMAGE_MARK, PLAN_MARK, metadata_of

CONNECTION = "rackstead.infra.instance"
ALL_PROJECTS = "*"
#: Fields of Endpoint as options and connection variables name them.
ENDPOINT_OPTIONS = {
    "url": "url",
    "client_cert": "cert_file",
    "client_key": "key_file",
    "server_fingerprint": "fingerprint",
    "ca_cert": "ca_file",
}
REMOTE_OPTIONS = (*ENDPOINT_OPTIONS, "name", "projects")
GROUP_KINDS = ("status", "type", "image", "profile", "plan", "location", "project", "remote", "metadata")
FILTERS = ("name", "status", "type", "image", "profile", "plan", "location", "metadata")
#: Longer metadata are documents, not labels: they make no group.
LONGEST_LABEL = 64
#: Legacy keys of cloud-init, which live among the labels.
DOCUMENTS = ("meta-data", "user-data", "vendor-data", "network-config")
REQUESTS_AT_ONCE = 8

Record = dict[str, Any]


class Remote(NamedTuple):
    """A daemon and the projects to look into. ``name`` is empty where only one daemon is in play."""

    name: str
    endpoint: Endpoint
    projects: tuple[str, ...]


class Host(NamedTuple):
    """A host of the inventory. ``groups`` are (kind, value) pairs: the plugin makes names of them."""

    name: str
    variables: dict[str, Any]
    groups: tuple[tuple[str, str], ...]


class Wanted(NamedTuple):
    """The options that decide what becomes of the records."""

    filters: Mapping[str, Any] = {}
    group_by: Sequence[str] = GROUP_KINDS
    connection: bool = True
    full_names: bool = False


# -- options --------------------------------------------------------------------------------------
def read_remotes(given: Sequence[Any], single: Mapping[str, Any], projects: Sequence[str]) -> list[Remote]:
    """The daemons to ask: ``given``, the option ``remotes``, or the one that ``single`` describes.

    Raises InvalidInput with every fault.
    """
    if not given:
        return [Remote("", _endpoint(single), tuple(projects))]
    problems = Problems()
    remotes = [_read_remote(f"remotes[{number}]", one, projects, problems) for number, one in enumerate(given)]
    names = [remote.name for remote in remotes]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        problems.add("remotes", f'two are called "{name}"')
    problems.raise_if_any()
    return remotes


def _read_remote(path: str, given: Any, projects: Sequence[str], problems: Problems) -> Remote:
    if not isinstance(given, Mapping):
        problems.add(path, f"{given!r} is not a remote", "a mapping with name and url")
        return Remote("", Endpoint(), ())
    for key in given:
        if key not in REMOTE_OPTIONS:
            problems.unknown(path, str(key), REMOTE_OPTIONS)
    if not given.get("name"):
        problems.add(f"{path}.name", "is missing")
    own = given.get("projects", list(projects))
    if not isinstance(own, list) or not own or not all(isinstance(project, str) for project in own):
        problems.add(f"{path}.projects", f"{own!r} is not a list of names", '[web, db], or ["*"] for all')
        own = []
    return Remote(str(given.get("name", "")), _endpoint(given), tuple(own))


def _endpoint(given: Mapping[str, Any]) -> Endpoint:
    fields = {field: str(given.get(option) or "") for option, field in ENDPOINT_OPTIONS.items()}
    files = {field: os.path.expanduser(path) for field, path in fields.items() if field.endswith("_file")}
    return Endpoint(**{**fields, **files})


def check_wanted(wanted: Wanted) -> None:
    """Raise InvalidInput for filters and group kinds that there are not."""
    problems = Problems()
    for key, value in wanted.filters.items():
        if key not in FILTERS:
            problems.unknown("filters", key, FILTERS)
        elif key == "metadata" and not isinstance(value, Mapping):
            problems.add("filters.metadata", f"{value!r} is not a mapping", "labels and their values, {role: web}")
    for kind in wanted.group_by:
        if kind not in GROUP_KINDS:
            problems.unknown("group_by", kind, GROUP_KINDS)
    problems.raise_if_any()


# -- asking ---------------------------------------------------------------------------------------
def fetch(remotes: Sequence[Remote], addresses: bool) -> list[Record]:
    """Records of all instances: one request for each project, several at once where there are several."""
    asked = [(remote, project) for remote in remotes for project in remote.projects]
    if len(asked) == 1:
        return _ask(asked[0][0], asked[0][1], addresses)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        answers = pool.map(lambda one: _ask(one[0], one[1], addresses), asked)
        return [record for answer in answers for record in answer]


def _ask(remote: Remote, project: str, addresses: bool) -> list[Record]:
    client = IncusClient(remote.endpoint)
    place = f'project "{project}" of Incus at {remote.endpoint.label}'
    where = {"all-projects": "true"} if project == ALL_PROJECTS else {"project": project}
    query = {"recursion": "2" if addresses else "1", **where}
    try:
        documents = client.transport.request("GET", "/1.0/instances", query).metadata()
        if not documents and project != ALL_PROJECTS:
            client.get(f"/projects/{project}")  # of a project that there is not, Incus says that it is empty
    except Unreachable:
        raise
    except RacksteadError as error:
        raise error.at(place) from error
    finally:
        client.transport.close()
    return [record_of(remote.name, document) for document in documents]


def record_of(remote: str, document: Mapping[str, Any]) -> Record:
    """What is kept of an instance's document. Only plain values: it goes into caches."""
    config: Mapping[str, str] = document["config"]
    known = {key: document[key] for key in ("name", "project", "type", "profiles", "location", "description")}
    state = document.get("state")
    return {
        **known,
        "remote": remote,
        "status": str(document["status"]).lower(),
        "architecture": document["architecture"],
        "created_at": document["created_at"],
        "plan": config.get(PLAN_MARK, ""),
        "image": config.get(IMAGE_MARK) or _image(config),
        "metadata": hide_secrets(metadata_of(config)),
        "ipv4": list(global_addresses(state, "inet")) if state else [],
        "ipv6": list(global_addresses(state, "inet6")) if state else [],
    }


def _image(config: Mapping[str, str]) -> str:
    """What the image says of itself: ``debian/bookworm``, or its description."""
    os_name, release = config.get("image.os", ""), config.get("image.release", "")
    return f"{os_name}/{release}".lower() if os_name and release else config.get("image.description", "")


# -- hosts ----------------------------------------------------------------------------------------
def build_hosts(records: Iterable[Record], remotes: Sequence[Remote], wanted: Wanted) -> list[Host]:
    """The hosts that pass the filters, sorted by name. Pure.

    A host is called as its instance, with the project behind a dot where a remote is asked for more
    than one, and the remote behind another dot where there are several: names are unique and do not
    depend on which other instances exist.
    """
    by_name = {remote.name: remote for remote in remotes}
    with_project = wanted.full_names or any(_has_many(remote) for remote in remotes)
    with_remote = len(remotes) > 1
    hosts = []
    for record in records:
        if not passes(record, wanted.filters):
            continue
        parts = [record["name"], record["project"] if with_project else "", record["remote"] if with_remote else ""]
        name = ".".join(part for part in parts if part)
        variables = {**_facts(record), **_connection(record, by_name[record["remote"]], wanted.connection)}
        hosts.append(Host(name, variables, tuple(_groups(record, wanted.group_by))))
    return sorted(hosts)


def _has_many(remote: Remote) -> bool:
    return len(remote.projects) > 1 or ALL_PROJECTS in remote.projects


def passes(record: Record, filters: Mapping[str, Any]) -> bool:
    """Whether every filter is met: by one of its values, which may be globs."""
    for key, wanted in filters.items():
        if key == "metadata":
            if not all(_fits([record["metadata"].get(label)], values) for label, values in wanted.items()):
                return False
        elif not _fits(record["profiles"] if key == "profile" else [record[key]], wanted):
            return False
    return True


def _fits(values: Sequence[Any], wanted: Any) -> bool:
    patterns = [str(one) for one in (wanted if isinstance(wanted, list) else [wanted])]
    return any(
        fnmatch.fnmatchcase(str(value), pattern) for value in values if value is not None for pattern in patterns
    )


def _facts(record: Record) -> dict[str, Any]:
    return {f"rackstead_{key}": value for key, value in record.items()}


def _connection(record: Record, remote: Remote, own: bool) -> dict[str, Any]:
    """Variables that lead tasks into the instance: by our connection plugin, else to its first address."""
    if not own:
        addresses = [*record["ipv4"], *record["ipv6"]]
        return {"ansible_host": addresses[0]} if addresses else {}
    options = {option: getattr(remote.endpoint, field) for option, field in ENDPOINT_OPTIONS.items()}
    given = {f"ansible_rackstead_{option}": value for option, value in options.items() if value}
    fixed = {"ansible_connection": CONNECTION, "ansible_host": record["name"]}
    return {**fixed, "ansible_rackstead_project": record["project"], **given}


def _groups(record: Record, kinds: Sequence[str]) -> Iterable[tuple[str, str]]:
    for kind in kinds:
        if kind == "profile":
            yield from (("profile", profile) for profile in record["profiles"])
        elif kind == "metadata":
            yield from _labels(record["metadata"])
        elif record[kind] and (kind, record[kind]) != ("location", "none"):
            yield kind, record[kind]


def _labels(metadata: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """A group for each label, named after it; ``metadata_`` before one that is named as another kind of group."""
    for key, value in metadata.items():
        if value and key not in DOCUMENTS and len(value) <= LONGEST_LABEL and "\n" not in value:
            yield (f"metadata_{key}" if key in GROUP_KINDS else key), value
