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
            known = {one["name"]: one["name"] for one in everything(change, CLUSTER)}
            known |= {str(one["id"]): one["name"] for one in everything(change, CLUSTER)}
            if node["cluster"] and node["cluster"] not in known:
                hint = nearest(node["cluster"], known)
                problems.add("cluster", f'there is no cluster "{node["cluster"]}"{hint}')
            problems.raise_if_any()
            return self._enter(change, NODE, {**node, "cluster": known.get(node["cluster"], "")})

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

    def remove_node(self, name: str, *, member: bool = False) -> Body:
        """Forget a node, which touches no machine. One that is in a cluster only where ``member`` says so."""

        def work(change: Change) -> Body:
            node = one_of(change, NODE, name)
            if node["cluster"] and not member:
                raise Conflict(
                    f'is in the cluster "{node["cluster"]}"',
                    where=node["name"],
                    hint="the playbook remove_node takes it out",
                )
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
    return f"{cluster}: {count} control-plane nodes survive no more losses than {count - 1}; take an odd number"


def _alone(others: list[Body], node: Body, problems: Problems) -> None:
    for one in others:
        if one["name"] == node["name"]:
            problems.add("name", f'there is a node "{node["name"]}" already')
        elif (one["address"], one["port"] or 22) == (node["address"], node["port"] or 22):
            problems.add("address", f'"{node["address"]}" is that of {one["name"]} too')
