# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several commands share, each written once, and the way in which commands come by them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import EXTRA, HERE, JSON, ON_SERVER, SERVER_CA, BadUsage, guarded, place_option
from .options import Job as Command
from .terminal import Terminal

if TYPE_CHECKING:
    from .remote.config import Choice
    from .remote.service import Remote

#: How every group of commands looks.
STYLE: dict[str, Any] = {"rich_markup_mode": "rich", "no_args_is_help": True}
Run = Callable[..., int]


class Block:
    """Base of dataclasses whose fields are options: a parameter of such a class stands for all of them."""


@dataclass(frozen=True)
class Where(Block):
    """Where something is to be done: through a server, or here in a state store."""

    server: Annotated[str, ON_SERVER] = ""
    server_ca: Annotated[str, SERVER_CA] = ""
    local: Annotated[bool, HERE] = False
    state: Annotated[str, place_option("--state", "URL", "The state store. (RACKSTEAD_STATE)")] = ""

    def choice(self) -> Choice | None:
        """The server to go through, or None. A state store that is named by an option is meant itself."""
        from .remote.config import choose

        return None if self.state else choose(self.server, self.server_ca, self.local)


@contextmanager
def server_of(where: Where, told: Command) -> Iterator[Remote | None]:
    """The server that is meant, which is there; None where this machine is."""
    choice = where.choice()
    if choice is None:
        yield None
        return
    from .remote.service import connected

    with connected(choice) as remote:
        remote.client.tell = told.terminal.note
        yield remote


def refuse_at_a_server(where: Where, what: str) -> None:
    """Raises BadUsage where a server is meant, for what is done on the machine that has the state store."""
    choice = where.choice()
    if choice:
        raise BadUsage(f"{what} does not go through a server ({choice.url}): run it on the server, with --local")


@dataclass(frozen=True)
class Place(Where):
    """The same, with the files of jobs."""

    data: Annotated[str, place_option("--data", "DIR", "Where jobs leave events and output. (RACKSTEAD_DATA)")] = ""

    def choice(self) -> Choice | None:
        return None if self.data else super().choice()


@dataclass(frozen=True)
class Orders(Block):
    """How a job is to run."""

    extra: Annotated[list[str] | None, EXTRA] = None
    check: Annotated[bool, typer.Option("--check", "--dry-run", help="Show what would be done, and do nothing.")] = (
        False
    )
    diff: Annotated[bool, typer.Option("--diff", help="Show the differences line by line.")] = False
    limit: Annotated[
        str,
        typer.Option("--limit", "-l", metavar="PATTERN", help="Hosts of the workflow's inventory.", show_default=False),
    ] = ""
    tags: Annotated[
        list[str] | None,
        typer.Option("--tags", "-t", metavar="TAG", help="Only these tasks. Repeatable.", show_default=False),
    ] = None
    priority: Annotated[
        int | None,
        typer.Option(min=0, max=9, metavar="0-9", help="0 comes first. (default: the workflow's)", show_default=False),
    ] = None
    retries: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Further attempts. (default: the workflow's)", show_default=False),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Of one attempt. (default: the workflow's)", show_default=False),
    ] = None
    node: Annotated[
        str,
        typer.Option("--node", metavar="NAME", help="The Receptor node to run it on.", show_default=False),
    ] = ""


def spread(function: Run, *, hidden: tuple[str, ...] = (), further: tuple[inspect.Parameter, ...] = ()) -> Run:
    """The function with its blocks as options. ``hidden`` parameters are the caller's, ``further`` are for them."""
    own = inspect.signature(function, eval_str=True).parameters
    blocks = {name: one.annotation for name, one in own.items() if _is_block(one.annotation)}
    parameters: list[inspect.Parameter] = []
    for name, one in own.items():
        if name in blocks:
            parameters += _options(blocks[name])
        elif name not in hidden:
            parameters.append(one.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    parameters += further

    @functools.wraps(function)
    def wrapper(**given: Any) -> int:
        made = {name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in blocks.items()}
        return function(**made, **given)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
    del wrapper.__wrapped__
    return wrapper


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Block)


def _options(block: Any) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(block, include_extras=True)
    return [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=_default(one), annotation=hints[one.name])
        for one in fields(block)
    ]


def _default(one: Field[Any]) -> Any:
    return inspect.Parameter.empty if one.default is MISSING else one.default


AS_JSON = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, JSON])


def registered(group: typer.Typer, title: str, *, epilog: str = "", panel: str | None = None) -> Callable[[Run], Run]:
    """Register ``function(told, …)`` under the last word of ``title``, with ``--json``.

    Blocks among its parameters become options; errors that are raised on purpose become lines and exit codes.
    """

    def wrap(function: Run) -> Run:
        inner = spread(function, hidden=("told",), further=(AS_JSON,))

        @functools.wraps(inner)
        def wrapper(**given: Any) -> int:
            told = Command(title, Terminal(as_json=given.pop("as_json")))
            return guarded(told, lambda: inner(told=told, **given))

        name = title.rpartition(" ")[2]
        return group.command(name, epilog=epilog or None, rich_help_panel=panel)(wrapper)

    return wrap
