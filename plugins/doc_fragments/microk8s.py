# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say where MicroK8s's commands are, and how long they may take."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  command:
    description: The command C(microk8s) on the machine.
    type: path
    default: /snap/bin/microk8s
  snap_command:
    description: The command C(snap) on the machine.
    type: path
    default: /usr/bin/snap
  data_dir:
    description: Folder in which MicroK8s keeps its arguments, certificates and datastore.
    type: path
    default: /var/snap/microk8s/current
  look_timeout:
    description: How long a command may take that only looks, in seconds. One that hangs is ended then.
    type: float
    default: 60.0
  act_timeout:
    description: How long a command may take that changes something, in seconds.
    type: float
    default: 900.0
requirements:
  - python >= 3.11
  - MicroK8s, or snapd to install it, on the machine
"""
