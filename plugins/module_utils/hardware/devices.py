# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards, GPUs, sensors, firmware and BMC: ``ip -j``, ``lspci -vmm``, ``sensors -j`` and sysfs, DMI."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .machine import Absent, Broken, Machine, mapping, mappings, number, text, whole
from .model import Bmc, Firmware, Gpu, Nic, Sensor
from .system import container_of, known

NET = "/sys/class/net"
#: Interfaces of no interest; those of containers and pods come and go.
PASSING = ("loopback", "ifb", "veth")


# -- network ---------------------------------------------------------------------------------------
def nics(machine: Machine) -> list[Nic]:
    """What ``ip`` tells, or sysfs where it is missing, with link and speed from sysfs."""
    try:
        found = nics_of(machine.json("ip", "-j", "-s", "-d", "addr"))
    except (Absent, Broken):
        found = [nic_in_sysfs(machine, path) for path in machine.names(f"{NET}/*") if machine.names(f"{path}/mtu")]
    inside = bool(container_of(machine))
    kept = [one for one in found if one.kind not in PASSING or (inside and one.kind == "veth")]
    if not kept:
        raise Absent("there are no network cards")
    return [linked(machine, one) for one in kept]


def nics_of(found: Any) -> list[Nic]:
    """The interfaces of ``ip -j -s -d addr``."""
    return [nic_of(one) for one in mappings(found) if text(one.get("ifname"))]


def nic_of(one: dict[str, Any]) -> Nic:
    stats = mapping(one.get("stats64"))
    received, sent = mapping(stats.get("rx")), mapping(stats.get("tx"))
    lost = [whole(side.get("dropped")) for side in (received, sent)]
    kind = text(mapping(one.get("linkinfo")).get("info_kind"))
    return Nic(
        name=text(one.get("ifname")),
        mac=text(one.get("address")) if one.get("link_type") == "ether" else "",
        kind=kind or ("loopback" if one.get("link_type") == "loopback" else "physical"),
        state=text(one.get("operstate")).lower(),
        mtu=whole(one.get("mtu")),
        addresses=[
            f"{text(address.get('local'))}/{text(address.get('prefixlen'))}"
            for address in mappings(one.get("addr_info"))
            if text(address.get("local"))
        ],
        received_bytes=whole(received.get("bytes")),
        sent_bytes=whole(sent.get("bytes")),
        receive_errors=whole(received.get("errors")),
        send_errors=whole(sent.get("errors")),
        dropped=None if None in lost else sum(one or 0 for one in lost),
    )


def nic_in_sysfs(machine: Machine, path: str) -> Nic:
    """An interface as sysfs tells of it: without addresses."""
    name = path.rpartition("/")[2]

    def count(file: str) -> int | None:
        return whole(machine.value(f"{path}/statistics/{file}"))

    kind = re.search(r"^DEVTYPE=(\w+)", machine.value(f"{path}/uevent"), re.MULTILINE)
    virtual = "/virtual/" in machine.target(path)
    return Nic(
        name=name,
        mac=text(machine.value(f"{path}/address")),
        kind="loopback" if name == "lo" else kind[1] if kind else "veth" if virtual else "physical",
        state=text(machine.value(f"{path}/operstate")),
        mtu=whole(machine.value(f"{path}/mtu")),
        received_bytes=count("rx_bytes"),
        sent_bytes=count("tx_bytes"),
        receive_errors=count("rx_errors"),
        send_errors=count("tx_errors"),
        dropped=count("rx_dropped"),
    )


def linked(machine: Machine, one: Nic) -> Nic:
    """The interface with what only sysfs knows. Where there is no link, its files cannot be read."""
    if "/" in one.name:
        return one
    place = f"{NET}/{one.name}"
    speed = whole(machine.value(f"{place}/speed"))
    duplex = text(machine.value(f"{place}/duplex"))
    carrier = machine.value(f"{place}/carrier")
    more = {
        "driver": machine.target(f"{place}/device/driver").rpartition("/")[2],
        "link": carrier == "1" if carrier in ("0", "1") else None,
        "speed_mbit": speed if speed and speed > 0 else None,
        "duplex": "" if duplex == "unknown" else duplex,
    }
    return Nic(**{**vars(one), **more})


