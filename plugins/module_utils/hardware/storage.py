# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks and what lies on them: ``lsblk -J``, ``smartctl -j``, ``findmnt -J``, LVM's reports, ``/proc/mdstat``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from .machine import Absent, Broken, Machine, at_once, document, mapping, mappings, number, share, text, whole
from .model import Array, Disk, Filesystem, LogicalVolume, Lvm, Partition, PhysicalVolume, Smart, VolumeGroup

COLUMNS = "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,WWN,TRAN,ROTA,RM,FSTYPE,LABEL,UUID,PARTTYPENAME,MOUNTPOINT"
#: Kinds of lsblk that are no disks of their own.
NO_DISKS = ("loop", "rom", "zram", "ram", "nbd")
#: File systems that others serve: to ask for their size may hang for ever.
REMOTE = "nfs nfs4 cifs smb3 smbfs ceph glusterfs fuse.sshfs fuse.glusterfs afs 9p ncpfs".split()
#: Of a whole image, always full, and nothing to tell of.
IMAGES = ("squashfs", "iso9660", "erofs", "udf")
MOUNTS = "TARGET,SOURCE,FSTYPE,OPTIONS,SIZE,USED,AVAIL"
#: smartctl's exit code is a set of bits; these mean that it has said nothing.
NO_COMMAND, NO_DEVICE = 1, 2
SECTOR = 512
DEEPEST = 12
#: Units of NVMe's counters of data: 1000 sectors.
NVME_UNIT = 512_000


# -- lsblk ------------------------------------------------------------------------------------------
def disks(machine: Machine) -> list[Disk]:
    return disks_of(machine.json("lsblk", "-J", "-b", "-o", COLUMNS))


def disks_of(found: Any) -> list[Disk]:
    """The disks of ``lsblk -J -b``. Raises Absent where there are none."""
    whole_disks = [disk_of(one) for one in mappings(mapping(found).get("blockdevices")) if is_disk(one)]
    if not whole_disks:
        raise Absent("lsblk shows no disks")
    return whole_disks


def is_disk(one: dict[str, Any]) -> bool:
    name = text(one.get("name"))
    return one.get("type") == "disk" and bool(whole(one.get("size"))) and not name.startswith(NO_DISKS)


def disk_of(one: dict[str, Any]) -> Disk:
    name = text(one.get("name"))
    return Disk(
        name,
        disk_kind(name, one),
        text(one.get("model")),
        text(one.get("serial")),
        text(one.get("wwn")),
        text(one.get("tran")),
        whole(one.get("size")),
        truth(one.get("rm")),
        [partition_of(part) for part in below(one)],
    )


def disk_kind(name: str, one: dict[str, Any]) -> str:
    for prefix, kind in (("nvme", "nvme"), ("mmcblk", "mmc"), ("vd", "virtual"), ("xvd", "virtual")):
        if name.startswith(prefix):
            return kind
    return "hdd" if truth(one.get("rota")) else "ssd"


def truth(value: Any) -> bool:
    """Old versions of lsblk say "1" for true."""
    return value is True or value in (1, "1")


def below(one: dict[str, Any], depth: int = DEEPEST) -> Iterator[dict[str, Any]]:
    """What lies on a device; what is on several of them, such as a RAID, under each."""
    for child in mappings(one.get("children")):
        yield child
        if depth:
            yield from below(child, depth - 1)


def partition_of(one: dict[str, Any]) -> Partition:
    mounts = one.get("mountpoints") if isinstance(one.get("mountpoints"), list) else [one.get("mountpoint")]
    return Partition(
        text(one.get("name")),
        whole(one.get("size")),
        text(one.get("parttypename")) or text(one.get("type")),
        text(one.get("fstype")),
        text(one.get("label")),
        text(one.get("uuid")),
        [text(mount) for mount in mounts or () if text(mount)],
    )


