# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trust tokens as text, and key pairs from the library and from the command."""

from __future__ import annotations

import base64
import json
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.instances import remotes

FIELDS = {
    "client_name": "laptop",
    "fingerprint": "AB" * 32,
    "addresses": ["10.0.0.1:8443", "[fd00::1]:8443"],
    "secret": "s3cr3t-s3cr3t-s3cr3t",
    "expires_at": "0001-01-01T00:00:00Z",
}


def token(**changes: Any) -> str:
    fields = {key: value for key, value in {**FIELDS, **changes}.items() if value is not None}
    return base64.b64encode(json.dumps(fields).encode()).decode()


def test_a_token_is_read_also_where_it_was_wrapped() -> None:
    text = token()
    found = remotes.read_token(f" {text[:40]}\n{text[40:]}\n")
    assert (found.client, found.fingerprint, found.expires) == ("laptop", "ab" * 32, None)
    assert found.addresses == ("10.0.0.1:8443", "[fd00::1]:8443")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_are_gos(text: str | None, moment: datetime | None) -> None:
    assert remotes.read_token(token(expires_at=text)).expires == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "€",
        "not base64!",
        base64.b64encode(b"no json").decode(),
        base64.b64encode(b"[1]").decode(),
        token(secret=None),
        token(fingerprint=None),
        token(addresses=7),
        token(expires_at="tomorrow"),
    ],
)
def test_what_is_no_token_is_told_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        remotes.read_token(text)
    assert str(raised.value) == "token: this is no Incus trust token; allowed: what `incus config trust add` prints"


@pytest.mark.parametrize("make", [remotes._pair_by_library, remotes._pair_by_command])
def test_a_pair_can_be_loaded_and_its_key_is_private(
    make: Callable[[str], tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remotes, "_new_pair", make)
    cert, key = tmp_path / "a/client.crt", tmp_path / "a/client.key"
    remotes.make_pair(cert, key, "name with / and = signs" * 9)
    ssl.create_default_context().load_cert_chain(cert, key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(remotes.certificate_fingerprint(str(cert))) == 64
    assert sorted(path.name for path in cert.parent.iterdir()) == ["client.crt", "client.key"]


def test_a_pair_that_cannot_be_written_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        remotes.make_pair(tmp_path / "client.crt", tmp_path / "client.key", "x")
    assert list(tmp_path.iterdir()) == []
