# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The BIOS of the rack's servers, and a file of device types that wants something else of it.

``before`` and ``after`` are the whole files: whatever else differs at the end was changed by mistake.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

DEVICE_TYPE, OTHER_TYPE = "s2.c2.small", "s2.c2.large"
ENCODING = "iso-8859-1"
HEAD = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\n<!--Supermicro Update Manager, Gerät Nº 7-->\n'
#: menu, name, order, type, value, what may be chosen
SETTINGS = (
    ("Main", "Asset Tag", 1, "String", "A-7 & <spare>", ()),
    ("Boot Feature", "Quiet Boot", 1, "CheckBox", "Checked", ()),
    ("Boot Feature", "Watch Dog Function", 1, "Option", "Disabled", ("Disabled", "Enabled")),
    ("CPU Configuration", "Hyper-Threading [ALL]", 1, "Option", "Enable", ("Disable", "Enable")),
    ("CPU Configuration", "Intel Virtualization Technology", 1, "Option", "Disable", ("Disable", "Enable")),
    ("CPU Configuration", "Cores Enabled", 1, "Numeric", "0", ()),
    ("CPU Configuration", "Cores Enabled", 2, "Numeric", "0", ()),
    ("PCIe/PCI/PnP Configuration", "SR-IOV Support", 1, "Option", "Disabled", ("Disabled", "Enabled")),
    ("PCIe/PCI/PnP Configuration", "Slot OPROM", 1, "Option", "EFI", ("Disabled", "Legacy", "EFI")),
    ("PCIe/PCI/PnP Configuration", "Slot OPROM", 2, "Option", "EFI", ("Disabled", "Legacy", "EFI")),
)
#: What the device type makes of it: (menu, name, order) -> value.
WANTED = {
    ("Boot Feature", "Quiet Boot", 1): "Unchecked",
    ("CPU Configuration", "Intel Virtualization Technology", 1): "Enable",
    ("CPU Configuration", "Cores Enabled", 2): "8",
    ("PCIe/PCI/PnP Configuration", "Slot OPROM", 2): "Legacy",
}
DEVICE_TYPES = """
base:
  settings: {virtualization_enabled: true}
s2.c2.small:
  extends: base
  settings: {quiet_boot: false}
  supermicro:
    - {name: Cores Enabled, menu: CPU Configuration, order: 2, value: 8}
    - {name: Slot OPROM, menu: PCIe/PCI/PnP Configuration, order: 2, value: Legacy}
s2.c2.large:
  extends: base
"""
VALUE = {"Option": "selectedOption", "CheckBox": "checkedStatus", "Numeric": "numericValue"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _setting(name: str, order: int, kind: str, value: str, options: tuple[str, ...]) -> str:
    inside = ""
    if options:
        rows = "".join(f'<Option value="{number}">{label}</Option>' for number, label in enumerate(options))
        inside = f"<AvailableOptions>{rows}</AvailableOptions><DefaultOption>{options[0]}</DefaultOption>"
    elif kind == "Numeric":
        inside = "<MaxValue>28</MaxValue><MinValue>0</MinValue><StepSize>1</StepSize>"
    shown = f' {VALUE[kind]}="{_escaped(value)}"' if kind in VALUE else ""
    text = f"<StringValue>{_escaped(value)}</StringValue>" if kind == "String" else ""
    head = f'  <Setting name="{name}" order="{order}"{shown} type="{kind}">'
    return f"{head}<Information>{inside}<Help>{name}</Help></Information>{text}</Setting>\n"


def _document(values: dict[tuple[str, str, int], str]) -> bytes:
    menus: dict[str, str] = {}
    for menu, name, order, kind, value, options in SETTINGS:
        menus.setdefault(menu, "")
        menus[menu] += _setting(name, order, kind, values.get((menu, name, order), value), options)
    text = "".join(f'<Menu name="{menu}">\n{inside}</Menu>\n' for menu, inside in menus.items())
    return f"{HEAD}<BiosCfg>\n{text}</BiosCfg>\n".encode(ENCODING)


def before() -> bytes:
    """The BIOS as it comes."""
    return _document({})


def after() -> bytes:
    """The BIOS as the device type wants it, and all else as it came."""
    return _document(WANTED)


def device_types(folder: Path) -> Path:
    """The file of device types in a folder. It appears whole: others may be reading it."""
    path = folder / "device_mappings.yaml"
    if not path.exists():
        own = folder / f"device_mappings.{os.getpid()}.{threading.get_ident()}"
        own.write_text(DEVICE_TYPES)
        own.replace(path)
    return path
