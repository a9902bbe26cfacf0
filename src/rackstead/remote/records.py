# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store and the audit chain as a server offers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound

from .client import Client, quoted

Record = dict[str, Any]
#: By what a server can pick entries of the audit chain.
FIELDS = ("who", "action", "target", "result")


class Records:
    """Records are shown without secrets, as mappings with kind, key, version, time and body."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, kind: str, key: str) -> Record:
        found: Record = self._client.get(_path(kind, key))
        return found

    def some(self, kind: str, prefix: str, limit: int) -> list[Record]:
        return list(self._client.pages(f"/state/{quoted(kind)}", limit, **({"prefix": prefix} if prefix else {})))

    def put(self, kind: str, key: str, body: Mapping[str, Any], expect: int | None) -> Record:
        found: Record = self._client.send("PUT", _path(kind, key), body, _match(expect))
        return found

    def delete(self, kind: str, key: str, expect: int | None) -> bool:
        """Whether there was such a record."""
        try:
            self._client.send("DELETE", _path(kind, key), headers=_match(expect))
        except NotFound:
            return False
        return True

    def kinds(self) -> list[str]:
        return [str(one) for one in self._client.get("/state")["items"]]

    def audit(self, limit: int | None, params: Mapping[str, str]) -> Iterator[Record]:
        """Entries of the audit chain, the newest first unless ``sort`` says otherwise."""
        for name in params:
            if name not in (*FIELDS, "sort"):
                raise InvalidInput([f'--where: a server does not pick by "{name}"; allowed: {", ".join(FIELDS)}'])
        return self._client.pages("/audit", limit, **params)

    def verify(self) -> Record:
        """What the server found when it read the whole audit chain."""
        found: Record = self._client.get_slowly("/audit/verify")
        return found


def _path(kind: str, key: str) -> str:
    return f"/state/{quoted(kind)}/{quoted(key)}"


def _match(expect: int | None) -> dict[str, str]:
    return {} if expect is None else {"If-Match": f'"{expect}"'}