# -- GPUs ------------------------------------------------------------------------------------------
PCI = "/sys/bus/pci/devices"
DRM = "/sys/class/drm"
DISPLAYS = ("VGA compatible controller", "3D controller", "Display controller")
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel", "0x1a03": "ASPEED", "0x102b": "Matrox"}
QUERY = "pci.bus_id,name,memory.total,memory.used,utilization.gpu,temperature.gpu"
MIB = 1024 * 1024


def gpus(machine: Machine) -> list[Gpu]:
    """What is on the PCI bus, with what its driver tells; on boards without such a bus, what the kernel draws with."""
    try:
        found = gpus_of(machine.run("lspci", "-vmm", "-D"))
    except (Absent, Broken):
        found = gpus_in_sysfs(machine)
    told = nvidia(machine)
    made = [used(machine, one, told) for one in found] or boards(machine)
    if not made:
        raise Absent("there are no GPUs")
    return made


def gpus_of(words: str) -> list[Gpu]:
    """The display controllers of ``lspci -vmm -D``."""
    found = []
    for block in re.split(r"\n\s*\n", words):
        field = dict(re.findall(r"^(\w+):\s*(.*)$", block, re.MULTILINE))
        if field.get("Class", "").startswith(DISPLAYS):
            found.append(Gpu(text(field.get("Slot")), text(field.get("Vendor")), text(field.get("Device"))))
    return found


def gpus_in_sysfs(machine: Machine) -> list[Gpu]:
    found = []
    for path in machine.names(f"{PCI}/*"):
        if machine.value(f"{path}/class").startswith("0x03"):
            vendor, device = machine.value(f"{path}/vendor"), machine.value(f"{path}/device")
            found.append(Gpu(path.rpartition("/")[2], VENDORS.get(vendor, vendor), device))
    return found


def nvidia(machine: Machine) -> dict[str, list[str]]:
    """What nvidia-smi says, by the slot; nothing where it is missing or has lost its driver."""
    argv = ("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits")
    try:
        lines = machine.run(*argv).splitlines()
    except (Absent, Broken):
        return {}
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    return {slot_of(row[0]): row for row in rows if len(row) == QUERY.count(",") + 1}


def slot_of(words: str) -> str:
    """A PCI slot as sysfs writes it: nvidia-smi has capitals and a longer domain."""
    return words.lower()[-12:]


def used(machine: Machine, one: Gpu, told: dict[str, list[str]]) -> Gpu:
    place = f"{PCI}/{one.slot}"
    driver = machine.target(f"{place}/driver").rpartition("/")[2]
    row = told.get(slot_of(one.slot))
    if row:
        total, taken = whole(row[2]), whole(row[3])
        return Gpu(
            one.slot,
            one.vendor,
            text(row[1]),
            driver or "nvidia",
            None if total is None else total * MIB,
            None if taken is None else taken * MIB,
            number(row[4]),
            number(row[5]),
        )
    heat = next((number(machine.value(path)) for path in machine.names(f"{place}/hwmon/hwmon*/temp1_input")), None)
    return Gpu(
        one.slot,
        one.vendor,
        one.model,
        driver,
        whole(machine.value(f"{place}/mem_info_vram_total")),
        whole(machine.value(f"{place}/mem_info_vram_used")),
        number(machine.value(f"{place}/gpu_busy_percent")),
        None if heat is None else heat / 1000,
    )


def boards(machine: Machine) -> list[Gpu]:
    """GPUs that are part of the processor, such as a Raspberry Pi's."""
    found = []
    for path in machine.names(f"{DRM}/card[0-9]"):
        driver = re.search(r"^DRIVER=(\S+)", machine.value(f"{path}/device/uevent"), re.MULTILINE)
        name = re.search(r"^OF_COMPATIBLE_0=(?:\w+,)?(\S+)", machine.value(f"{path}/device/uevent"), re.MULTILINE)
        if driver and name:
            found.append(Gpu(path.rpartition("/")[2], "", text(name[1]), text(driver[1])))
    return found


