# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: instance
author: Rackstead contributors (@rackstead)
short_description: Run tasks inside instances through the provider's API
version_added: "1.0.0"
description:
  - Runs commands in an instance and moves files to and from it through Incus's REST API, over the local socket or HTTPS.
  - Needs neither SSH nor an address in the instance, and no C(incus) command on the control node.
  - An instance that does not exist or does not run is unreachable.
requirements:
  - websocket-client >= 1.6 on the control node
options:
  remote_addr:
    description:
      - Name of the instance. Of a name with dots, the part before the first one.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: ansible_rackstead_instance
  url:
    description:
      - Where the Incus daemon listens, V(unix:///path/to/unix.socket) or V(https://host:8443).
      - Without it the local daemon's socket is used.
    type: str
    default: ""
    vars:
      - name: ansible_rackstead_url
    env:
      - name: RACKSTEAD_URL
  project:
    description:
      - The Incus project that the instance is in.
    type: str
    default: default
    vars:
      - name: ansible_rackstead_project
    env:
      - name: RACKSTEAD_PROJECT
  client_cert:
    description:
      - Path of the client certificate (PEM) that the daemon trusts. Only for an O(url) with HTTPS.
    type: path
    vars:
      - name: ansible_rackstead_client_cert
    env:
      - name: RACKSTEAD_CLIENT_CERT
  client_key:
    description:
      - Path of the client certificate's private key (PEM).
    type: path
    vars:
      - name: ansible_rackstead_client_key
    env:
      - name: RACKSTEAD_CLIENT_KEY
  server_fingerprint:
    description:
      - SHA-256 fingerprint of the server's certificate. If given, exactly this certificate is trusted (pinning).
    type: str
    default: ""
    vars:
      - name: ansible_rackstead_server_fingerprint
    env:
      - name: RACKSTEAD_SERVER_FINGERPRINT
  ca_cert:
    description:
      - Path of a CA certificate (PEM) to verify the server's certificate with, where it is not pinned.
        Without it the system's store is used.
    type: path
    vars:
      - name: ansible_rackstead_ca_cert
    env:
      - name: RACKSTEAD_CA_CERT
  remote_user:
    description:
      - The user inside the instance that commands run as and that files belong to, by name or number.
      - A name is looked up in the instance's C(/etc/passwd). The user's environment has C(HOME), C(USER) and C(LOGNAME) set.
      - Supplementary groups are not set. Use C(become) where they matter.
    type: str
    default: root
    vars:
      - name: ansible_user
      - name: ansible_rackstead_user
    env:
      - name: ANSIBLE_REMOTE_USER
    ini:
      - section: defaults
        key: remote_user
    cli:
      - name: user
    keyword:
      - name: remote_user
  executable:
    description:
      - The shell that commands run in.
    type: str
    default: /bin/sh
    vars:
      - name: ansible_executable
      - name: ansible_rackstead_executable
    ini:
      - section: defaults
        key: executable
  cwd:
    description:
      - Folder inside the instance that commands start in. Without it, the user's home.
    type: str
    default: ""
    vars:
      - name: ansible_rackstead_cwd
  pipelining:
    description:
      - Feed modules to the instance's Python instead of storing them there first. One call for a task, instead of four.
    type: bool
    default: true
    vars:
      - name: ansible_pipelining
      - name: ansible_rackstead_pipelining
    env:
      - name: ANSIBLE_PIPELINING
    ini:
      - section: defaults
        key: pipelining
      - section: connection
        key: pipelining
  timeout:
    description:
      - Seconds that the daemon may take to accept a connection, to answer a request, or to ask for the C(become) password.
    type: float
    default: 60
    vars:
      - name: ansible_rackstead_timeout
    env:
      - name: RACKSTEAD_TIMEOUT
  command_timeout:
    description:
      - Seconds after which a command is killed and its task fails. V(0) lets it run as long as it takes.
    type: float
    default: 0
    vars:
      - name: ansible_rackstead_command_timeout
    env:
      - name: RACKSTEAD_COMMAND_TIMEOUT
"""

EXAMPLES = r"""
# inventory.yml
all:
  vars:
    ansible_connection: rackstead.infra.instance
  hosts:
    gateway:
    worker:
      ansible_rackstead_project: staging
    far:
      ansible_rackstead_url: https://incus.example.org:8443
      ansible_rackstead_client_cert: ~/.config/rackstead/client.crt
      ansible_rackstead_client_key: ~/.config/rackstead/client.key
      ansible_rackstead_server_fingerprint: d10f41308b5e34a03cb1c7f66f0faf1801f827ac7dcaaac270ac860f8f2977fc
"""

import os
import shlex
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.plugins.connection import ConnectionBase
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    DeadlineExceeded,
    Denied,
    RacksteadError,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.known import known
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.execute import Session
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.requests import Requests
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint, Transport

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient

ROOT = "root"


class Connection(ConnectionBase):
    """Commands and files of one instance."""

    transport = "rackstead.infra.instance"
    has_pipelining = True
    # A command comes here as it is: one shell runs it, not a shell in a shell.
    allow_executable = False

    _requests: Requests | None = None
    _identity: dict[str, Any] | None = None

    @property
    def instance(self) -> str:
        return str(self.get_option("remote_addr")).partition(".")[0]

    def _connect(self) -> Connection:
        """Nothing is sent yet: the first request opens the connection that the task's others share."""
        if self._requests is None:
            endpoint = Endpoint(
                url=self.get_option("url") or "",
                project=self.get_option("project") or "default",
                cert_file=self.get_option("client_cert") or "",
                key_file=self.get_option("client_key") or "",
                fingerprint=self.get_option("server_fingerprint") or "",
                ca_file=self.get_option("ca_cert") or "",
            )
            self._requests = Requests(endpoint, transport=Transport(endpoint, self.get_option("timeout")))
            self._connected = True
        return self

    @property
    def requests(self) -> Requests:
        self._connect()
        return known(self._requests)

    @property
    def client(self) -> IncusClient:
        """The whole client, on the same connection. Commands do without, to spare each worker its import."""
        from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient

        return IncusClient(self.requests.endpoint, transport=self.requests.transport)

    def close(self) -> None:
        if self._requests is not None:
            self._requests.transport.close()
            self._requests = None
        self._connected = False

    def reset(self) -> None:
        self.close()

    # -- commands ----------------------------------------------------------------------------------
    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        self._display.vvv(f"EXEC {to_text(cmd)}", host=self.instance)
        try:
            with self._start([*self._shell_argv(), "-c", to_text(cmd)]) as session:
                if sudoable and self.become and self.become.expect_prompt():
                    self._answer_prompt(session)
                session.write(to_bytes(in_data or b""))
                session.end_input()
                result = session.finish()
        except DeadlineExceeded as error:
            raise AnsibleError(f"instance {self.instance}: {error}") from None
        except RacksteadError as error:
            raise self._failure(error) from None  # Ansible would put a cause's words behind the sentence
        return result.rc, result.stdout, result.stderr

    def _start(self, argv: list[str]) -> Session:
        identity = self._identify()
        cwd, timeout = self.get_option("cwd") or "", self.get_option("command_timeout") or None
        return Session(self.requests, self.instance, argv, cwd=cwd, timeout=timeout, **identity)

    def _shell_argv(self) -> list[str]:
        """The task's own executable (of raw, say), else the option's."""
        asked = getattr(self._shell, "executable", None)
        if asked and asked != self._play_context.executable:
            return shlex.split(asked)
        return shlex.split(self.get_option("executable"))

    def _identify(self) -> dict[str, Any]:
        """User, group and environment of commands. Root is what Incus takes by itself."""
        if self._identity is None:
            user = self.get_option("remote_user") or ROOT
            self._identity = {} if user in (ROOT, "0") else self._look_up(user)
        return self._identity

    def _look_up(self, user: str) -> dict[str, Any]:
        from ansible_collections.rackstead.infra.plugins.module_utils.instances.accounts import find_account

        account = find_account(self.client, self.instance, user, "remote_user")
        environment = {"HOME": account.home or "/", "USER": account.name, "LOGNAME": account.name}
        named = {key: value for key, value in environment.items() if value}
        return {"user": account.uid, "group": account.gid, "environment": named}

    def _answer_prompt(self, session: Session) -> None:
        """Give the become plugin's password when it is asked for, and see that it was right."""
        become = self.become
        outputs = (session.stdout, session.stderr)

        def granted() -> bool:
            return bool(become.check_success(bytes(session.stdout)))

        def asked() -> bool:
            return granted() or any(become.check_password_prompt(bytes(output)) for output in outputs)

        def refused() -> bool:
            seen = [bytes(output) for output in outputs]
            return any(
                become.check_incorrect_password(output) or become.check_missing_password(output) for output in seen
            )

        self._expect(session, asked, "prompt")
        if granted() or session.ended:
            return
        for output in outputs:
            output.clear()  # the prompt is no output of the command
        session.write(to_bytes(become.get_option("become_pass")) + b"\n")
        self._expect(session, lambda: granted() or refused(), "success")
        if not granted() and refused():
            raise AnsibleAuthenticationFailure(f"instance {self.instance}: incorrect {become.name} password")

    def _expect(self, session: Session, condition: Any, what: str) -> None:
        seconds = self.get_option("timeout")
        if not session.pump(condition, Deadline(seconds)):
            session.kill()
            name = self.become.name
            raise AnsibleConnectionFailure(f"instance {self.instance}: no {name} {what} within {seconds:g} s")

    # -- files -------------------------------------------------------------------------------------
    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        self._display.vvv(f"PUT {in_path} TO {out_path}", host=self.instance)
        source = to_bytes(in_path, errors="surrogate_or_strict")
        if not os.path.isfile(source):
            raise AnsibleFileNotFound(f"the file to put does not exist: {to_text(in_path)}")
        try:
            owner = self._identify()
            with open(source, "rb") as content:
                self.client.push(self.instance, out_path, content, uid=owner.get("user", 0), gid=owner.get("group", 0))
        except RacksteadError as error:
            raise self._failure(error, f"put {out_path}") from None

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        self._display.vvv(f"FETCH {in_path} TO {out_path}", host=self.instance)
        target = to_bytes(out_path, errors="surrogate_or_strict")
        unfinished = target + b".rackstead-%d" % os.getpid()
        try:
            with open(unfinished, "wb") as content:
                self.client.pull_file(self.instance, in_path, content.write)
            os.replace(unfinished, target)
        except RacksteadError as error:
            raise self._failure(error, f"fetch {in_path}") from None
        finally:
            if os.path.exists(unfinished):
                os.unlink(unfinished)

    # -- errors ------------------------------------------------------------------------------------
    def _failure(self, error: RacksteadError, doing: str = "") -> AnsibleError:
        """Unreachable in one sentence, where it is the instance or the daemon; else the file's fault."""
        if isinstance(error, Unreachable | Denied):
            return AnsibleConnectionFailure(str(error))
        try:
            why = self._why_not()
        except RacksteadError as worse:
            return AnsibleConnectionFailure(str(worse))
        if why:
            place = f'project "{self.requests.project}" of Incus at {self.requests.endpoint.label}'
            return AnsibleConnectionFailure(f'instance "{self.instance}" in {place} {why}')
        failure = AnsibleError if doing else AnsibleConnectionFailure
        return failure(f"instance {self.instance}: {doing + ': ' if doing else ''}{error}")

    def _why_not(self) -> str:
        """What keeps the instance from running commands, if anything does."""
        from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import nearest

        found = self.client.find(f"/instances/{self.instance}")
        if found is None:
            paths = self.client.find("/instances") or []
            names = [path.rpartition("/")[2].partition("?")[0] for path in paths]
            return f"does not exist{nearest(self.instance, names)}"
        status = str(found["status"]).lower()
        return "" if status == "running" else f"is {status}, not running"
