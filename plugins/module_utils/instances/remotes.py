# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enrolment of this machine at an Incus over HTTPS: a key pair, a trust token, a pinned server.

A trust token (`incus config trust add NAME` on the server) is JSON in base64: the client's name, the
fingerprint of the server's certificate, the addresses it listens on, a secret and when that expires.
The secret is sent only to a server whose certificate has that fingerprint.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import ssl
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import Denied, InvalidInput, OperationFailed, RacksteadError, Unreachable
from ..common.show import diff_of
from .incus.client import IncusClient
from .incus.transport import Endpoint, Transport

#: Seconds that one of a token's addresses may take to answer before the next is tried.
ADDRESS_TIMEOUT = 5.0
VALID_DAYS = 3650
HOW_TO_GET_A_TOKEN = "get a token on the server with `incus config trust add NAME`, and give it as token"


class Token(NamedTuple):
    """A trust token. ``expires`` is None for one that does not."""

    text: str
    client: str
    fingerprint: str
    addresses: tuple[str, ...]
    expires: datetime | None


class RemoteRequest(NamedTuple):
    """What is wanted of a server, and where our key pair is."""

    url: str
    token: str
    fingerprint: str
    ca_file: str
    cert_file: str
    key_file: str
    present: bool = True

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> RemoteRequest:
        return cls(
            url=params["url"] or "",
            token=params["token"] or "",
            fingerprint=plain_fingerprint(params["server_fingerprint"] or ""),
            ca_file=params["ca_cert"] or "",
            cert_file=params["client_cert"],
            key_file=params["client_key"],
            present=params["state"] == "present",
        )


class Standing(NamedTuple):
    """How we stand with the server."""

    trusted: bool
    client_fingerprint: str = ""
    name: str = ""
    restricted: bool = False
    projects: tuple[str, ...] = ()


# -- reading --------------------------------------------------------------------------------------
def plain_fingerprint(text: str) -> str:
    return text.replace(":", "").strip().lower()


def read_token(text: str) -> Token:
    """The token's fields. Raises InvalidInput, which never shows the token."""
    try:
        fields = json.loads(base64.b64decode("".join(text.split()), validate=True))
        fingerprint = plain_fingerprint(fields["fingerprint"])
        addresses = tuple(str(address) for address in fields["addresses"])
        client, expires, _secret = str(fields["client_name"]), _moment(fields.get("expires_at")), fields["secret"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            ["token: this is no Incus trust token; allowed: what `incus config trust add` prints"]
        ) from error
    return Token(text.strip(), client, fingerprint, addresses, expires)


def _moment(text: str | None) -> datetime | None:
    """A time as Go writes it; the year 1 stands for never. Fractions of a second are left out."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))


def _check(request: RemoteRequest, token: Token | None) -> None:
    """Raise InvalidInput for what contradicts itself, before anything is sent or written."""
    faults = []
    if request.url and not request.url.startswith("https://"):
        faults.append(f'url: "{request.url}" is not a remote server; allowed: https://host:8443')
    if not request.url and not (token and token.addresses):
        faults.append("url: is missing; allowed: https://host:8443, or a token that names the server's addresses")
    if token and request.fingerprint and token.fingerprint != request.fingerprint:
        faults.append(
            f"server_fingerprint: {request.fingerprint} is not the server that the token is for, {token.fingerprint}"
        )
    here = [Path(path).exists() for path in (request.cert_file, request.key_file)]
    if here[0] != here[1]:
        there, missing = ("client_cert", "client_key") if here[0] else ("client_key", "client_cert")
        faults.append(f"{missing}: {getattr(request, _FILES[missing])} does not exist, but {there} does; both or none")
    if faults:
        raise InvalidInput(faults)


_FILES = {"client_cert": "cert_file", "client_key": "key_file"}


# -- the whole ------------------------------------------------------------------------------------
def ensure_remote(request: RemoteRequest, *, check: bool = False) -> dict[str, Any]:
    """Be trusted by the server, or not. Returns the module's result."""
    token = read_token(request.token) if request.token else None
    _check(request, token)
    has_pair = Path(request.cert_file).exists()
    client = _reach(request, token, with_pair=has_pair)
    before = _standing(client, request.cert_file) if has_pair else Standing(False)
    changed = before.trusted != request.present
    after = before
    if changed and request.present:
        after = _enrol(client, request, token, has_pair, check)
    elif changed:
        after = _withdraw(client, before, check)
    return _result(client, request, before, after, changed, made_pair=request.present and not has_pair)


def _reach(request: RemoteRequest, token: Token | None, *, with_pair: bool) -> IncusClient:
    """A client of the first address that answers. The server proves who it is in the TLS handshake."""
    urls = [request.url] if request.url else [f"https://{address}" for address in (token.addresses if token else ())]
    pin = request.fingerprint or (token.fingerprint if token else "")
    failures: list[str] = []
    for url in urls:
        files = {"cert_file": request.cert_file, "key_file": request.key_file} if with_pair else {}
        endpoint = Endpoint(url=url, fingerprint=pin, ca_file=request.ca_file, **files)
        try:
            client = IncusClient(endpoint, transport=Transport(endpoint, ADDRESS_TIMEOUT if urls[1:] else 60.0))
            client.transport.open().close()
        except (Unreachable, Denied) as error:
            if len(urls) == 1:
                raise
            failures.append(str(error))
        else:
            return client
    raise Unreachable("none of the token's addresses is the server: " + "; ".join(failures))


