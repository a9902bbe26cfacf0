# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attempts as processes of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..jobs.execution import Attempt, Children, Process
from ..jobs.model import Job
from ..jobs.workflows import Workflow


class Local:
    def __init__(self) -> None:
        self._children = Children()

    def attempt(self, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path) -> Attempt:
        return Process(self._children, job, workflow, variables, folder)

    def tend(self) -> None:
        self._children.refill()

    def close(self) -> None:
        self._children.close()