# -- sensors ---------------------------------------------------------------------------------------
HWMON, THERMAL = "/sys/class/hwmon", "/sys/class/thermal"
#: The beginnings of names of inputs: what they measure, its unit, and by how much sysfs multiplies it.
INPUTS = {
    "temp": ("temperature", "°C", 1000.0),
    "fan": ("fan", "rpm", 1.0),
    "in": ("voltage", "V", 1000.0),
    "curr": ("current", "A", 1000.0),
    "power": ("power", "W", 1_000_000.0),
}
_INPUT = re.compile(r"(temp|fan|in|curr|power)(\d+)_(input|average)$")
#: Chips that tell the temperature of processors, and the labels of chips that tell of more.
CPU_CHIPS = re.compile(r"coretemp|k10temp|zenpower|cpu[_-]?thermal|soc[_-]thermal|x86_pkg_temp", re.IGNORECASE)
CPU_LABELS = re.compile(r"\b(cpu|package|tdie|tctl|core \d)", re.IGNORECASE)
#: What no sensor of a computer can mean: it is not connected.
COLDEST, HOTTEST = -40.0, 200.0


def sensors(machine: Machine) -> list[Sensor]:
    """``sensors -j``, which knows the chips' labels and factors, else sysfs; thermal zones where nothing is warm."""
    try:
        found = sensors_of(machine.json("sensors", "-j"))
    except (Absent, Broken):
        found = sensors_in_sysfs(machine)
    if not any(one.kind == "temperature" for one in found):
        found = found + zones(machine)
    if not found:
        raise Absent("there are no sensors")
    return found


def sensors_of(found: Any) -> list[Sensor]:
    """The sensors of ``sensors -j``."""
    made = []
    for chip, features in mapping(found).items():
        for name, values in mapping(features).items():
            for key, value in mapping(values).items():
                match = _INPUT.fullmatch(key)
                if match:
                    limits = (number(mapping(values).get(f"{match[1]}{match[2]}_{end}")) for end in ("max", "crit"))
                    made.append(sensor(text(chip), text(name), match[1], number(value), *limits))
    return [one for one in made if one]


def sensor(
    chip: str, name: str, prefix: str, value: float | None, high: float | None, critical: float | None
) -> Sensor | None:
    """One sensor, unless it is not connected."""
    kind, unit, _factor = INPUTS[prefix]
    if value is None or (kind == "temperature" and not COLDEST < value < HOTTEST):
        return None
    limits = [limit if limit is not None and 0 < limit < HOTTEST else None for limit in (high, critical)]
    return Sensor(chip, name, kind, round(value, 3), unit, *(limits if kind == "temperature" else (high, critical)))


def sensors_in_sysfs(machine: Machine) -> list[Sensor]:
    made = []
    for path in machine.names(f"{HWMON}/hwmon*/*_*"):
        match = _INPUT.fullmatch(path.rpartition("/")[2])
        if not match:
            continue
        folder, base = path.rpartition("/")[0], f"{match[1]}{match[2]}"
        chip = text(machine.value(f"{folder}/name")) or folder.rpartition("/")[2]
        label = text(machine.value(f"{folder}/{base}_label")) or base
        factor = INPUTS[match[1]][2]
        ends = (machine.value(path), *(machine.value(f"{folder}/{base}_{end}") for end in ("max", "crit")))
        read = [None if (value := number(end)) is None else value / factor for end in ends]
        made.append(sensor(chip, label, match[1], *read))
    return [one for one in made if one]


def zones(machine: Machine) -> list[Sensor]:
    made = []
    for path in machine.names(f"{THERMAL}/thermal_zone*"):
        value = number(machine.value(f"{path}/temp"))
        name = text(machine.value(f"{path}/type")) or path.rpartition("/")[2]
        critical = None
        for trip in machine.names(f"{path}/trip_point_*_type"):
            if machine.value(trip) == "critical":
                critical = number(machine.value(trip.replace("_type", "_temp")))
        limit = None if critical is None else critical / 1000
        made.append(sensor(name, name, "temp", None if value is None else value / 1000, None, limit))
    return [one for one in made if one]


