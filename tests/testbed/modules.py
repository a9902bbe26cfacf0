# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves `Modules` of testbed/ansible.py: a JSON request a line in, a JSON answer a line out.

Each module runs as ``__main__`` in a forked process, which reads its arguments from standard input
as a module started by hand does. Nothing of one run reaches the next.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import traceback
from typing import Any

import ansible.module_utils.basic  # noqa: F401  the part of a start that costs


def _child(request: dict[str, Any], stdin: int, out: int, err: int) -> None:
    for source, target in ((stdin, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ.update(request["env"])
    sys.argv = [request["module"]]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  whatever it was is the module's outcome, and goes to its stderr
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _result(stdout: str) -> Any:
    """The JSON document that a module printed, or None."""
    start = stdout.find("{")
    try:
        return json.loads(stdout[start:]) if start >= 0 else None
    except ValueError:
        return None


def answer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": request["args"]}).encode())
        stdin.seek(0)
        child = os.fork()
        if child == 0:
            _child(request, stdin.fileno(), out.fileno(), err.fileno())
        _pid, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    return {"rc": code, "stdout": stdout, "stderr": stderr, "result": _result(stdout)}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
