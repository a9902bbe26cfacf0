# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Friendly names: one word for what each vendor, and each generation of boards, calls something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BOOT_ORDER, POWER_PROFILE = "boot_order", "power_profile"
VENDORS = ("supermicro", "redfish")
POWER_PROFILES = ("performance", "balanced", "powersave")
#: Words of a boot order, and what the kind of a boot option holds, in small letters: the part before ":".
BOOT_DEVICES: Mapping[str, tuple[str, ...]] = {
    "USB": ("usb",),
    "PXE": ("pxe", "network"),
    "HTTP": ("http",),
    "CD": ("cd/dvd", "cd", "dvd"),
    "HDD": ("hard disk", "hdd", "harddisk"),
}


@dataclass(frozen=True)
class Target:
    """A setting that may stand behind a friendly name: the first of them that a BIOS has is taken.

    ``menu`` is the end of its menu path, where the name alone comes up more than once. ``values`` turns our
    words into labels, of which the first that the setting has is taken; what is not in it is taken as it is.
    ``also`` are settings that go with it, as far as the BIOS has them and they have the word.
    """

    name: str
    menu: tuple[str, ...] = ()
    order: int = 0
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    also: tuple[Target, ...] = ()


Names = Mapping[str, Mapping[str, tuple[Target, ...]]]
YES_NO = ("true", "false")


def _profiles(name: str, performance: str, balanced: str, powersave: str) -> Target:
    values = zip(POWER_PROFILES, (performance, balanced, powersave), strict=True)
    return Target(name, values={word: (label,) for word, label in values})


def _modes(name: str, uefi: str, *legacy: str, dual: str = "") -> Target:
    values = {"uefi": (uefi,), "legacy": legacy, **({"dual": (dual,)} if dual else {})}
    return Target(name, values=values)


def _plain(*names: str) -> tuple[Target, ...]:
    """Settings that are on or off: the labels for that are known (``decide.ON``)."""
    return tuple(Target(name) for name in names)


_BIAS = Target(
    "ENERGY_PERF_BIAS_CFG mode",
    values={
        "performance": ("Maximum Performance", "Performance"),
        "powersave": ("Power", "Balanced Power"),
    },
)
_TUNING = Target(
    "Power Performance Tuning", values={"performance": ("BIOS Controls EPB",), "powersave": ("BIOS Controls EPB",)}
)
#: Who wants another name, or has another BIOS, writes it into the file of device types, under ``names``.
BUILTIN: Names = {
    "virtualization_enabled": {
        "supermicro": _plain("Intel Virtualization Technology", "VMX", "SVM Mode"),
        "redfish": _plain("ProcVirtualization", "IntelVirtualizationTechnology", "SVMMode"),
    },
    "hyperthreading": {
        "supermicro": _plain(
            "Hyper-Threading [ALL]", "Hyper-threading [ALL]", "Hyper-Threading", "Hyper-threading", "SMT Control"
        ),
        "redfish": _plain("LogicalProc", "ProcHyperthreading", "HyperThreading", "SMTControl"),
    },
    "sriov": {
        "supermicro": _plain("SR-IOV Support"),
        "redfish": _plain("SriovGlobalEnable", "Sriov", "SRIOVSupport"),
    },
    "iommu": {
        "supermicro": _plain("Intel® VT for Directed I/O (VT-d)", "Intel VT for Directed I/O (VT-d)", "IOMMU"),
        "redfish": _plain("IntelProcVtd", "ProcAmdIoVt", "IommuSupport"),
    },
    "turbo": {
        "supermicro": _plain("Turbo Mode", "Core Performance Boost"),
        "redfish": _plain("ProcTurboMode", "ProcTurbo", "TurboMode"),
    },
    "quiet_boot": {"supermicro": _plain("Quiet Boot"), "redfish": _plain("QuietBoot")},
    "watchdog": {"supermicro": _plain("Watch Dog Function"), "redfish": _plain("WatchDogFunction")},
    "secure_boot": {"supermicro": _plain("Secure Boot"), "redfish": _plain("SecureBoot")},
    "boot_mode": {
        "supermicro": (_modes("Boot mode select", "UEFI", "LEGACY", "Legacy", dual="DUAL"),),
        "redfish": (_modes("BootMode", "Uefi", "Bios", "LegacyBios"), _modes("BootModeSelect", "UEFI", "Legacy")),
    },
    POWER_PROFILE: {
        "supermicro": (
            Target(
                "Power Technology",
                values={"performance": ("Custom",), "balanced": ("Energy Efficient",), "powersave": ("Custom",)},
                also=(_TUNING, _BIAS),
            ),
        ),
        "redfish": (
            _profiles("SysProfile", "PerfOptimized", "PerfPerWattOptimizedDapc", "PerfPerWattOptimizedOs"),
            _profiles("PowerRegulator", "StaticHighPerf", "DynamicPowerSavings", "StaticLowPower"),
            _profiles("PowerProfile", "Performance", "Balanced", "PowerSave"),
        ),
    },
}


def words_of(names: Names, name: str) -> tuple[str, ...]:
    """The words that a friendly name takes; none where it takes whatever its setting takes."""
    targets = [target for by_vendor in names[name].values() for target in by_vendor]
    if name in BUILTIN and names[name] is BUILTIN[name] and not any(target.values for target in targets):
        return YES_NO
    # A name that goes to one vendor with words, and to another as it is, takes anything.
    if not all(target.values for target in targets):
        return ()
    return tuple(dict.fromkeys(word for target in targets for word in target.values))


def kind_of_boot(label: str) -> str:
    """The word for the device that a boot option is for; nothing where it is none of them."""
    kind = label.split(":", 1)[0].lower()
    return next((word for word, marks in BOOT_DEVICES.items() if any(mark in kind for mark in marks)), "")
