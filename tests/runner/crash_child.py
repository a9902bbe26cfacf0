# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of an attempt, as it is, but for what it runs: a shell takes the place of ansible-playbook.

The shell and a sleeper that takes no notice of SIGTERM, each marked with the run's cookie, hold a lock on the job's
target as long as they live, and write down who comes upon it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

sys.modules["ansible_runner"] = sys.modules["ansible_runner.interface"] = ModuleType("ansible_runner")

from rackstead import run
from rackstead.jobs import child
from rackstead.processes import COOKIE

STEPS = """
exec 9>>"lock-$2"
flock -n 9 || echo "overlap $1" >> log
echo "begin $1" >> log
setsid sh -c 'trap "" TERM; exec sleep 300' & sleeper=$!
sleep 0.1
echo "end $1" >> log
kill -9 $sleeper
wait
"""


def play(
    request: run.Request, _private: Path, cookie: str, _follow: Path, listen: Callable[[Mapping[str, Any]], None]
) -> run.Outcome:
    listen({"event": "playbook_on_start"})
    words = ["sh", "-c", STEPS, "sh", cookie, request.variables["server"]]
    environment = {**os.environ, COOKIE: cookie}
    done = subprocess.run(words, cwd=request.variables["folder"], env=environment, start_new_session=True)
    listen({"event": "playbook_on_stats", "event_data": {"ok": {"localhost": 1}}})
    return run.Outcome(done.returncode)


if __name__ == "__main__":
    run._play = play
    child.main()
