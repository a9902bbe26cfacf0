# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of nodes and clusters: records in the state store. The one place that writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common.errors import Conflict, NotFound
from ..common.problems import Problems, nearest
from ..state.model import Query
from ..state.store import Change, Store
from .model import Body, read_cluster, read_node

NODE = "node"
CLUSTER = "cluster"
#: The last number that each kind has given out: no id ever comes twice.
COUNTERS = "registry"
PAGE = 500


@dataclass(frozen=True)
class Registry:
    """Each call is one transaction; it leaves an entry in the audit chain where it changes something."""

    store: Store
    who: str = ""

    def nodes(self) -> list[Body]:
        return self.store.read(lambda change: everything(change, NODE))

    def clusters(self) -> list[Body]:
        return self.store.read(lambda change: everything(change, CLUSTER))

    def node(self, name: str) -> Body:
        """A node, by its name or its id."""
        return self.store.read(lambda change: one_of(change, NODE, name))

    def cluster(self, name: str) -> Body:
        return self.store.read(lambda change: one_of(change, CLUSTER, name))

    def add_node(self, given: Mapping[str, Any]) -> Body:
        """Raises InvalidInput with all that is wrong with it."""

        def work(change: Change) -> Body:
            problems = Problems()
            node = read_node(given, problems)
            _alone(everything(change, NODE), node, problems)
            node["cluster"] = _cluster_of(change, node, problems)
            problems.raise_if_any()
            return self._enter(change, NODE, node)

        return self.store.change(work)

    def add_cluster(self, given: Mapping[str, Any]) -> Body:
        def work(change: Change) -> Body:
            problems = Problems()
            cluster = read_cluster(given, problems)
            if any(one["name"] == cluster["name"] for one in everything(change, CLUSTER)):
                problems.add("name", f'there is a cluster "{cluster["name"]}" already')
            problems.raise_if_any()
            return self._enter(change, CLUSTER, cluster)

        return self.store.change(work)

    def change_node(self, name: str, given: Mapping[str, Any], *, member: bool = False) -> Body:
        """Set some fields of a node, which touches no machine. A name stays; one that is in a cluster goes to
        another only where ``member`` says so. Raises NotFound, Conflict, and InvalidInput with all that is wrong.
        """

        def work(change: Change) -> Body:
            before = one_of(change, NODE, name)
            problems = _kept(before, given)
            asked = {**before, **given}
            if isinstance(given.get("bmc"), Mapping):
                asked["bmc"] = {**before["bmc"], **given["bmc"]}
            after = read_node({key: value for key, value in asked.items() if key != "id"}, problems)
            _alone([one for one in everything(change, NODE) if one["id"] != before["id"]], after, problems)
            after["cluster"] = _cluster_of(change, after, problems)
            problems.raise_if_any()
            if before["cluster"] and after["cluster"] != before["cluster"] and not member:
                raise _in_a_cluster(before)
            return self._change(change, NODE, before, after)

        return self.store.change(work)

    def change_cluster(self, name: str, given: Mapping[str, Any]) -> Body:
        """Set some fields of a cluster, which touches no machine; ``variables`` are taken whole."""

        def work(change: Change) -> Body:
            before = one_of(change, CLUSTER, name)
            problems = _kept(before, given)
            asked = {key: value for key, value in {**before, **given}.items() if key != "id"}
            after = read_cluster(asked, problems)
            problems.raise_if_any()
            return self._change(change, CLUSTER, before, after)

        return self.store.change(work)

    def remove_node(self, name: str, *, member: bool = False) -> Body:
        """Forget a node, which touches no machine. One that is in a cluster only where ``member`` says so."""

        def work(change: Change) -> Body:
            node = one_of(change, NODE, name)
            if node["cluster"] and not member:
                raise _in_a_cluster(node)
            return self._forget(change, NODE, node)

        return self.store.change(work)

    def remove_cluster(self, name: str) -> Body:
        """Forget a cluster without nodes. Touches no machine."""

        def work(change: Change) -> Body:
            cluster = one_of(change, CLUSTER, name)
            members = [one["name"] for one in everything(change, NODE) if one["cluster"] == cluster["name"]]
            if members:
                raise Conflict(
                    f"still has nodes: {', '.join(members)}", where=cluster["name"], hint="remove them first"
                )
            return self._forget(change, CLUSTER, cluster)

        return self.store.change(work)

    def _enter(self, change: Change, kind: str, body: Body) -> Body:
        counter = change.find(COUNTERS, kind)
        number = int(counter.body["last"]) + 1 if counter else 1
        change.put(COUNTERS, kind, {"last": number})
        entered = {"id": number, **body}
        change.put(kind, body["name"], entered, expect=0)
        change.append_audit(self.who, f"{kind}.add", f"{kind}/{body['name']}")
        return entered

    def _change(self, change: Change, kind: str, before: Body, after: Body) -> Body:
        """Writes, and tells the audit chain which fields, only where there is something to write."""
        whole = {"id": before["id"], **after}
        fields = sorted(key for key in after if after[key] != before.get(key))
        if fields:
            change.put(kind, before["name"], whole)
            change.append_audit(self.who, f"{kind}.change", f"{kind}/{before['name']}", details={"fields": fields})
        return whole

    def _forget(self, change: Change, kind: str, body: Body) -> Body:
        change.delete(kind, body["name"])
        change.append_audit(self.who, f"{kind}.remove", f"{kind}/{body['name']}")
        return body