def _standing(client: IncusClient, cert_file: str) -> Standing:
    """Whether the server trusts our certificate, and what for, as far as it tells us."""
    fingerprint = certificate_fingerprint(cert_file)
    if not client.server().trusted:
        return Standing(False, fingerprint)
    try:
        found = client.find(f"/certificates/{fingerprint}") or {}
    except Denied:
        found = {}
    projects = tuple(found.get("projects") or ())
    return Standing(True, fingerprint, str(found.get("name", "")), bool(found.get("restricted")), projects)


def certificate_fingerprint(cert_file: str) -> str:
    """SHA-256 of a PEM certificate, as Incus counts it."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(cert_file).read_text(encoding="ascii"))).hexdigest()
    except (OSError, ValueError) as error:
        raise InvalidInput([f"client_cert: {cert_file} is no readable PEM certificate: {error}"]) from error


# -- enrolling ------------------------------------------------------------------------------------
def _enrol(client: IncusClient, request: RemoteRequest, token: Token | None, has_pair: bool, check: bool) -> Standing:
    if token is None:
        raise Denied("the server does not trust this client", where=client.endpoint.url, hint=HOW_TO_GET_A_TOKEN)
    if token.expires and token.expires < datetime.now(UTC):
        raise InvalidInput([f"token: it expired at {token.expires:%Y-%m-%d %H:%M:%S} UTC; {HOW_TO_GET_A_TOKEN}"])
    if check:
        return Standing(True, certificate_fingerprint(request.cert_file) if has_pair else "", token.client)
    if not has_pair:
        make_pair(Path(request.cert_file), Path(request.key_file), token.client or "rackstead")
    endpoint = client.endpoint._replace(cert_file=request.cert_file, key_file=request.key_file)
    client = IncusClient(endpoint)
    body = {"type": "client", "trust_token": token.text, "name": token.client}
    try:
        client.post("/certificates", body)
    except Unreachable:
        raise
    except RacksteadError as error:
        # The server's own words may be put differently from release to release, but never hold the secret.
        raise Denied(
            f"the server refused the token ({error.what})",
            where=client.endpoint.url,
            hint="a token can be used once, and only until it expires",
        ) from error
    after = _standing(client, request.cert_file)
    if not after.trusted:
        raise OperationFailed("the server took the token, but does not trust this client", where=client.endpoint.url)
    return after


def _withdraw(client: IncusClient, before: Standing, check: bool) -> Standing:
    if not check:
        client.delete(f"/certificates/{before.client_fingerprint}")
    return Standing(False, before.client_fingerprint)


def _result(
    client: IncusClient, request: RemoteRequest, before: Standing, after: Standing, changed: bool, *, made_pair: bool
) -> dict[str, Any]:
    facts = {
        "trusted": after.trusted,
        "name": after.name,
        "restricted": after.restricted,
        "projects": list(after.projects),
        "client_fingerprint": after.client_fingerprint,
    }
    return {
        "changed": changed,
        "remote": {
            "url": client.endpoint.url,
            "server_fingerprint": client.endpoint.fingerprint,
            "client_cert": request.cert_file,
            "client_key": request.key_file,
            **facts,
        },
        "diff": diff_of(
            {"client_cert": "absent" if made_pair else request.cert_file, "trusted": before.trusted},
            {"client_cert": request.cert_file, "trusted": after.trusted},
            f"remote {client.endpoint.url}",
        ),
    }


# -- the key pair ---------------------------------------------------------------------------------
def make_pair(cert_file: Path, key_file: Path, name: str) -> None:
    """A P-384 key, readable by its owner alone, and a certificate for it.

    Both are complete or not there: written beside their places and renamed, the certificate last,
    so that a certificate always has its key.
    """
    key, certificate = _new_pair(name)
    for path, content, mode in ((key_file, key, 0o600), (cert_file, certificate, 0o644)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, content, mode)


def _write(path: Path, content: bytes, mode: int) -> None:
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def _new_pair(name: str) -> tuple[bytes, bytes]:
    """PEM of a new key and its self-signed client certificate, by the library or by the command openssl."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return _pair_by_command(name)
    return _pair_by_library(name)


def _pair_by_library(name: str) -> tuple[bytes, bytes]:
    from datetime import timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA384())
    )
    plain = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    return (
        key.private_bytes(serialization.Encoding.PEM, kind, plain),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


def _pair_by_command(name: str) -> tuple[bytes, bytes]:
    import subprocess

    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-sha384", "-days", str(VALID_DAYS)]
    subject = "/CN=" + "".join(letter for letter in name[:64] if letter.isalnum() or letter in "-_.@ ")
    with tempfile.TemporaryDirectory() as folder:  # which nobody else can enter
        key, certificate = Path(folder, "key"), Path(folder, "certificate")
        argv = ["openssl", "req", "-x509", *kind, "-subj", subject, "-addext", "extendedKeyUsage=clientAuth"]
        try:
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                [*argv, "-keyout", str(key), "-out", str(certificate)], check=False, capture_output=True, text=True
            )
        except FileNotFoundError as error:
            raise OperationFailed(
                "cannot make a key pair: neither the Python library cryptography nor the command openssl is there",
                hint="install one of them",
            ) from error
        if done.returncode:
            raise OperationFailed(f"openssl could not make a key pair: {done.stderr.strip()}")
        return key.read_bytes(), certificate.read_bytes()