# -- smartctl ---------------------------------------------------------------------------------------
def smart(machine: Machine) -> list[Smart]:
    """The health of all disks, read side by side."""
    if not machine.has("smartctl"):
        raise Absent("smartctl is not installed (package smartmontools)")
    names = disk_names(machine)
    if not names:
        raise Absent("there are no disks to ask")
    found = at_once(lambda name: smart_at(machine, name), names)
    if all(one.reason for one in found):
        raise Absent("; ".join(dict.fromkeys(f"{one.disk}: {one.reason}" for one in found))[:300])
    return found


def disk_names(machine: Machine) -> list[str]:
    """Names of the block devices that are whole disks, by sysfs."""
    names = [path.rpartition("/")[2] for path in machine.names("/sys/block/*")]
    no = (*NO_DISKS, "dm-", "md", "sr", "fd", "drbd")
    return [name for name in names if not name.startswith(no)]


def smart_at(machine: Machine, name: str) -> Smart:
    try:
        said = machine.run("smartctl", "-j", "-a", f"/dev/{name}", ok=())
        return smart_of(name, document(said, "smartctl"))
    except (Absent, Broken) as error:
        return Smart(name, reason=str(error))


def smart_of(name: str, found: Any) -> Smart:
    """What ``smartctl -j -a`` says of a disk, of ATA or of NVMe."""
    whole_document = mapping(found)
    status = mapping(whole_document.get("smart_status")).get("passed")
    code = whole(mapping(whole_document.get("smartctl")).get("exit_status")) or 0
    about = (text(whole_document.get("model_name")), text(whole_document.get("serial_number")))
    if not isinstance(status, bool) and (code & (NO_COMMAND | NO_DEVICE) or not about[0]):
        return Smart(name, *about, reason=complaint(whole_document) or "says nothing about its health")
    nvme = mapping(whole_document.get("nvme_smart_health_information_log"))
    details = nvme_fields(nvme) if nvme else ata_fields(whole_document)
    celsius = number(mapping(whole_document.get("temperature")).get("current"))
    limit = number(mapping(whole_document.get("temperature")).get("drive_trip"))
    hours = whole(mapping(whole_document.get("power_on_time")).get("hours"))
    common = {
        "passed": status if isinstance(status, bool) else None,
        "temperature_celsius": celsius,
        "temperature_limit_celsius": limit or None,
        "power_on_hours": hours,
        "power_cycles": whole(whole_document.get("power_cycle_count")),
    }
    return Smart(name, *about, **{**common, **details})


def complaint(found: dict[str, Any]) -> str:
    messages = mappings(mapping(found.get("smartctl")).get("messages"))
    first = text(messages[0].get("string")) if messages else ""
    return re.sub(r"^/dev/\S+: ", "", first)


#: Bits of NVMe's critical warning.
NVME_WARNINGS = (
    "the spare is used up",
    "a temperature is out of bounds",
    "it has become unreliable",
    "it has become read-only",
    "its backup of volatile memory has failed",
)


def nvme_fields(log: dict[str, Any]) -> dict[str, Any]:
    bits = whole(log.get("critical_warning")) or 0
    written = whole(log.get("data_units_written"))
    return {
        "wear_percent": number(log.get("percentage_used")),
        "spare_percent": number(log.get("available_spare")),
        "spare_limit_percent": number(log.get("available_spare_threshold")),
        "media_errors": whole(log.get("media_errors")),
        "written_bytes": None if written is None else written * NVME_UNIT,
        "warnings": [words for bit, words in enumerate(NVME_WARNINGS) if bits >> bit & 1],
    }


#: Attributes of ATA that tell how much of an SSD's life is left, by number; the best known first.
LIFE_LEFT = (231, 233, 177, 202, 169, 173)
REALLOCATED, PENDING, WRITTEN = 5, 197, 241