def everything(change: Change, kind: str) -> list[Body]:
    """All records of a kind, by name."""
    found: list[Body] = []
    after = ""
    while True:
        page = change.list(kind, Query(after=after, limit=PAGE))
        found += [dict(one.body) for one in page if "id" in one.body]
        if len(page) < PAGE:
            return found
        after = page[-1].key


def one_of(change: Change, kind: str, name: str) -> Body:
    """The one of this name or id. Raises NotFound, with the nearest name."""
    found = everything(change, kind)
    for one in found:
        if name in (one["name"], str(one["id"])):
            return one
    raise NotFound(f'there is no {kind} "{name}"{nearest(name, [one["name"] for one in found])}')


def even(nodes: list[Body], cluster: str) -> str:
    """A warning where a cluster's control plane has an even number of nodes, or nothing."""
    count = sum(1 for one in nodes if one["cluster"] == cluster and not one["worker"])
    if count == 0 or count % 2:
        return ""
    return f"{cluster}: {count} control-plane nodes survive no more losses than {count - 1} would; take an odd number"


def _kept(before: Body, given: Mapping[str, Any]) -> Problems:
    """What cannot be changed of a record: by its name others know it, and its number is nobody else's."""
    problems = Problems()
    for field in ("name", "id"):
        if field in given and given[field] != before[field]:
            problems.add(field, f'"{before[field]}" cannot be changed', "remove it, and add it anew")
    return problems


def _in_a_cluster(node: Body) -> Conflict:
    hint = "the playbook remove_node takes it out"
    return Conflict(f'is in the cluster "{node["cluster"]}"', where=node["name"], hint=hint)


def _cluster_of(change: Change, node: Body, problems: Problems) -> str:
    """The name of the cluster that a node names by name or id."""
    known = {one["name"]: one["name"] for one in everything(change, CLUSTER)}
    known |= {str(one["id"]): one["name"] for one in everything(change, CLUSTER)}
    if node["cluster"] and node["cluster"] not in known:
        hint = nearest(node["cluster"], known)
        problems.add("cluster", f'there is no cluster "{node["cluster"]}"{hint}')
    return str(known.get(node["cluster"], ""))


def _alone(others: list[Body], node: Body, problems: Problems) -> None:
    for one in others:
        if one["name"] == node["name"]:
            problems.add("name", f'there is a node "{node["name"]}" already')
        elif (one["address"], one["port"] or 22) == (node["address"], node["port"] or 22):
            problems.add("address", f'"{node["address"]}" is that of {one["name"]} too')
