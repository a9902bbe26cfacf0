# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where attempts of jobs run: in processes of the worker (``local``), or as jobs of an AWX (``awx``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from ..jobs.execution import Attempt
from ..jobs.model import Job
from ..jobs.workflows import Workflow


class Executor(Protocol):
    """Belongs to one engine."""

    def attempt(self, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path) -> Attempt: ...

    def tend(self) -> None:
        """Called now and then by the engine's own thread: must not take long."""

    def close(self) -> None: ...


def choose(name: str, store: Store, *, url: str = "", ca: str = "", token_file: str = "", prefix: str = "") -> Executor:
    """The executor of this name, by default that of RACKSTEAD_EXECUTOR. Raises what is wrong with its settings."""
    name = name or os.environ.get("RACKSTEAD_EXECUTOR", "") or "local"
    if name == "local":
        from .local import Local

        return Local()
    if name != "awx":
        raise InvalidInput([f'--executor: "{name}" is not an executor; allowed: local, awx'])
    from .awx import Awx
    from .awx_client import settings

    found = Awx(settings(url, ca, token_file, prefix), store)
    found.check()
    return found