def ata_fields(found: dict[str, Any]) -> dict[str, Any]:
    table = mappings(mapping(found.get("ata_smart_attributes")).get("table"))
    by_id = {whole(one.get("id")): one for one in table}
    raw = {key: whole(mapping(one.get("raw")).get("value")) for key, one in by_id.items()}
    names = {key: text(one.get("name")) for key, one in by_id.items()}
    written = raw.get(WRITTEN) if names.get(WRITTEN) == "Total_LBAs_Written" else None
    sector = whole(found.get("logical_block_size")) or SECTOR
    failing = [text(one.get("name")) for one in table if one.get("when_failed") not in (None, "", "-")]
    return {
        "wear_percent": wear_of(found, by_id),
        "reallocated_sectors": raw.get(REALLOCATED),
        "pending_sectors": raw.get(PENDING),
        "written_bytes": None if written is None else written * sector,
        "warnings": [f"{name} is past its threshold" for name in failing if name],
    }


def wear_of(found: dict[str, Any], by_id: dict[int | None, dict[str, Any]]) -> float | None:
    """Of an SSD alone: the endurance of the device statistics, else a normalised attribute that counts down."""
    used = number(mapping(found.get("endurance_used")).get("current_percent"))
    if used is not None or whole(found.get("rotation_rate")) != 0:
        return used
    for key in LIFE_LEFT:
        left = number(by_id[key].get("value")) if key in by_id else None
        if left is not None and 0 <= left <= 100:
            return 100.0 - left
    return None


# -- findmnt ---------------------------------------------------------------------------------------
def filesystems(machine: Machine) -> list[Filesystem]:
    """The local ones with their sizes; those that others serve without."""
    local = ",".join(f"no{kind}" for kind in REMOTE)
    found = filesystems_of(machine.json("findmnt", "-J", "-b", "--real", "-t", local, "-o", MOUNTS, ok=(0, 1)))
    others = ",".join(REMOTE)
    if re.search(rf" ({'|'.join(map(re.escape, REMOTE))}) ", machine.value("/proc/mounts")):
        columns = "TARGET,SOURCE,FSTYPE,OPTIONS"
        found += filesystems_of(machine.json("findmnt", "-J", "-t", others, "-o", columns, ok=(0, 1)))
    return found


def filesystems_of(found: Any) -> list[Filesystem]:
    """Each file system once, at the first place where it is mounted."""
    seen: dict[str, Filesystem] = {}
    for one in tree(mapping(found).get("filesystems")):
        made = filesystem_of(one)
        # a bind mount has the directory behind the device's name
        source = re.sub(r"\[.*\]$", "", made.source)
        if made.mountpoint and made.kind not in IMAGES:
            seen.setdefault(source if source.startswith("/") else f"{source} {made.mountpoint}", made)
    return list(seen.values())


def tree(entries: Any, depth: int = DEEPEST) -> Iterator[dict[str, Any]]:
    for one in mappings(entries):
        yield one
        if depth:
            yield from tree(one.get("children"), depth - 1)


def filesystem_of(one: dict[str, Any]) -> Filesystem:
    size, used, free = (whole(one.get(name)) for name in ("size", "used", "avail"))
    usable = None if used is None or free is None else used + free
    return Filesystem(
        text(one.get("target")),
        text(one.get("source")),
        text(one.get("fstype")),
        size,
        used,
        free,
        share(used, usable),
        "ro" in text(one.get("options")).split(","),
    )


# -- LVM -------------------------------------------------------------------------------------------
REPORTS = (
    ("pvs", "pv", "pv_name,vg_name,pv_size,pv_free,pv_missing"),
    ("vgs", "vg", "vg_name,vg_size,vg_free,vg_partial"),
    ("lvs", "lv", "lv_name,vg_name,lv_size,lv_layout,data_percent,lv_health_status"),
)


