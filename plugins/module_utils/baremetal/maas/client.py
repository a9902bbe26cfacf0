# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MAAS's REST API 2.0: OAuth, deadlines, and errors in one line."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import (
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
    Unsupported,
)
from .model import Machine, machine_of

API = "/api/2.0"
#: Failed, timed out, failed to install, failed to apply the network configuration.
FAILED_SCRIPT = (3, 4, 8, 11)
KEY = re.compile(r"[^:\s]+:[^:\s]+:[^:\s]+")
URL = re.compile(r"https?://[^/@\s]+(?::\d+)?(?:/[^\s?#@]*)?")
#: Options of the doc fragment ``rackstead.infra.maas`` -> the environment variable that stands in for it.
FALLBACKS = {
    "url": "RACKSTEAD_MAAS_URL",
    "api_key": "RACKSTEAD_MAAS_API_KEY",
    "api_key_file": "RACKSTEAD_MAAS_API_KEY_FILE",
    "ca_cert": "RACKSTEAD_MAAS_CA_CERT",
}
OPTIONS: dict[str, Any] = {
    "url": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "api_key_file": {"type": "path", "no_log": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca_cert": {"type": "path"},
    "timeout": {"type": "float", "default": 30.0},
}


class Busy(OperationFailed):
    """MAAS is there and cannot do it now (503), for want of an address for example. Nothing was done."""


@dataclass(frozen=True)
class Site:
    """Where MAAS is and who asks. ``timeout`` is in seconds, for each answer."""

    url: str
    key: str = field(repr=False)
    verify: bool = True
    ca_file: str = ""
    timeout: float = 30.0


def site_of(params: Mapping[str, Any]) -> Site:
    """The MAAS that options name. Raises InvalidInput with all that is wrong."""
    problems = []
    url = (params["url"] or "").rstrip("/").removesuffix(API)
    if not URL.fullmatch(url):
        problems.append("url: is not the URL of a MAAS; allowed: such as https://maas.example:5443/MAAS")
    key = params["api_key"] or _read_key(params["api_key_file"], problems)
    if not KEY.fullmatch(key) and not problems:
        problems.append("api_key: is not a MAAS API key; allowed: three words with colons between")
    if params["timeout"] <= 0:
        problems.append(f"timeout: {params['timeout']:g} is not valid; allowed: seconds, more than 0")
    ca = params["ca_cert"] or ""
    if ca and not os.path.isfile(ca):
        problems.append(f"ca_cert: there is no file {ca}")
    if problems:
        raise InvalidInput(problems)
    return Site(url, key, params["validate_certs"], ca, params["timeout"])


def _read_key(path: str | None, problems: list[str]) -> str:
    if not path:
        problems.append("api_key: is missing; api_key_file does as well")
        return ""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"api_key_file: {path} cannot be read: {getattr(exc, 'strerror', None) or 'no API key'}")
        return ""


