# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container image of 1 MB for lifecycle tests: busybox with an init, DHCP on eth0 and a host name."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
#: Bytes must not depend on when the image is built, so that its fingerprint stays the same.
BUILT_AT = 1_700_000_000

#: busybox's own init takes more than two seconds to go down; this one goes at the signal that Incus sends.
INIT = """\
#!/bin/sh
trap 'exit 0' PWR TERM USR1 USR2
hostname -F /etc/hostname
ip link set lo up; ip link set eth0 up 2>/dev/null
while :; do udhcpc -f -i eth0 -s /etc/udhcpc.sh >/dev/null 2>&1; sleep 1; done &
while :; do wait; sleep 1 & wait $!; done
"""
UDHCPC = """\
#!/bin/sh
case $1 in
  bound|renew)
    ip addr flush dev $interface
    ip addr add $ip/${mask:-24} dev $interface
    [ -n "$router" ] && ip route replace default via $router
    : >/etc/resolv.conf
    for d in $dns; do echo nameserver $d >>/etc/resolv.conf; done ;;
esac
"""
FILES = {
    "rootfs/sbin/init": (0o755, INIT),
    "rootfs/etc/udhcpc.sh": (0o755, UDHCPC),
    "rootfs/etc/passwd": (0o644, "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home/guest:/bin/sh\n"),
    "rootfs/etc/group": (0o644, "root:x:0:\nguest:x:1000:\nstaff:x:50:guest\n"),
    "rootfs/etc/hostname": (0o644, "tiny\n"),
    "templates/hostname.tpl": (0o644, "{{ container.name }}\n"),
}
DIRECTORIES = "bin sbin etc proc sys dev tmp root run var var/log usr usr/bin usr/sbin home home/guest mnt".split()


def metadata() -> dict[str, object]:
    """The image's metadata.yaml (JSON is YAML)."""
    return {
        "architecture": platform.machine(),
        "creation_date": BUILT_AT,
        "properties": {"os": "busybox", "release": "1", "description": "tiny busybox", "variant": "tiny"},
        "templates": {"/etc/hostname": {"when": ["create", "copy"], "template": "hostname.tpl"}},
    }


def _entry(name: str, kind: bytes, mode: int, **fields: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, BUILT_AT
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def _add_file(archive: tarfile.TarFile, name: str, mode: int, content: bytes) -> None:
    archive.addfile(_entry(name, tarfile.REGTYPE, mode, size=len(content)), io.BytesIO(content))


def build(target: Path) -> Path:
    """Write the image to ``target`` (a .tar.gz) and return it. A finished file of the same contents is used again."""
    mark = target.with_suffix(".key")
    key = hashlib.sha256(Path(__file__).read_bytes() + BUSYBOX.read_bytes()).hexdigest()
    if target.exists() and mark.exists() and mark.read_text() == key:
        return target
    applets = subprocess.run([BUSYBOX, "--list-full"], capture_output=True, text=True, check=True).stdout.split()
    unfinished = target.with_suffix(".new")
    with (
        gzip.GzipFile(unfinished, "wb", compresslevel=6, mtime=BUILT_AT) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        _add_file(archive, "metadata.yaml", 0o644, json.dumps(metadata()).encode())
        for directory in DIRECTORIES:
            mode, owner = (0o1777, 0) if directory == "tmp" else (0o755, 1000 if directory == "home/guest" else 0)
            archive.addfile(_entry(f"rootfs/{directory}", tarfile.DIRTYPE, mode, uid=owner, gid=owner))
        _add_file(archive, "rootfs/bin/busybox", 0o755, BUSYBOX.read_bytes())
        for applet in applets:
            if f"rootfs/{applet}" not in {*FILES, "rootfs/bin/busybox", "rootfs/linuxrc"}:
                archive.addfile(_entry(f"rootfs/{applet}", tarfile.SYMTYPE, 0o777, linkname="/bin/busybox"))
        for name, (mode, content) in FILES.items():
            _add_file(archive, name, mode, content.encode())
    unfinished.rename(target)
    mark.write_text(key)
    return target
