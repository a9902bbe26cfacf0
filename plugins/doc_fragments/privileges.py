# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user is to be allowed: the options of the modules about privileges."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  user:
    description: Name of the user. Groups, aliases and ids are refused.
    type: str
    required: true
  commands:
    description:
      - The commands, each with its absolute path and arguments, such as C(/usr/bin/snap list).
      - Without arguments, the command may be run without arguments only.
      - C(...) at the end stands for whatever follows. C(/usr/bin/snap refresh microk8s ...) lets arguments follow those
        three words, C(/usr/bin/apt-get ...) any. Signs such as C(*) stand for themselves.
      - Programs that give all of root's rights are refused. Shells, editors and pagers always; interpreters, and what
        runs other programs or writes any file, with C(...) or nothing behind them. No list of such programs is whole, so
        keep C(...) rare.
    type: list
    elements: str
    default: []
  everything:
    description: Whether the user may run everything as everybody, in place of O(commands).
    type: bool
    default: false
  password:
    description: Whether sudo asks for the user's password.
    type: bool
    default: false
"""