class Maas:
    """A MAAS that is asked."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.requests = 0
        self._web = _session(site)

    def __enter__(self) -> Maas:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._web.close()

    @property
    def where(self) -> str:
        return f"MAAS at {self.site.url}"

    # -- HTTP -------------------------------------------------------------------------------------
    def get(self, path: str, **params: Any) -> Any:
        """What stands at a path. Asked again while MAAS does not answer, for as long as one answer may take."""
        deadline = Deadline(self.site.timeout)
        missed: list[Unreachable] = []

        def answered() -> list[Any] | None:
            try:
                return [self._ask("GET", path, params=params)]
            except Unreachable as exc:
                missed.append(exc)
                if deadline.expired():
                    raise
                return None

        return wait_until(answered, deadline, what=self.where, first=0.2)[0]

    def post(self, path: str, op: str = "", **data: Any) -> Any:
        """Asked once: whether it was done when no answer comes is to be seen from the machine."""
        return self._ask("POST", path, params={"op": op} if op else {}, data=data)

    def put(self, path: str, **data: Any) -> Any:
        return self._ask("PUT", path, data=data)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        import requests

        self.requests += 1
        try:
            answer = self._web.request(
                method,
                f"{self.site.url}{API}/{path}",
                timeout=self.site.timeout,
                allow_redirects=False,
                **content,
            )
        except requests.exceptions.SSLError as exc:
            hint = "name the authority in ca_cert"
            raise Denied("its certificate is not trusted", where=self.where, hint=hint) from exc
        except requests.RequestException as exc:
            raise Unreachable(f"does not answer: {_innermost(exc)}", where=self.where) from exc
        if answer.status_code >= 300:
            raise self._refusal(answer, method, path)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as exc:
            raise OperationFailed(f"{path}: answers with something else than JSON", where=self.where) from exc

    def _refusal(self, answer: Any, method: str, path: str) -> RacksteadError:
        code, text = answer.status_code, " ".join(answer.text.split())[:300]
        if code == 401:
            return Denied("does not accept the API key", where=self.where, hint="make a new one in MAAS's preferences")
        if code in (502, 504) or (code == 503 and method == "GET"):
            return Unreachable(f"is not ready ({code}): {text}", where=self.where)
        if 300 <= code < 400:
            return Unsupported(f"sends {path} elsewhere ({code}); is the URL right?", where=self.where)
        kinds = {403: Denied, 404: NotFound, 409: Conflict, 503: Busy}
        return kinds.get(code, OperationFailed)(f"{method} {path}: {code}: {text}", where=self.where)

    # -- machines ---------------------------------------------------------------------------------
    def machines(self, **filters: Any) -> list[Machine]:
        """All machines, or those that MAAS's own filters (hostname, mac_address, pool, zone, …) find."""
        return [machine_of(one) for one in self.get("machines/", **filters)]

    def machine(self, system_id: str) -> Machine:
        return machine_of(self.get(f"machines/{system_id}/"))

    def find(self, name: str) -> Machine:
        """The machine with this system ID, hostname, FQDN or MAC address. Raises NotFound, Conflict."""
        if re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", name):
            found = self.machines(mac_address=name.lower())
        else:
            try:
                return self.machine(name)
            except NotFound:
                found = [
                    one for one in self.machines(hostname=name.partition(".")[0]) if name in (one.hostname, one.fqdn)
                ]
        if len(found) > 1:
            ids = ", ".join(one.system_id for one in found)
            raise Conflict(
                f"machine {name}: there are {len(found)}: {ids}", where=self.where, hint="name the system ID"
            )
        if not found:
            raise NotFound(f"machine {name}: does not exist", where=self.where)
        return found[0]

    def order(self, system_id: str, op: str, **data: Any) -> None:
        """Tell MAAS to do something with a machine."""
        self.post(f"machines/{system_id}/", op, **{key: value for key, value in data.items() if value is not None})

    def failed_scripts(self, system_id: str) -> list[tuple[str, str, str]]:
        """Failed scripts of the latest runs: name, exit status, and the end of what it said."""
        failed = []
        for run in self.get(f"nodes/{system_id}/results/", include_output="true"):
            for result in run.get("results") or []:
                if result.get("status") in FAILED_SCRIPT:
                    said = _decoded(result.get("stderr")) or _decoded(result.get("output"))
                    failed.append((str(result.get("name")), str(result.get("exit_status", "")), said))
        return failed

    def power_parameters(self, system_id: str) -> Mapping[str, Any]:
        """How MAAS reaches the machine's BMC: power_address, power_user, power_pass and more, by the kind of BMC."""
        found = self.get(f"machines/{system_id}/", op="power_parameters")
        return found if isinstance(found, Mapping) else {}

    def set_power_address(self, system_id: str, address: str) -> None:
        """Tell MAAS where the machine's BMC is. What else it knows of the BMC stays."""
        self.put(f"machines/{system_id}/", power_parameters_power_address=address)

    def power_state(self, system_id: str) -> str:
        """The power as the BMC shows it to MAAS now: on, off, unknown, or error where MAAS cannot ask it."""
        return str(self.get(f"machines/{system_id}/", op="query_power_state")["state"])

    # -- tags -------------------------------------------------------------------------------------
    def tag(self, name: str) -> Mapping[str, Any] | None:
        """The tag's document, or None."""
        try:
            document: Mapping[str, Any] = self.get(f"tags/{name}/")
        except NotFound:
            return None
        return document

    def tagged(self, name: str) -> set[str]:
        """System IDs of the machines that have a tag."""
        return {str(one["system_id"]) for one in self.get(f"tags/{name}/", op="machines")}

    def update_tagged(self, name: str, add: Sequence[str], remove: Sequence[str]) -> None:
        self.post(f"tags/{name}/", "update_nodes", add=list(add), remove=list(remove))


def _decoded(text: Any) -> str:
    """The last line of a script's output, which MAAS sends in base 64."""
    try:
        plain = base64.b64decode(str(text or "")).decode("utf-8", "replace")
    except ValueError:
        return ""
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _session(site: Site) -> Any:
    try:
        import requests
        from requests_oauthlib import OAuth1
    except ImportError as exc:
        raise Unsupported(
            "MAAS needs the Python libraries requests and requests-oauthlib", hint="install them"
        ) from exc
    consumer, token, secret = site.key.split(":")
    web = requests.Session()
    web.trust_env = False  # no .netrc in the key's place
    web.verify = (site.ca_file or True) if site.verify else False
    web.auth = OAuth1(
        consumer,
        client_secret="",
        resource_owner_key=token,
        resource_owner_secret=secret,
        signature_method="PLAINTEXT",
    )
    web.headers["Accept"] = "application/json"
    return web


def _innermost(error: BaseException) -> str:
    """The innermost cause, which is the readable one."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
