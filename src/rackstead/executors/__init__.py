# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where attempts of jobs run: in processes of the worker (``local``), as jobs of an AWX (``awx``), or on the Receptor
node that the job names."""

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


class ByNode:
    """Gives jobs that name a node to Receptor, and the others to another executor."""

    def __init__(self, other: Executor, nodes: Executor | None) -> None:
        self._other = other
        self._nodes = nodes

    def attempt(self, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path) -> Attempt:
        if not job.node:
            return self._other.attempt(job, workflow, variables, folder)
        if self._nodes is None:
            raise InvalidInput(
                [f'--node: "{job.node}" is not in reach: this worker has no Receptor; allowed with --receptor-socket']
            )
        return self._nodes.attempt(job, workflow, variables, folder)

    def tend(self) -> None:
        for one in (self._other, self._nodes):
            if one:
                one.tend()

    def close(self) -> None:
        for one in (self._other, self._nodes):
            if one:
                one.close()


def with_nodes(other: Executor, store: Store, socket: str = "") -> Executor:
    """An executor that can also reach nodes, where a control socket is named here or in the environment."""
    from .receptor_client import settings

    found = settings(socket)
    if found is None:
        return ByNode(other, None)
    from .receptor import Receptor

    return ByNode(other, Receptor(found, store))


def choose(
    name: str,
    store: Store,
    *,
    url: str = "",
    ca: str = "",
    token_file: str = "",
    prefix: str = "",
    socket: str = "",
) -> Executor:
    """The executor of this name, by default that of RACKSTEAD_EXECUTOR. Raises what is wrong with its settings."""
    name = name or os.environ.get("RACKSTEAD_EXECUTOR", "") or "local"
    if name == "local":
        from .local import Local

        return with_nodes(Local(), store, socket)
    if name != "awx":
        raise InvalidInput([f'--executor: "{name}" is not an executor; allowed: local, awx'])
    from .awx import Awx
    from .awx_client import settings

    found = Awx(settings(url, ca, token_file, prefix), store)
    found.check()
    return with_nodes(found, store, socket)
