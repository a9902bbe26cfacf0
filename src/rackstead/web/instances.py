# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instances at the provider that the server's environment names, asked for in a thread with a deadline."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import CancelledError, Future
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError

LOG = logging.getLogger(__name__)
#: Seconds for an answer.
SECONDS = 3.0
ACTIONS = ("start", "stop", "snapshot")
Instances = list[dict[str, Any]]


class Provider:
    """One question at a time: who asks meanwhile gets the same answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: Future[Instances] | None = None

    def look(self) -> tuple[Instances, str]:
        """The instances, and a sentence if there is no answer."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                # A thread that the server does not wait for when it ends.
                threading.Thread(target=_answer, args=(self._asked,), name="provider", daemon=True).start()
            asked = self._asked
        try:
            return asked.result(SECONDS), ""
        except TimeoutError:
            return [], f"The provider has not answered in {SECONDS:g} s."
        except (RacksteadError, OSError) as error:
            return [], f"No provider answers: {error}."
        except CancelledError:
            return [], "Asking the provider has failed; the server's log says how."


def _answer(asked: Future[Instances]) -> None:
    try:
        asked.set_result(_ask())
    except (RacksteadError, OSError) as error:
        asked.set_exception(error)
    except Exception:  # whoever waits must get an answer, whatever it was
        LOG.exception("asking the provider has failed")
        asked.cancel()


def _ask() -> Instances:
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.facts import instance_facts
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.variables import CONNECTION

    given = {option: os.environ.get(variable) for option, (variable, _field) in CONNECTION.items()}
    return instance_facts(client_of(given), [], state=True, everywhere=True)
