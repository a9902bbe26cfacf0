# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tree of errors: each says what happened, where, and what to do about it."""

from __future__ import annotations


class RacksteadError(Exception):
    """Base of every error this collection raises on purpose.

    ``where`` names the resource or field, ``hint`` says what the reader can do next.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.hint}" if self.hint else text

    def at(self, where: str) -> RacksteadError:
        """Name the resource this error belongs to, unless somebody nearer did already."""
        if not self.where.startswith(where):
            self.where = f"{where}: {self.where}" if self.where else where
        return self


class InvalidInput(RacksteadError):
    """What the user wrote cannot be used. ``problems`` holds one line for each fault found."""

    def __init__(self, problems: list[str], *, where: str = "") -> None:
        super().__init__("\n".join(problems), where=where)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Unreachable(RacksteadError):
    """The outside system does not answer: no socket, refused, TLS failure, connection lost."""


class Denied(RacksteadError):
    """The outside system answers, but not to us: certificate not trusted, project restricted."""


class NotFound(RacksteadError):
    """The named thing does not exist."""


class Conflict(RacksteadError):
    """The name is taken, the thing is in use, or it changed under our hands (ETag)."""


class Unsupported(RacksteadError):
    """The outside system cannot do this at all."""


class OperationFailed(RacksteadError):
    """The outside system accepted the request and failed at it."""


class DeadlineExceeded(RacksteadError):
    """A condition did not come true in time."""


class Moved(RacksteadError):
    """Reality is no longer what a saved plan was made from."""