def lvm(machine: Machine) -> Lvm:
    if not machine.has("lvs"):
        raise Absent("LVM is not installed")
    if not machine.names("/sys/block/dm-*") and not machine.names("/etc/lvm/backup/*"):
        raise Absent("there are no volume groups")

    def asked(order: tuple[str, str, str]) -> list[dict[str, Any]]:
        command, _key, columns = order
        argv = (command, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns)
        return rows_of(machine.json(*argv), order[1])

    physical, groups, volumes = at_once(asked, REPORTS)
    if not physical and not groups:
        raise Absent("there are no volume groups")
    return lvm_of(physical, groups, volumes)


def rows_of(found: Any, key: str) -> list[dict[str, Any]]:
    """The rows of a report of LVM."""
    return [row for part in mappings(mapping(found).get("report")) for row in mappings(part.get(key))]


Rows = Sequence[dict[str, Any]]


def lvm_of(physical: Rows, groups: Rows, volumes: Rows) -> Lvm:
    return Lvm(
        [
            PhysicalVolume(
                text(one.get("pv_name")),
                text(one.get("vg_name")),
                whole(one.get("pv_size")),
                whole(one.get("pv_free")),
                bool(text(one.get("pv_missing"))) or "unknown" in text(one.get("pv_name")),
            )
            for one in physical
        ],
        [
            VolumeGroup(
                text(one.get("vg_name")),
                whole(one.get("vg_size")),
                whole(one.get("vg_free")),
                bool(text(one.get("vg_partial"))),
            )
            for one in groups
        ],
        [
            LogicalVolume(
                text(one.get("lv_name")),
                text(one.get("vg_name")),
                whole(one.get("lv_size")),
                text(one.get("lv_layout")),
                number(one.get("data_percent")),
                text(one.get("lv_health_status")),
            )
            for one in volumes
        ],
    )


# -- RAID ------------------------------------------------------------------------------------------
_ARRAY = re.compile(r"^(md\S*) : (active|inactive)\s*(?:\((?:auto-)?read-only\) )?(.*)$")
_MEMBER = re.compile(r"([^\s\[]+)\[\d+\](?:\((\w)\))*")
_COUNT = re.compile(r"(\d+) blocks.*?(?:\[(\d+)/(\d+)\])?(?: \[([U_]+)\])?\s*$")
_PROGRESS = re.compile(r"(recovery|resync|reshape|check)\s*=\s*([\d.]+)%")
_PENDING = re.compile(r"(recovery|resync|reshape|check)\s*=\s*(DELAYED|PENDING)")


def raid(machine: Machine) -> list[Array]:
    found = arrays_of(machine.read("/proc/mdstat"))
    if not found:
        raise Absent("there are no arrays")
    return found


def arrays_of(words: str) -> list[Array]:
    """The arrays of /proc/mdstat."""
    blocks: list[list[str]] = []
    for line in words.splitlines():
        if _ARRAY.match(line):
            blocks.append([line])
        elif blocks and line.startswith((" ", "\t")) and line.strip():
            blocks[-1].append(line)
    return [array_of(block) for block in blocks]


def array_of(lines: Sequence[str]) -> Array:
    head = _ARRAY.match(lines[0])
    name, state, rest = (head[1], head[2], head[3]) if head else ("", "", "")
    level = rest.split()[0] if re.match(r"(raid|linear|multipath|faulty)", rest) else ""
    members = _MEMBER.findall(rest)
    body = "\n".join(lines[1:])
    count = next((found for line in lines[1:] if (found := _COUNT.search(line))), None)
    wanted, working = (whole(count[2]), whole(count[3])) if count else (None, None)
    action = _PROGRESS.search(body) or _PENDING.search(body)
    return Array(
        name,
        level,
        state,
        int(count[1]) * 1024 if count and len(count[1]) < 16 else None,
        [member for member, flag in members if flag not in ("S", "F")],
        [member for member, flag in members if flag == "S"],
        [member for member, flag in members if flag == "F"],
        wanted,
        working,
        state == "inactive" or (wanted is not None and working is not None and working < wanted),
        action[1] if action else "",
        number(action[2]) if action else None,
    )
