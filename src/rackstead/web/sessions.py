# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions of browsers. Who signs in gives a token once; the browser keeps a random id, and the store its digest."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

from ..server.tokens import TOKEN, Token, Tokens, digest

SESSION = "session"
#: Seconds until one has to sign in again.
LIFE = 12 * 3600.0
MOST = 1000


def new_id() -> str:
    return secrets.token_urlsafe(32)


def proof(session: str) -> str:
    """What a form of this session carries, and a page of another site cannot know."""
    return hashlib.sha256(f"form {session}".encode()).hexdigest()


def proven(session: str, given: str) -> bool:
    return bool(session) and hmac.compare_digest(proof(session).encode(), given.encode())


class Sessions:
    def __init__(self, store: Store, tokens: Tokens) -> None:
        self.store = store
        self.tokens = tokens

    def open(self, text: str, origin: str) -> str | None:
        """The id of a new session, or None if the token is not good."""
        token = self.tokens.find(text)
        if token is None:
            return None
        session = new_id()

        def work(change: Change) -> None:
            now = change.now()
            for record in change.list(SESSION, Query(limit=MOST)):
                if record.body["expires"] <= now:
                    change.delete(SESSION, record.key)
            body = {"token": token.name, "digest": digest(text), "expires": now + LIFE}
            change.put(SESSION, digest(session), body)
            change.append_audit(token.name, "session.open", f"{TOKEN}/{token.name}", origin=origin)

        self.store.change(work)
        return session

    def find(self, session: str) -> Token | None:
        """The token of a session, if both are good still."""

        def work(change: Change) -> tuple[float, Record | None, Record | None]:
            found = change.find(SESSION, digest(session))
            return change.now(), found, change.find(TOKEN, found.body["token"]) if found else None

        now, found, record = self.store.read(work)
        if not found or not record or found.body["expires"] <= now or record.body["digest"] != found.body["digest"]:
            return None
        token = Token.of(record)
        return token if token.expires is None or token.expires > now else None

    def close(self, session: str, who: str, origin: str) -> None:
        def work(change: Change) -> None:
            if change.delete(SESSION, digest(session)):
                change.append_audit(who, "session.close", f"{TOKEN}/{who}", origin=origin)

        self.store.change(work)
