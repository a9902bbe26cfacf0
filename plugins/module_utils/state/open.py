# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backend a URL means."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..common.errors import InvalidInput
from .backend import Backend
from .follow import Following
from .seal import keys_from_environment
from .store import Seal, Store

EXAMPLES = "file:/var/lib/rackstead/state, sqlite:/var/lib/rackstead/state.db, postgresql://user@host/database, surrealkv:/path"


def default_url() -> str:
    """Where the state is if nobody says: the environment's RACKSTEAD_STATE, else a folder."""
    own = "/var/lib/rackstead/state" if os.getuid() == 0 else "~/.local/state/rackstead/state"
    return os.environ.get("RACKSTEAD_STATE") or f"file:{own}"


def open_store(url: str, *, keys: Seal | None = None) -> Store:
    """The store at ``url``, or where it has moved. Nothing is made or connected before the first transaction.

    Without ``keys``, those of the environment open and seal what is sensitive.
    """
    return Store(Following(url, open_backend), keys or keys_from_environment())


def open_backend(url: str) -> Backend:
    """What keeps the records at ``url``, whatever is going on with them."""
    scheme, colon, _rest = url.partition(":")
    opener = OPENERS.get(scheme)
    if not colon or opener is None:
        # Not the URL itself: it may hold a password.
        raise InvalidInput([f'state store: "{scheme[:20]}" is no kind of store; allowed: URLs such as {EXAMPLES}'])
    return opener(url)


def path_of(url: str) -> Path:
    """The path in ``file:/path``, ``file:///path`` or ``file:path``."""
    scheme, _colon, rest = url.partition(":")
    if rest.startswith("//"):
        rest = rest[2:] if rest.startswith("///") else ""
    if not rest:
        raise InvalidInput([f"state store: the URL names no path; allowed: {scheme}:/path/to/it"])
    return Path(rest).expanduser().absolute()


def _file(url: str) -> Backend:
    from .filestore import FileBackend

    return FileBackend(path_of(url))


def _sqlite(url: str) -> Backend:
    from .sqlstore import SqlBackend, Sqlite

    return SqlBackend(Sqlite(path_of(url)))


def _postgresql(url: str) -> Backend:
    from .sqlstore import Postgres, SqlBackend, postgres_url

    return SqlBackend(Postgres(postgres_url(url)))


def _surrealkv(url: str) -> Backend:
    from .surreal import embedded

    return embedded(path_of(url))


def _surreal_server(url: str) -> Backend:
    from .surreal import server

    return server(url)


OPENERS: dict[str, Callable[[str], Backend]] = {
    "file": _file,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "surrealkv": _surrealkv,
    "ws": _surreal_server,
    "wss": _surreal_server,
}
