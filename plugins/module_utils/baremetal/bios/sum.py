# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Supermicro's Update Manager, run on the host that it is about (in-band) or beside its BMC (out-of-band).

SUM takes a BMC's password as an argument, or in a file of systems (``-l``). It gets it in the file here: that
only its owner can read, in a folder that only its owner can enter, and for as long as the command runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from ...common.deadline import Deadline, wait_until
from ...common.errors import (
    Conflict,
    DeadlineExceeded,
    Denied,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
    Unsupported,
)
from ..ssh import Result, Shell
from .document import Document
from .model import PENDING, BiosDocument, Pending, Pushed, SettingChange
from .verify import verify

FOLDER = "rackstead-bios"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
BUSY = (106, 107)
#: Exit code -> kind of error, what it means, what can be done. All others are failures with SUM's own words.
EXITS: dict[int, tuple[type[RacksteadError], str, str]] = {
    9: (OperationFailed, "the file is there already", ""),
    60: (OperationFailed, "SUM cannot use the BIOS file", "fetch it anew: it may be of another board or BIOS version"),
    80: (
        Unsupported,
        "the product key is not activated",
        "activate SFT-OOB-LIC or SFT-DCMS-SINGLE on this machine's BMC",
    ),
    100: (
        OperationFailed,
        "SUM's driver cannot be loaded",
        "run it as root, on a kernel that its driver was built for",
    ),
    101: (
        OperationFailed,
        "SUM's driver cannot be loaded",
        "run it as root, on a kernel that its driver was built for",
    ),
    103: (Unsupported, "this machine cannot be configured in-band", "take the out-of-band way"),
    105: (OperationFailed, "SUM's driver does not work", "run it as root, on a kernel that its driver was built for"),
    145: (Unreachable, "SUM does not reach the BMC", ""),
    146: (Denied, "the BMC refuses SUM's login; tried once", "check the BMC's username and password"),
}


@dataclass(frozen=True)
class Login:
    """The BMC that SUM is to log in to, out-of-band."""

    host: str
    username: str
    password: str = field(repr=False)

    def line(self) -> str:
        """As SUM's file of systems has it. Blanks part its columns."""
        if any(not text or len(text.split()) != 1 for text in (self.host, self.username, self.password)):
            raise InvalidInput(["bmc: host, username and password must not be empty or hold blanks; allowed: others"])
        return f"{self.host} {self.username} {self.password}\n"


