# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules state_record and state_record_info do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..common.errors import InvalidInput
from ..common.show import HIDDEN, diff_of
from .backend import Transaction
from .model import Query, Record, Row
from .open import default_url, open_store
from .store import Change, Seal, Store

#: Argument spec of the doc fragment ``rackstead.infra.state``.
OPTIONS: dict[str, Any] = {
    "url": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "key_file": {"type": "path", "no_log": False},
}


class Rehearsal:
    """A transaction whose writes go nowhere, so that check mode meets what the real run would."""

    def __init__(self, transaction: Transaction) -> None:
        self.get = transaction.get
        self.fetch_ahead = transaction.fetch_ahead
        self.scan = transaction.scan
        self.versions = transaction.versions
        self.kinds = transaction.kinds
        self.now = transaction.now

    def set(self, kind: str, key: str, row: Row) -> None:
        """Not kept."""

    def remove(self, kind: str, key: str) -> None:
        """Not kept."""


class Veil:
    """Stands in for the keys where secrets are not to be shown: nobody needs a key to look at the rest."""

    def seal(self, *_place: Any, **_named: Any) -> Any:
        raise RuntimeError("a reader seals nothing")

    def open(self, *_place: Any, **_named: Any) -> Any:
        return HIDDEN


def store_of(params: Mapping[str, Any], keys: Seal | None = None) -> Store:
    """The store that a task's options name."""
    url = params["url"] or default_url()
    if params["url"] and re.match(r"\w+://[^/@]*:[^/]*@", url):
        raise InvalidInput(["url: a password in it would be logged; give it in the option password"])
    if params["password"]:
        os.environ["RACKSTEAD_STATE_PASSWORD"] = params["password"]
    if params["key_file"]:
        os.environ["RACKSTEAD_STATE_KEY_FILE"] = params["key_file"]
        os.environ.pop("RACKSTEAD_STATE_KEY", None)
    return open_store(url, keys=keys)


def run_record(params: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Have a record as ``body`` and ``sensitive`` say, or have it gone."""
    store = store_of(params, Veil() if params["state"] == "absent" else None)
    kind, key = params["kind"], params["key"]
    secret = sorted(params["sensitive"] or {})
    body = {**(params["body"] or {}), **(params["sensitive"] or {})}

    def work(change: Change) -> tuple[Record | None, Record | None]:
        before = change.find(kind, key)
        if params["state"] == "absent":
            change.delete(kind, key, expect=params["expect"])
            return before, None
        same = before is not None and before.body == body and set(secret) <= set(before.sensitive)
        if same and params["expect"] in (None, before and before.version):
            return before, before
        return before, change.put(kind, key, body, expect=params["expect"], sensitive=secret)

    try:
        if check:
            before, after = store.backend.run(lambda tx: work(Change(Rehearsal(tx), store.seal)), write=False)
        else:
            before, after = store.change(work)
    finally:
        store.close()
    changed = before != after
    return {"changed": changed, "record": shown(after), "diff": _diff(before, after, f"{kind}/{key}")}


def find_records(params: Mapping[str, Any]) -> dict[str, Any]:
    """One record, or those that a query finds."""
    store = store_of(params, None if params["reveal"] else Veil())
    try:
        if params["key"] is not None:
            found = store.find(params["kind"], params["key"])
            records = [found] if found else []
        else:
            records = store.list(params["kind"], query_of(params))
    finally:
        store.close()
    return {"changed": False, "records": [shown(record, () if params["reveal"] else None) for record in records]}


def query_of(params: Mapping[str, Any]) -> Query:
    names = ("prefix", "after", "descending", "limit")
    return Query(where=params["where"] or {}, **{name: params[name] for name in names})


def shown(record: Record | None, hidden: Sequence[str] | None = None) -> dict[str, Any] | None:
    """A record as a task returns it; without ``hidden`` what is sensitive is left out."""
    if record is None:
        return None
    fields = {"kind": record.kind, "key": record.key, "version": record.version, "time": record.time}
    body = {**record.body, **dict.fromkeys(record.sensitive if hidden is None else hidden, HIDDEN)}
    return {**fields, "sensitive": list(record.sensitive), "body": body}


def _diff(before: Record | None, after: Record | None, header: str) -> dict[str, str]:
    diff = diff_of((shown(before) or {}).get("body"), (shown(after) or {}).get("body"), header)
    if before and after and before != after and diff["before"] == diff["after"]:
        diff["after"] += "# a value that is not shown here changes\n"
    return diff
