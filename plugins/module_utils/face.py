# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the core meets Ansible: connection options, one way in, one way out.

This is the only file below module_utils that knows AnsibleModule. Modules of all domains carry it to their targets: it
imports no client of any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, env_fallback

from .common.errors import InvalidInput, RacksteadError
from .instances.incus.variables import CONNECTION


def connection_spec() -> dict[str, Any]:
    """Argument spec of the doc fragment ``rackstead.infra.connection``."""
    spec: dict[str, Any] = {}
    for option, (variable, _field) in CONNECTION.items():
        kind = "path" if option in ("client_cert", "client_key", "ca_cert") else "str"
        spec[option] = {"type": kind, "fallback": (env_fallback, [variable]), "no_log": False}
    return spec


def fallbacks(spec: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """An argument spec whose options are taken from environment variables where they are not given."""
    added = {option: {"fallback": (env_fallback, [variable])} for option, variable in variables.items()}
    return {option: {**one, **added.get(option, {})} for option, one in spec.items()}


def failure(error: RacksteadError) -> dict[str, Any]:
    """How an error looks in a task's result."""
    result: dict[str, Any] = {"msg": str(error), "failure": {"code": type(error).__name__, "where": error.where}}
    if isinstance(error, InvalidInput):
        result["problems"] = error.problems
    return result


def run_module(
    argument_spec: dict[str, Any],
    run: Callable[[AnsibleModule], dict[str, Any]],
    *,
    connection: bool = True,
    **options: Any,
) -> NoReturn:
    """Build the module, call ``run(module)`` for its result, and turn the core's errors into failures.

    ``connection`` gives it the options of a connection to Incus.
    """
    common = connection_spec() if connection else {}
    module = AnsibleModule(argument_spec={**common, **argument_spec}, supports_check_mode=True, **options)
    try:
        result = run(module)
    except RacksteadError as error:
        module.fail_json(**failure(error))
    module.exit_json(**result)
    raise AssertionError("exit_json returned")


def plan_spec() -> dict[str, Any]:
    """Argument spec of the plan task, shared by the module and the action plugin."""
    from .instances.plantask import OPTIONS

    fallback = {"fallback": (env_fallback, ["RACKSTEAD_PROGRESS_FILE"])}
    return {**OPTIONS, "progress_file": {**OPTIONS["progress_file"], **fallback}}
