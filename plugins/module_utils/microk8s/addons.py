# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addons: enabled with their arguments, disabled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import Conflict, InvalidInput
from ..common.problems import nearest
from ..common.show import diff_of
from .client import MicroK8s
from .model import Addon

#: What the repository ``core`` has had for years; for input that is looked at before MicroK8s is there to be asked.
CORE = (
    "cert-manager cis-hardening community dns gpu ha-cluster helm helm3 host-access hostpath-storage ingress kube-ovn "
    "mayastor metallb metrics-server minio nvidia observability prometheus rbac registry rook-ceph storage dashboard"
).split()


def find(addons: Sequence[Addon], name: str) -> Addon:
    """The addon of this name, which may have its repository before it. Raises InvalidInput with the nearest."""
    repository, _slash, short = name.rpartition("/")
    found = [one for one in addons if one.name == short and repository in ("", one.repository)]
    if len(found) == 1:
        return found[0]
    if found:
        places = " and ".join(f"{one.repository}/{one.name}" for one in found)
        raise InvalidInput([f'name: "{name}" is ambiguous; allowed: {places}'])
    raise InvalidInput([f'name: there is no addon "{name}"{nearest(short, [one.name for one in addons])}'])


def ensure_addon(
    client: MicroK8s, name: str, enabled: bool, arguments: Sequence[str], seconds: float, check: bool
) -> dict[str, Any]:
    """The addon is enabled or disabled. Arguments count when it is enabled; they cannot be read back."""
    status = client.status()
    if not status.running:
        raise Conflict("MicroK8s does not run on this machine", hint="see microk8s inspect")
    addon = find(status.addons, name)
    changed = addon.enabled != enabled
    full = f"{addon.repository}/{addon.name}" if addon.repository else addon.name
    if changed and not check:
        client.done("enable" if enabled else "disable", full, *(arguments if enabled else ()), slow=True)

        def seen() -> bool | None:
            return find(client.status().addons, full).enabled == enabled or None

        wait_until(
            seen, Deadline(seconds), what=f"addon {full} to be {'enabled' if enabled else 'disabled'}", first=0.2
        )
    words = ("disabled", "enabled")
    diff = diff_of({"status": words[addon.enabled]}, {"status": words[enabled]}, f"addon {full}")
    return {"changed": changed, "addon": full, "before": words[addon.enabled], "diff": diff}
