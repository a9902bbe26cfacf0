# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``state`` and ``audit``: the state store's records, its moves, and its audit chain."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from .answers import Exit
from .blocks import STYLE, Where, refuse_at_a_server, registered, server_of
from .cli_jobs import who
from .options import HERE, BadUsage
from .options import Job as Command
from .terminal import Terminal

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.state.migrate import Report
    from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
    from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

    from .remote.records import Records

state = typer.Typer(
    help="The state store: look into it, back it up, move it.", epilog="Example: rackstead state list note", **STYLE
)
key = typer.Typer(
    help="Keys that seal sensitive fields.", epilog="Example: rackstead state key new /etc/rackstead/keys", **STYLE
)
audit = typer.Typer(
    help="The audit chain: who did what, and that nobody changed it since.",
    epilog="Example: rackstead audit list -n 10",
    **STYLE,
)

Kind = Annotated[str, typer.Argument(metavar="KIND", help="The kind of record.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The record's key.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")]
After = Annotated[str, typer.Option("--after", metavar="KEY", help="Only after this key.", show_default=False)]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only keys that begin so.", show_default=False)]
Expect = Annotated[
    int | None,
    typer.Option("--expect", min=0, metavar="VERSION", help="Only at this version; 0: new.", show_default=False),
]
Filter = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="FIELD=VALUE", help="Only with this value. Repeatable.", show_default=False),
]
Sensitive = Annotated[
    list[str] | None,
    typer.Option("--sensitive", metavar="FIELD", help="Encrypt this field. Repeatable.", show_default=False),
]
Document = Annotated[str, typer.Argument(metavar="JSON", help="A JSON mapping, or - for standard input.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
Replace = Annotated[bool, typer.Option("--replace", help="Empty the store first, if it is not empty.")]
KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The key file; made if it is not there.")]


def register(app: typer.Typer, panel: str) -> None:
    state.add_typer(key, name="key")
    app.add_typer(state, name="state", rich_help_panel=panel)
    app.add_typer(audit, name="audit", rich_help_panel=panel)


def url_of(text: str) -> str:
    from ansible_collections.rackstead.infra.plugins.module_utils.state.open import default_url

    return text or default_url()


@contextmanager
def there(where: Where, told: Command) -> Iterator[Records | None]:
    """The records of the server that is meant, or None."""
    with server_of(where, told) as remote:
        if remote is None:
            yield None
            return
        from .remote.records import Records

        yield Records(remote.client)


@contextmanager
def here(where: Where, what: str) -> Iterator[Store]:
    """The store of this machine. Raises BadUsage where a server is meant."""
    refuse_at_a_server(where, what)
    with opened(where.state) as store:
        yield store


@contextmanager
def opened(text: str) -> Iterator[Store]:
    from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

    store = open_store(url_of(text))
    try:
        yield store
    finally:
        store.close()


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def table(heads: list[str], rows: list[list[str]]) -> Table:
    made = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*row)
    return made


def masked(record: Record) -> dict[str, Any]:
    """A record for showing: what is sealed at rest is not printed."""
    body = {name: "********" if name in record.sensitive else value for name, value in record.body.items()}
    return {"kind": record.kind, "key": record.key, "version": record.version, "time": record.time, "body": body}


# -- records ----------------------------------------------------------------------------------------
@registered(state, "state get", epilog="Example: rackstead state get note web-01")
def get(
    told: Command,
    kind: Kind,
    name: Key,
    where: Where,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show sensitive fields.")] = False,
) -> int:
    """Print a record's body."""
    if reveal:
        refuse_at_a_server(where, "--reveal")
    with there(where, told) as records:
        if records:
            content = records.get(kind, name)
        else:
            with opened(where.state) as store:
                found = store.get(kind, name)
            content = {**masked(found), **({"body": found.body} if reveal else {})}
    told.terminal.show(json.dumps(content["body"], indent=2, sort_keys=True, ensure_ascii=False))
    return told.end(Exit.OK, [], {"record": content})


@registered(state, "state put", epilog='Example: rackstead state put note web-01 \'{"text": "rack 3"}\'')
def put(
    told: Command,
    kind: Kind,
    name: Key,
    body: Document,
    where: Where,
    expect: Expect = None,
    sensitive: Sensitive = None,
) -> int:
    """Write a record."""
    text = sys.stdin.read() if body == "-" else body
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadUsage(f"JSON: not valid: {error}") from error

    def work(change: Change) -> Record:
        made = change.put(kind, name, document, expect=expect, sensitive=sensitive or ())
        _sign(change, "state put", f"{kind}/{name}", made.version)
        return made

    if sensitive:
        refuse_at_a_server(where, "--sensitive")
    with there(where, told) as records:
        if records:
            made = records.put(kind, name, document, expect)
        else:
            with opened(where.state) as store:
                made = masked(store.change(work))
    told.terminal.show(f"{kind}/{name} is at version {made['version']}")
    return told.end(Exit.OK, [], {"record": made})


def _sign(change: Change, action: str, target: str, version: int | None) -> None:
    """Who changed a record by hand stands in the audit chain, in the same transaction."""
    name, origin = who()
    change.append_audit(name, action, target, origin=origin, details={"version": version})


@registered(state, "state list", epilog="Example: rackstead state list note --prefix web-")
def list_(
    told: Command,
    kind: Kind,
    place: Where,
    where: Filter = None,
    prefix: Prefix = "",
    after: After = "",
    limit: Limit = 100,
) -> int:
    """Records of a kind, by key."""
    query = _query(where, prefix, after, limit)
    if where or after:
        refuse_at_a_server(place, "--where" if where else "--after")
    with there(place, told) as records:
        if records:
            found = records.some(kind, prefix, limit)
        else:
            with opened(place.state) as store:
                found = [masked(one) for one in store.list(kind, query)]
    rows = [[one["key"], str(one["version"]), moment(one["time"]), json.dumps(one["body"])[:100]] for one in found]
    told.terminal.show(table(["KEY", "VERSION", "WRITTEN", "BODY"], rows))
    return told.end(Exit.OK, [], {"records": found})


def _query(where: list[str] | None, prefix: str, after: str, limit: int) -> Query:
    from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query

    pairs = [text.partition("=") for text in where or ()]
    for name, equals, value in pairs:
        if not name or not equals:
            raise BadUsage(f'--where: "{name}{equals}{value}" is not valid; allowed: FIELD=VALUE')
    return Query({name: _scalar(value) for name, _equals, value in pairs}, prefix, after, limit=limit)


def _scalar(text: str) -> Any:
    """A number, true, false or null where it reads as one; else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) else value


@registered(state, "state delete", epilog="Example: rackstead state delete note web-01")
def delete(told: Command, kind: Kind, name: Key, where: Where, expect: Expect = None) -> int:
    """Delete a record."""

    def work(change: Change) -> bool:
        gone = change.delete(kind, name, expect=expect)
        if gone:
            _sign(change, "state delete", f"{kind}/{name}", expect)
        return gone

    with there(where, told) as records:
        if records:
            gone = records.delete(kind, name, expect)
        else:
            with opened(where.state) as store:
                gone = store.change(work)
    told.terminal.show(f"{kind}/{name} {'is deleted' if gone else 'was not there'}")
    return told.end(Exit.OK, [], {"changed": gone})


@registered(state, "state kinds", epilog="Example: rackstead state kinds")
def kinds(told: Command, where: Where) -> int:
    """The kinds that have records."""
    with there(where, told) as records:
        if records:
            found = records.kinds()
        else:
            with opened(where.state) as store:
                found = store.kinds()
    told.terminal.show(*found)
    return told.end(Exit.OK, [], {"kinds": found})


# -- moves ------------------------------------------------------------------------------------------
class Bar:
    """Progress on standard error: a bar on a terminal, nothing elsewhere."""

    def __init__(self, terminal: Terminal) -> None:
        columns = (TextColumn("{task.description:12}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=terminal.err, disable=not terminal.err.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._progress.start()
        return self.tell

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def tell(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=None)
        self._progress.update(self._tasks[stage], completed=done, total=total or None)


@registered(
    state, "state migrate", epilog="Example: rackstead state migrate --to sqlite:/var/lib/rackstead/state.db --live"
)
def migrate(
    told: Command,
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="The store as it is. (RACKSTEAD_STATE)", show_default=False)
    ] = "",
    target: Annotated[
        str, typer.Option("--to", metavar="URL", help="An empty store to move to.", show_default=False)
    ] = "",
    live: Annotated[bool, typer.Option("--live", help="Others go on writing meanwhile.")] = False,
    verify_only: Annotated[bool, typer.Option("--verify-only", help="Compare both, and change nothing.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="End a migration that has not switched.")] = False,
    local: Annotated[bool, HERE] = False,
) -> int:
    """Move the state to another kind of store. If it is killed, run it again. Asks for what is not given."""
    from ansible_collections.rackstead.infra.plugins.module_utils.state import migrate as core

    if not source:
        refuse_at_a_server(Where(local=local), "state migrate")
    asking = told.terminal.interactive and not told.terminal.as_json and not (source and (target or abort))
    source = source or (_asked(told, "From", url_of("")) if asking else url_of(""))
    if abort:
        left = core.abort(source)
        told.terminal.note(left or f"{core.public(source)} is as if nothing had been migrated")
        return told.end(Exit.FAILED if left else Exit.OK, [])
    target = target or (_asked(told, "To", "") if asking else "")
    if not target:
        raise BadUsage("--to: name the store to move to, such as sqlite:/var/lib/rackstead/state.db")
    if asking and not verify_only:
        live = live or told.terminal.confirm("Do others write meanwhile?")
    way = core.Migration(source, target, lambda *_told: None)
    try:
        with Bar(told.terminal) as way.tell:
            report = way.verify() if verify_only else way.run(live=live)
    finally:
        way.close()
    return _migrated(told, report, verify_only)


def _asked(told: Command, question: str, default: str) -> str:
    told.terminal.err.print(f"{question}{f' ({default})' if default else ''}: ", end="")
    told.terminal.err.file.flush()
    return sys.stdin.readline().strip() or default


def _migrated(told: Command, report: Report, verify_only: bool) -> int:
    same = not report.differences
    what = f"{report.records} records, {report.audit_entries} audit entries"
    if verify_only:
        told.terminal.show(f"both are the same: {what}" if same else f"{report.target} differs: {what} compared")
    elif report.already:
        told.terminal.show(f"{report.source} had moved to {report.target} already")
    else:
        told.terminal.show(f"{report.source} has moved to {report.target}: {what}, each verified")
        told.terminal.note(f"set RACKSTEAD_STATE={report.target}; until then those who use the old URL are led there")
    errors = [f"{one}: differs" for one in report.differences]
    return told.end(Exit.OK if same else Exit.FAILED, errors, {"migration": asdict(report)})


@registered(state, "state backup", epilog="Example: rackstead state backup state.backup")
def backup(told: Command, file: File, where: Where) -> int:
    """Save all of the store in one file."""
    from ansible_collections.rackstead.infra.plugins.module_utils.state import archive

    with here(where, "state backup") as store, Bar(told.terminal) as tell:
        made = archive.backup(store.backend, file, tell)
    told.terminal.show(f"{made.records} records are in {file} (sha256 {made.digest})")
    return told.end(Exit.OK, [], {"records": made.records, "sha256": made.digest})


@registered(state, "state restore", epilog="Example: rackstead state restore state.backup")
def restore(told: Command, file: File, where: Where, replace: Replace = False) -> int:
    """Fill an empty store from a backup.

    The backup is checked before anything is changed. If it is killed, run it again.
    """
    from ansible_collections.rackstead.infra.plugins.module_utils.state import archive
    from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_backend

    refuse_at_a_server(where, "state restore")
    backend = open_backend(url_of(where.state))
    try:
        with Bar(told.terminal) as tell:
            found = archive.restore(backend, file, tell, replace=replace)
    finally:
        backend.close()
    told.terminal.show(f"{found.records} records are restored")
    return told.end(Exit.OK, [], {"records": found.records, "sha256": found.digest})


# -- keys -------------------------------------------------------------------------------------------
@registered(key, "state key new", epilog="Example: rackstead state key new /etc/rackstead/keys")
def new(told: Command, file: KeyFile) -> int:
    """Put a new key first in a key file: it seals from now on, the others go on opening."""
    from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import new_key

    made, count = new_key(file)
    told.terminal.show(f"{file} has key {made} first, and {count} in all")
    return told.end(Exit.OK, [], {"key": made, "keys": count})


@registered(state, "state rekey", epilog="Example: rackstead state rekey")
def rekey(told: Command, where: Where) -> int:
    """Seal sensitive fields under the first key."""
    refuse_at_a_server(where, "state rekey")
    from ansible_collections.rackstead.infra.plugins.module_utils.state import seal

    keys = seal.keys_from_environment()
    if keys is None:
        raise BadUsage(f"{seal.FILE_VARIABLE}: is not set, and neither is {seal.VARIABLE}")
    with opened(where.state) as store:
        again, sealed = seal.rekey(store.backend, keys)
    told.terminal.show(f"{again} of {sealed} records with sensitive fields were sealed again, with key {keys.first}")
    return told.end(Exit.OK, [], {"changed": again, "records": sealed, "key": keys.first})


# -- audit ------------------------------------------------------------------------------------------
@registered(audit, "audit list", epilog="Example: rackstead audit list --where who=anna --where result=failed")
def entries(told: Command, place: Where, limit: Limit = 50, where: Filter = None) -> int:
    """The last entries, newest first."""
    from dataclasses import replace

    query = replace(_query(where, "", "", limit), descending=True)
    with there(place, told) as records:
        if records:
            found = list(records.audit(limit, {name: str(value) for name, value in query.where.items()}))
        else:
            with opened(place.state) as store:
                found = [asdict(one) for one in store.audit(query)]
    columns = ("who", "action", "target", "result")
    rows = [[str(one["seq"]), moment(one["time"]), *(str(one[name]) for name in columns)] for one in found]
    told.terminal.show(table(["NUMBER", "TIME", "WHO", "ACTION", "TARGET", "RESULT"], rows))
    return told.end(Exit.OK, [], {"entries": found})


@registered(audit, "audit verify", epilog="Example: rackstead audit verify")
def verify(told: Command, where: Where) -> int:
    """Prove that no entry was changed or taken away. Exit code 1 if one was."""
    with there(where, told) as records:
        if records:
            found = records.verify()
        else:
            with opened(where.state) as store:
                found = asdict(store.verify_audit())
    if found["ok"]:
        told.terminal.show(f"the audit chain is whole: {found['count']} entries")
    return told.end(Exit.OK if found["ok"] else Exit.FAILED, [found["why"]] if found["why"] else [], {"audit": found})


@registered(audit, "audit export", epilog="Example: rackstead audit export > audit.jsonl")
def export(told: Command, where: Where) -> int:
    """All entries, oldest first, one JSON document a line (with --json: in one document)."""
    found: list[dict[str, Any]] = []
    with there(where, told) as records:
        if records:
            _export(told, records.audit(None, {"sort": "seq"}), found)
        else:
            with opened(where.state) as store:
                _export(told, _every(store), found)
    return told.end(Exit.OK, [], {"entries": found})


def _every(store: Store) -> Iterator[dict[str, Any]]:
    from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query

    after = ""
    while page := store.audit(Query(after=after, limit=1000)):
        after = f"{page[-1].seq:016d}"
        yield from (asdict(one) for one in page)


def _export(told: Command, entries: Iterator[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    for one in entries:
        told.terminal.show(json.dumps(one))
        if told.terminal.as_json:
            found.append(one)
