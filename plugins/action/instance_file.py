# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of a file task: brings what is to be pushed to where the module runs.

Content goes by a file, too, so that it stands in no argument, no log and no record of the invocation.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

MODULE = "rackstead.infra.instance_file"


class ActionModule(ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = dict(self._task.args)
        with self._local_source(args) as source:
            if source:
                args.pop("content", None)
                args["src"] = self._bring(source, args)
                args["remote_src"] = True
            result.update(self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars))
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    @contextmanager
    def _local_source(self, args: dict[str, Any]) -> Iterator[str]:
        """A path on this machine that holds what is to be pushed; nothing where the module needs none."""
        src, content = args.get("src"), args.get("content")
        pushes = args.get("state", "present") == "present" and (src is None) != (content is None)
        if not pushes or (src is not None and boolean(args.get("remote_src", False), strict=False)):
            yield ""
        elif content is not None:
            with tempfile.NamedTemporaryFile(dir=constants.DEFAULT_LOCAL_TMP) as file:
                file.write((content if isinstance(content, str) else json.dumps(content)).encode())
                file.flush()
                yield file.name
        else:
            yield from self._found(str(src))

    def _found(self, src: str) -> Iterator[str]:
        """The file that ``src`` names, decrypted for as long as it is needed where it is a vault."""
        try:
            path = self._find_needle("files", src)
        except AnsibleError as error:
            hint = "allowed: a path, absolute or relative to the play or its folder files, or remote_src: true"
            raise AnsibleActionFail(f"src: {src} is not on the control node; {hint}") from error
        if os.path.isdir(path):
            yield path
            return
        real = self._loader.get_real_file(path)
        try:
            yield real
        finally:
            self._loader.cleanup_tmp_file(real)

    def _bring(self, source: str, args: dict[str, Any]) -> str:
        """Have ``source`` where the module runs, and return its path there."""
        if args.get("mode") == "preserve" and os.path.isfile(source):
            args["mode"] = f"{os.stat(source).st_mode & 0o777:04o}"
        if self._connection.transport in ("local", "ansible.builtin.local") and not self._task.become:
            return source
        if os.path.isdir(source):
            hint = "copy it there first with ansible.builtin.copy, and use remote_src: true"
            raise AnsibleActionFail(f"src: {source} is a directory, and the task runs on another host; {hint}")
        self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "source")
        self._transfer_file(source, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return str(remote)
