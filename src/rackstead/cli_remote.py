# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``login`` and ``logout``: which server this user's commands go through."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated

import typer

from .answers import Exit
from .blocks import registered
from .options import SERVER_CA, BadUsage
from .options import Job as Command

Url = Annotated[str, typer.Argument(metavar="URL", help="The server, such as https://rackstead.example:8650.")]


def register(app: typer.Typer, panel: str) -> None:
    login = registered(app, "login", panel=panel, epilog="Example: rackstead login http://localhost:8650 < admin.token")
    login(log_in)
    logout = registered(app, "logout", panel=panel, epilog="Example: rackstead logout")
    logout(log_out)


def log_in(told: Command, url: Url, server_ca: Annotated[str, SERVER_CA] = "") -> int:
    """Have this user's commands go through a server from now on. Reads the token, which it tries, from standard input."""
    from .remote.config import CA, checked, keep
    from .remote.service import connected

    token = getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise BadUsage("the token is to come on standard input, such as: rackstead login URL < admin.token")
    choice = checked(url, token.strip(), server_ca or os.environ.get(CA, ""))
    with connected(choice) as remote:
        remote.catalog.read()  # whether the token is good
    path = keep(choice)
    told.terminal.note(f"commands go through {choice.url} from now on; the token is in {path}")
    return told.end(Exit.OK, [], {"server": choice.url})


def log_out(told: Command) -> int:
    """Have this user's commands be done on this machine again, and forget the token."""
    from .remote.config import forget

    told.terminal.note("commands are done on this machine" if forget() else "there was no server")
    return told.end(Exit.OK, [])
