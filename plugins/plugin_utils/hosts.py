# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory plugins share: records kept in Ansible's cache, and hosts handed to Ansible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

try:
    # From core 2.19 on, values are templates only where somebody says so.
    from ansible.template import trust_as_template as _trust_as_template  # noqa: F401

    WRAP = False
except ImportError:
    WRAP = True


class HostLike(Protocol):
    """A host: ``groups`` are (kind, value) pairs, of which names are made."""

    @property
    def name(self) -> str: ...

    @property
    def variables(self) -> dict[str, Any]: ...

    @property
    def groups(self) -> tuple[tuple[str, str], ...]: ...


class HostsPlugin(BaseInventoryPlugin, Constructable, Cacheable):
    """A plugin whose file ends in .yml or .yaml."""

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith((".yml", ".yaml"))

    def kept_records(self, path: str, question: str, fetch: Callable[[], list[Any]], cache: bool) -> list[Any]:
        """Records from the cache where it is on and holds what these options ask for, else fetched.

        ``cache`` is false where the user wants to have it flushed. Other options in the same file need
        other records: ``question`` tells them apart.
        """
        if not self.get_option("cache"):
            return fetch()
        key = self.get_cache_key(path)
        kept = self._cache.get(key) if cache else None
        if isinstance(kept, dict) and kept.get("question") == question:
            records: list[Any] = kept["records"]
            return records
        records = fetch()
        self._cache[key] = {"question": question, "records": records}
        return records

    def populate(self, hosts: Sequence[HostLike]) -> None:
        """Hosts with their variables and groups, and what compose, groups and keyed_groups make of them."""
        names: dict[tuple[str, str], str] = {}
        options = {option: self.get_option(option) for option in ("compose", "groups", "keyed_groups", "strict")}
        strict = options.pop("strict")
        for host in hosts:
            self.inventory.add_host(host.name)
            variables = _unsafe(host.variables) if WRAP else host.variables
            for key, value in variables.items():
                self.inventory.set_variable(host.name, key, value)
            for group in host.groups:
                if group not in names:
                    names[group] = self.inventory.add_group(self._sanitize_group_name("_".join(group)))
                self.inventory.add_child(names[group], host.name)
            if any(options.values()):
                self._set_composite_vars(options["compose"], variables, host.name, strict)
                self._add_host_to_composed_groups(options["groups"], variables, host.name, strict)
                self._add_host_to_keyed_groups(options["keyed_groups"], variables, host.name, strict)


def _unsafe(value: Any) -> Any:
    """Text that could be taken for a template is marked so that it is not. It comes from the instances' owners."""
    if isinstance(value, dict):
        return {key: _unsafe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unsafe(item) for item in value]
    if isinstance(value, str) and "{" in value:
        from ansible.utils.unsafe_proxy import wrap_var

        return wrap_var(value)
    return value