class Sum:
    """SUM at ``program``, an absolute path: another program by the name of ``sum`` is on every machine.

    ``bmc`` makes it out-of-band; then the shell is that of any machine that reaches the BMC. ``sudo`` runs SUM
    as root through sudo, which must not ask. ``pause`` is how long a busy SUM is first left alone, and ``lag`` how
    long a BMC may take to show what the firmware has handed over, in seconds.
    """

    vendor = "supermicro"

    def __init__(
        self,
        shell: Shell,
        program: str,
        *,
        sudo: bool = False,
        bmc: Login | None = None,
        pause: float = 2.0,
        lag: float = 300.0,
    ) -> None:
        if not program.startswith("/"):
            raise InvalidInput([f'sum: "{program}" is not valid; allowed: the absolute path of Supermicro\'s sum'])
        self.shell = shell
        self.program = program
        self.where = f"BMC {bmc.host}" if bmc else shell.where
        self._sudo = ["sudo", "-n", "--"] if sudo else []
        self._bmc = bmc
        self._pause, self._lag = pause, lag

    def __enter__(self) -> Sum:
        self.shell.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shell.__exit__(*exc)

    # -- documents ------------------------------------------------------------------------------------
    def fetch(self, deadline: Deadline) -> Document:
        with self._folder(deadline) as folder:
            path = f"{folder}/current.xml"
            self._sum(folder, ["GetCurrentBiosCfg", "--file", path, "--overwrite"], deadline)
            if self._bmc:  # with a file of systems, each system's output has its address at the end
                path = f"{path}.{self._bmc.host}"
            if self._sudo:
                self.shell.run([*self._sudo, "chmod", "0644", path], deadline)
            try:
                data = self.shell.read_file(path)
            except NotFound as exc:
                raise OperationFailed("SUM ended well and has written no file", where=self.where) from exc
        return Document.parse(data, f"BIOS file of {self.where}")

    def push(self, document: BiosDocument, changes: Sequence[SettingChange], deadline: Deadline) -> Pushed:
        with self._folder(deadline) as folder:
            path = f"{folder}/changes.xml"
            self.shell.write_file(path, document.only(changes).encode())
            self._sum(folder, ["ChangeBiosCfg", "--file", path], deadline)
        if not self._bmc:
            earlier = self.pending(deadline)
            values = {**(earlier.values if earlier else {}), **{change.key: change.after for change in changes}}
            boot, mark = self._boot_and_mark(deadline)
            listed = [[*key, value] for key, value in values.items()]
            self.shell.write_file(mark, json.dumps({"boot": boot, "values": listed}).encode())
        return Pushed(tuple(changes))

    def pending(self, deadline: Deadline) -> Pending | None:
        """SUM does not tell. In-band, a mark on the host does, which counts until the next boot."""
        if self._bmc:
            return None
        boot, mark = self._boot_and_mark(deadline)
        me = self.shell.run(["id", "-u"], deadline).out.strip()
        if str(self.shell.owner(mark)) != me:
            return None  # none there, or somebody else's
        try:
            found = json.loads(self.shell.read_file(mark))
            values = {(tuple(menu), str(name), int(order)): str(value) for menu, name, order, value in found["values"]}
            same = bool(boot) and found["boot"] == boot
        except (ValueError, KeyError, TypeError, NotFound):
            return None
        return Pending(values, PENDING) if same and values else None

    def settled(self, pushed: Pushed, deadline: Deadline) -> dict[str, str]:
        seen = ""

        def answers() -> Document | None:
            nonlocal seen
            try:
                self._again()
                return self.fetch(deadline)
            except (Unreachable, Conflict) as exc:
                seen = exc.what
                return None

        def there() -> Document | None:
            # Out-of-band, the BMC shows the old values until the firmware has handed over the new ones.
            found = answers()
            return found if found and not verify(found, pushed.changes)[1] else None

        wait_until(answers, deadline, what="SUM to answer after the boot", first=0.5, most=10, last_seen=lambda: seen)
        if self._bmc:
            with suppress(DeadlineExceeded):  # what is not there by then was rejected
                wait_until(there, Deadline(min(self._lag, deadline.remaining())), what="new values", first=1, most=15)
        return {}

    def _again(self) -> None:
        """Have a session, if the last one has ended."""
        if not self.shell.alive():
            self.shell.__exit__()
            self.shell.__enter__()

    # -- boots ----------------------------------------------------------------------------------------
    def boot_id(self, deadline: Deadline) -> str:
        """What tells one boot of the host from the next; nothing where there is no such thing."""
        return self.shell.run(["cat", BOOT_ID], deadline).out.strip() if not self._bmc else ""

    def await_boot(self, before: str, deadline: Deadline) -> None:
        """Wait until the host has booted since it gave ``before``, and can be logged in to. Raises DeadlineExceeded."""
        if self._bmc:
            return  # nothing of the host is seen from here; ``settled`` waits for its values
        seen = "the old boot"

        def again() -> bool | None:
            nonlocal seen
            try:
                self._again()
                now = self.boot_id(Deadline(min(15.0, max(deadline.remaining(), 1.0))))
            except (Unreachable, DeadlineExceeded) as exc:
                self.shell.__exit__()
                seen = exc.what
                return None
            return True if now != before else None

        wait_until(again, deadline, what=f"{self.where} to boot", first=0.5, most=5, last_seen=lambda: seen)

    def _boot_and_mark(self, deadline: Deadline) -> tuple[str, str]:
        """This boot, and the file that says what has been pushed in it."""
        place = hashlib.sha256(self.program.encode()).hexdigest()[:12]
        told = self.shell.run(["sh", "-c", f'cat {BOOT_ID}; printf %s "${{TMPDIR:-/tmp}}"'], deadline).out
        boot, _line, folder = told.partition("\n")
        return boot.strip(), f"{folder}/{FOLDER}-{place}.json"

    # -- the program ----------------------------------------------------------------------------------
    @contextmanager
    def _folder(self, deadline: Deadline) -> Iterator[str]:
        """A folder of our own there. What a killed run has left, and is an hour old, goes too."""
        old = ["-maxdepth", "1", "-name", f"{FOLDER}.*", "-user", '"$(id -u)"', "-mmin", "+60"]
        clean = f'find "${{TMPDIR:-/tmp}}" {" ".join(old)} -exec rm -rf {{}} +'
        made = self.shell.run(["sh", "-c", f"{clean}; exec mktemp -d --tmpdir {FOLDER}.XXXXXXXX"], deadline)
        folder = made.out.strip()
        if made.rc or not folder.startswith("/"):
            raise OperationFailed(f"cannot make a temporary folder: {made.said}", where=self.shell.where)
        try:
            yield folder
        finally:
            with suppress(Unreachable, DeadlineExceeded):  # gone with the host, or cleaned up next time
                self.shell.run(["rm", "-rf", "--", folder], Deadline(30))

    def _sum(self, folder: str, words: Sequence[str], deadline: Deadline) -> None:
        argv = [*self._sudo, self.program]
        if self._bmc:
            systems = f"{folder}/systems"
            self.shell.write_file(systems, self._bmc.line().encode())
            argv += ["-l", systems]
        argv += ["-c", *words]

        def ended() -> Result | None:
            result = self.shell.run(argv, deadline)
            return None if result.rc in BUSY else result

        try:
            result = wait_until(ended, deadline, what=f"SUM's {words[0]}", first=self._pause, most=15)
        except DeadlineExceeded as exc:
            raise Conflict(
                f"SUM is busy, or does not end: {exc.what}", where=self.where, hint="try again later"
            ) from exc
        if result.rc:
            raise self._failed(words[0], result)

    def _failed(self, command: str, result: Result) -> RacksteadError:
        said = result.said
        if self._bmc:
            said = said.replace(self._bmc.password, "********")
        if result.rc in (126, 127):
            return NotFound(f"{self.program} cannot be run: {said}", where=self.shell.where, hint="install SUM there")
        if self._sudo and said.startswith("sudo:"):
            return Denied(f"sudo: {said.removeprefix('sudo:').strip()}", where=self.shell.where)
        kind, what, hint = EXITS.get(result.rc, (OperationFailed, "failed", ""))
        return kind(f"{command}: {what} (exit code {result.rc}: {said or 'no words'})", where=self.where, hint=hint)
