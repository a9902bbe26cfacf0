# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the schemas in docs/schema anew: ``python -m tests.tools.schema``."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import CHECKOUT


def main(folder: Path) -> None:
    # The collection can be imported only now that the tests' paths are set up.
    from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios import device_types
    from ansible_collections.rackstead.infra.plugins.module_utils.instances import schema
    from ansible_collections.rackstead.infra.plugins.module_utils.power import schema as power

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.schema.json").write_text(schema.schema_text(), encoding="utf-8")
    (folder / "device_types.schema.json").write_text(device_types.schema_text(), encoding="utf-8")
    (folder / "power.schema.json").write_text(power.schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main(CHECKOUT / "docs" / "schema")
