# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker of ``rackstead serve``, a process of its own: ``python -m rackstead.server.worker PID PARALLEL``.

So the engine's work never keeps a request waiting, and if one of the two is killed the other is not lost: the
server starts the worker again, and the worker ends in good order when the server is gone.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from typing import Any

from ..cli_jobs import queue_url
from ..jobs.child import die_with
from ..run import Interrupted
from . import logs

log = logging.getLogger("rackstead.jobs")


def main() -> None:
    logs.set_up()
    bell = os.eventfd(0, os.EFD_CLOEXEC)

    def ring(_number: int, _frame: Any) -> None:
        # No exception: where a server of many threads dies, the signal comes many times.
        os.eventfd_write(bell, 1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ring)
    try:
        die_with(int(sys.argv[1]))
    except Interrupted:
        return  # the server is gone already
    work(int(sys.argv[2]), bell)


def work(parallel: int, bell: int) -> None:
    from ..executors import with_nodes
    from ..executors.local import Local
    from ..jobs.engine import Engine, Settings
    from ..jobs.service import open_service

    service = open_service()
    engine = Engine(service, Settings(parallel, queue_url("", "")), with_nodes(Local(), service.store))
    engine.start()
    log.info("worker %s: %d jobs at once", engine.identity.id, parallel)
    try:
        select.select([bell], [], [])
    finally:
        log.info("worker %s: stopping", engine.identity.id)
        engine.stop()
        service.store.close()


if __name__ == "__main__":
    main()
