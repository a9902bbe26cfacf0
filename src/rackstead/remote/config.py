# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server to go through, and the token for it: from options, the environment, or what ``login`` has kept."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput

URL, TOKEN, TOKEN_FILE, CA = (
    "RACKSTEAD_SERVER",
    "RACKSTEAD_TOKEN",
    "RACKSTEAD_TOKEN_FILE",
    "RACKSTEAD_SERVER_CA",
)


@dataclass(frozen=True)
class Choice:
    """A server. ``ca`` is a file with the CA's certificate, or empty for those that this machine trusts."""

    url: str
    token: str = field(repr=False)
    ca: str = ""


def choose(server: str = "", ca: str = "", local: bool = False) -> Choice | None:
    """The server that is meant, or None where none is. Raises InvalidInput with a line for each fault."""
    if local:
        return None
    kept = None if server or os.environ.get(URL) else _kept()
    if kept:
        return Choice(kept.url, _given_token() or kept.token, ca or os.environ.get(CA) or kept.ca)
    url = server or os.environ.get(URL, "")
    if not url:
        return None
    token = _given_token() or _kept_token(url)
    if not token:
        raise InvalidInput(
            [f"{TOKEN}: is not set, nor is {TOKEN_FILE}, and no token is kept for {url}; rackstead login keeps one"]
        )
    return checked(url, token, ca or os.environ.get(CA, ""))


def checked(url: str, token: str, ca: str) -> Choice:
    """Raises InvalidInput."""
    problems = _url_problems(url)
    if ca and not Path(ca).expanduser().is_file():
        problems.append(f'--server-ca: there is no file "{ca}"')
    if not token.isascii() or not token.isprintable() or " " in token:
        problems.append(f"{TOKEN}: does not hold a token; allowed: one word")
    if problems:
        raise InvalidInput(problems)
    return Choice(url.rstrip("/"), token, str(Path(ca).expanduser().absolute()) if ca else "")


def _url_problems(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or parts.username or parts.query or parts.fragment:
        return ["--server: is not the URL of a server; allowed: https://rackstead.example:8650"]
    if parts.scheme == "http" and not is_here(host):
        return [f'--server: "{url}" would show the token to the network; allowed: https, or http on this machine']
    return []


def is_here(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _given_token() -> str:
    path = os.environ.get(TOKEN_FILE, "")
    if os.environ.get(TOKEN) or not path:
        return os.environ.get(TOKEN, "").strip()
    try:
        return Path(path).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise InvalidInput([f'{TOKEN_FILE}: "{path}" cannot be read: {why}']) from error


# -- what login keeps -------------------------------------------------------------------------------
def file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "rackstead" / "server.json"


def keep(choice: Choice) -> Path:
    """Write the file, for this user alone; whole or not at all."""
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, json.dumps({"url": choice.url, "token": choice.token, "ca": choice.ca}))
    return path


def write_private(path: Path, text: str) -> None:
    """A file for this user alone, in the place of an older one at once or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".rackstead-")
    try:
        with os.fdopen(handle, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def forget() -> bool:
    """Whether there was something to forget."""
    there = file().exists()
    file().unlink(missing_ok=True)
    return there


def _kept_token(url: str) -> str:
    found = _kept()
    return found.token if found and found.url == url.rstrip("/") else ""


def _kept() -> Choice | None:
    path = file()
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise InvalidInput([f"{path}: others can read the token in it; chmod 600 mends that"])
        found = json.loads(path.read_text())
        return checked(str(found["url"]), str(found["token"]), str(found["ca"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput([f"{path}: cannot be read; rackstead login writes it anew"]) from error
