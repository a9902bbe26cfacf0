# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the node: Docker's volumes, Kubernetes' storage, certificates that run out."""

from __future__ import annotations

import base64
import binascii
import calendar
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .machine import Absent, Broken, Machine, document, mapping, mappings, text
from .model import Certificate, Claim, DockerVolume, Kubernetes, PersistentVolume, StorageClass

SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
#: Where a kubectl finds a cluster, besides the user's own file.
CONFIGS = ("/etc/kubernetes/admin.conf", "/etc/rancher/k3s/k3s.yaml")
KINDS = "storageclasses,persistentvolumes,persistentvolumeclaims"
#: Certificates that machines of our kind have.
CERTIFICATES = (
    "/etc/kubernetes/pki/*.crt",
    "/etc/kubernetes/pki/etcd/*.crt",
    "/var/snap/microk8s/current/certs/*.crt",
    "/etc/letsencrypt/live/*/cert.pem",
    "/var/lib/incus/server.crt",
    "/var/lib/incus/cluster.crt",
)
MOST_CERTIFICATES = 200


# -- Docker ----------------------------------------------------------------------------------------
def docker(machine: Machine) -> list[DockerVolume]:
    if not machine.has("docker"):
        raise Absent("docker is not installed")
    if not os.environ.get("DOCKER_HOST") and not any(machine.names(path) for path in SOCKETS):
        raise Absent("no Docker daemon listens")
    return volumes_of(machine.run("docker", "volume", "ls", "--format", "{{json .}}"))


def volumes_of(words: str) -> list[DockerVolume]:
    """The volumes of ``docker volume ls``, a document on each line."""
    found = [mapping(document(line, "docker")) for line in words.splitlines() if line.strip()]
    return [
        DockerVolume(text(one.get("Name")), text(one.get("Driver")), text(one.get("Mountpoint")))
        for one in found
        if one.get("Name")
    ]


# -- Kubernetes ------------------------------------------------------------------------------------
def kubernetes(machine: Machine) -> Kubernetes:
    return storage_of(machine.json(*kubectl(machine), "get", KINDS, "--all-namespaces", "-o", "json"))


def kubectl(machine: Machine) -> Sequence[str]:
    """The command that asks the node's cluster. Raises Absent."""
    limit = "--request-timeout=4s"
    if machine.has("microk8s"):
        return ("microk8s", "kubectl", limit)
    own = os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    config = next((path for path in (own, *CONFIGS) if machine.names(path)), None)
    if not machine.has("kubectl"):
        raise Absent("neither microk8s nor kubectl is installed")
    if config is None:
        raise Absent("kubectl has no cluster here")
    return ("kubectl", f"--kubeconfig={config}", limit)


def storage_of(found: Any) -> Kubernetes:
    """The classes, volumes and claims of a list of ``kubectl get``."""
    items = mappings(mapping(found).get("items"))

    def of(kind: str) -> list[dict[str, Any]]:
        return [one for one in items if one.get("kind") == kind]

    return Kubernetes(
        [class_of(one) for one in of("StorageClass")],
        [volume_of(one) for one in of("PersistentVolume")],
        [claim_of(one) for one in of("PersistentVolumeClaim")],
    )


def _name(one: dict[str, Any], key: str = "name") -> str:
    return text(mapping(one.get("metadata")).get(key))


def class_of(one: dict[str, Any]) -> StorageClass:
    notes = mapping(mapping(one.get("metadata")).get("annotations"))
    default = text(notes.get("storageclass.kubernetes.io/is-default-class")) == "true"
    return StorageClass(_name(one), text(one.get("provisioner")), default, text(one.get("reclaimPolicy")))


def volume_of(one: dict[str, Any]) -> PersistentVolume:
    spec = mapping(one.get("spec"))
    claim = mapping(spec.get("claimRef"))
    names = [text(claim.get(key)) for key in ("namespace", "name")]
    return PersistentVolume(
        _name(one),
        quantity(mapping(spec.get("capacity")).get("storage")),
        text(mapping(one.get("status")).get("phase")),
        "/".join(names) if all(names) else "",
        text(spec.get("storageClassName")),
    )


