# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a problem of a provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.instances.provider import (
    problems_of_pools,
    subordinate_problems,
    version_problems,
)

GIB = 1 << 30


def pool(used: float | None, total: float | None = 100, **more: Any) -> dict[str, Any]:
    sizes = {key: None if size is None else int(size * GIB) for key, size in (("used", used), ("total", total))}
    return {"name": "default", "driver": "dir", "member": "", "status": "Created", **sizes, **more}


@pytest.mark.parametrize(
    ("version", "fine"), [("6.0.4", True), ("6.0", True), ("6.19", True), ("10.1", True), ("5.21.2", False)]
)
def test_versions(version: str, fine: bool) -> None:
    assert (version_problems(version) == []) is fine


def test_pools() -> None:
    assert problems_of_pools([pool(89), pool(0, 1.5)]) == []
    assert problems_of_pools([pool(90)]) == ["pool default is nearly full: 10.0 GiB of 100 GiB left"]
    assert problems_of_pools([pool(1.2, 2)]) == ["pool default is nearly full: 819 MiB of 2.0 GiB left"]
    assert problems_of_pools([pool(0, member="m2", status="Errored")]) == ["pool default on m2 is errored"]
    assert problems_of_pools([pool(None, None)]) == ["pool default does not tell how full it is"]
    assert problems_of_pools([])[0].startswith("there is no storage pool")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("root:1000000:1000000000\n", 1),
        ("lxd:1:2\nroot:1000000:1000000000\nrootless:5:6\n", 1),
        ("root:100000:65536\nroot:1000000:1000000000\n", 2),
        ("0:100000:65536\nroot:1000000:1000000000\n", 2),
        ("user:100000:65536\n", 0),
    ],
)
def test_subordinate_ids(tmp_path: Path, text: str, count: int) -> None:
    file = tmp_path / "subuid"
    file.write_text(text)
    found = subordinate_problems([str(file), str(tmp_path / "missing")])
    if count == 1:
        assert found == []
    else:
        assert found == [
            f"{file} has {count or 'no'} ranges for root; allowed: exactly one, such as root:1000000:1000000000"
        ]