def cpu_temperature(found: Iterable[Sensor]) -> float | None:
    """The warmest that a sensor of the processors says."""
    warm = [one for one in found if one.kind == "temperature" and one.value is not None]
    own = [one for one in warm if CPU_CHIPS.search(one.chip)] or [one for one in warm if CPU_LABELS.search(one.name)]
    return max((one.value for one in own if one.value is not None), default=None)


# -- firmware and BMC ------------------------------------------------------------------------------
DMI = "/sys/class/dmi/id"
TREE = "/proc/device-tree"


def firmware(machine: Machine) -> Firmware:
    """DMI from sysfs, else from dmidecode; the device tree on boards that have one. Raises Absent."""
    found = dmi(machine) or decoded(machine)
    if found:
        return found
    model = text(machine.value(f"{TREE}/model"))
    if model:
        serial = text(machine.value(f"{TREE}/serial-number"))
        return Firmware(product=model, serial=serial)
    raise Absent("there is no DMI, and no device tree")


def dmi(machine: Machine) -> Firmware | None:
    names = "sys_vendor product_name product_serial board_name bios_vendor bios_version bios_date".split()
    values = [known(machine.value(f"{DMI}/{name}")) for name in names]
    return Firmware(*values) if any(values) else None


def decoded(machine: Machine) -> Firmware | None:
    try:
        words = machine.run("dmidecode", "-t", "0,1,2")
    except (Absent, Broken):
        return None
    return firmware_of(words)


def firmware_of(words: str) -> Firmware | None:
    """What ``dmidecode -t 0,1,2`` says."""
    parts: dict[str, dict[str, str]] = {}
    for block in re.split(r"\n\s*\n", words):
        title = re.search(r"^(BIOS|System|Base Board) Information$", block, re.MULTILINE)
        if title:
            parts.setdefault(title[1], dict(re.findall(r"^\t([^:\t][^:]*):[ \t]*(.*)$", block, re.MULTILINE)))
    bios, own, board = (parts.get(name, {}) for name in ("BIOS", "System", "Base Board"))
    values = [known(own.get(name)) for name in ("Manufacturer", "Product Name", "Serial Number")]
    values.append(known(board.get("Product Name")))
    values += [known(bios.get(name)) for name in ("Vendor", "Version", "Release Date")]
    return Firmware(*values) if any(values) else None


def bmc(machine: Machine) -> Bmc:
    """The BMC that the kernel has found, with its address where ipmitool is there. Raises Absent."""
    devices = [*machine.names("/dev/ipmi*"), *machine.names("/dev/ipmi/*")]
    places = machine.names("/sys/devices/platform/ipmi_bmc.*") or machine.names("/sys/bus/platform/devices/ipmi_bmc.*")
    entries = machine.names("/sys/firmware/dmi/entries/38-*")
    if not devices and not places and not entries:
        raise Absent("there is no BMC that the kernel knows of")
    address, mac = lan_of(lan(machine)) if devices else ("", "")

    def told(name: str) -> str:
        return text(machine.value(f"{places[0]}/{name}")) if places else ""

    return Bmc(
        device=devices[0] if devices else "",
        firmware=told("firmware_revision"),
        manufacturer=told("manufacturer_id"),
        ipmi_version=told("ipmi_version"),
        guid=told("guid"),
        address=address,
        mac=mac,
    )


def lan(machine: Machine) -> str:
    try:
        return machine.run("ipmitool", "lan", "print", "1", seconds=2.0)
    except (Absent, Broken):
        return ""


def lan_of(words: str) -> tuple[str, str]:
    """Address and MAC of ``ipmitool lan print``."""
    found = dict(re.findall(r"^(\S[^:]*?)\s*: (.*)$", words, re.MULTILINE))
    address = text(found.get("IP Address"))
    return ("" if address == "0.0.0.0" else address), text(found.get("MAC Address"))