def claim_of(one: dict[str, Any]) -> Claim:
    spec, status = mapping(one.get("spec")), mapping(one.get("status"))
    granted = mapping(status.get("capacity")).get("storage")
    wanted = mapping(mapping(spec.get("resources")).get("requests")).get("storage")
    return Claim(
        _name(one, "namespace"),
        _name(one),
        text(status.get("phase")),
        quantity(granted or wanted),
        text(spec.get("volumeName")),
        text(spec.get("storageClassName")),
    )


_QUANTITY = re.compile(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)([numkMGTPE]?i?)$", re.ASCII)
_POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def quantity(value: Any) -> int | None:
    """Bytes in a quantity of Kubernetes, such as 10Gi, 500M or 1e9."""
    found = _QUANTITY.match(text(value).replace("Ki", "ki"))
    if not found:
        return None
    letter = found[2].rstrip("i")
    if letter not in _POWERS:
        return None
    size = float(found[1]) * float((1024 if found[2].endswith("i") else 1000) ** _POWERS[letter])
    return int(size) if size < 1e24 else None


# -- certificates ----------------------------------------------------------------------------------
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_KUBELET_CONFIG = re.compile(r"client-certificate-data:\s*([A-Za-z0-9+/=]+)")
COMMON_NAME = b"\x06\x03\x55\x04\x03"


def certificates_at(patterns: Iterable[str]) -> Callable[[Machine], list[Certificate]]:
    """What reads the certificates in the files that these shell patterns name, beside the usual ones."""

    def certificates(machine: Machine) -> list[Certificate]:
        paths = dict.fromkeys(path for pattern in (*CERTIFICATES, *patterns) for path in machine.names(pattern))
        found = [one for path in list(paths)[:MOST_CERTIFICATES] for one in certificates_in(machine, path)]
        if not found:
            raise Absent("there are no certificates where they are looked for")
        return found

    return certificates


def certificates_in(machine: Machine, path: str) -> list[Certificate]:
    """The first certificate of a file; of those behind it, which belong to others, none."""
    try:
        match = _PEM.search(machine.read(path))
        return [certificate_of(path, match[1])] if match else []
    except (Absent, Broken):
        return []


def certificate_of(path: str, words: str) -> Certificate:
    """When a certificate runs out, and whose it is. Raises Broken for what is none."""
    try:
        expires, subject = validity(base64.b64decode(words, validate=False))
    except (ValueError, IndexError, binascii.Error, OverflowError) as error:
        raise Broken(f"{path} holds no certificate: {error}") from error
    return Certificate(path, subject, expires)


def validity(der: bytes) -> tuple[float, str]:
    """The end of a certificate's time and its subject's common name, from its DER: the standard library reads none.

    Raises ValueError or IndexError for what is no certificate.
    """
    fields = parts(inner(inner(der, 0x30), 0x30))
    if fields and fields[0][0] == 0xA0:  # the version, which the first ones had not
        fields = fields[1:]
    times = parts(fields[3][1])
    subject = fields[4][1]
    at = subject.rfind(COMMON_NAME)
    name = ""
    if at >= 0:
        length = subject[at + len(COMMON_NAME) + 1]
        start = at + len(COMMON_NAME) + 2
        name = text(subject[start : start + length].decode("utf-8", "replace"))
    return moment(*times[1]), name


def inner(der: bytes, tag: int) -> bytes:
    found = parts(der[:1] and der)
    if not found or found[0][0] != tag:
        raise ValueError("not a certificate")
    return found[0][1]


def parts(der: bytes) -> list[tuple[int, bytes]]:
    """The elements of a DER sequence: tags and contents."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(der[at : at + count], "big")
            at += count
        if at + length > len(der):
            raise ValueError("cut short")
        found.append((tag, der[at : at + length]))
        at += length
    return found


def moment(tag: int, content: bytes) -> float:
    """A UTCTime or GeneralizedTime, in seconds since the epoch."""
    words = content.decode("ascii", "replace")
    if tag == 0x17:
        words = ("20" if int(words[:2]) < 50 else "19") + words
    elif tag != 0x18:
        raise ValueError("no time")
    return float(calendar.timegm(time.strptime(words[:14], "%Y%m%d%H%M%S")))
