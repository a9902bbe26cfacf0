# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON Schema for editors says what the door says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.instances.schema import plan_schema, schema_text
from jsonschema import Draft202012Validator

from tests.unit.plan_worlds import door
from tests.unit.test_door import test_a_fault_is_told_in_one_line

TOP = Path(__file__).resolve().parent.parent.parent
VALIDATOR = Draft202012Validator(plan_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)

WHOLE = """
name: lab
project: default
x-anything: [1, 2]
defaults: &base
  image: debian/12
  memory: 256MiB
  cpus: 2
projects:
  site: {description: a site, config: {features.images: false}}
networks:
  lab0:
    type: bridge
    config: {ipv4.address: 10.9.0.1/24, ipv4.nat: true}
storage_volumes:
  data: {pool: default, size: 1GiB, content_type: filesystem}
profiles:
  web:
    config: {limits.processes: 100}
    devices: {eth1: {type: nic, network: lab0}}
  empty:
instances:
  gateway:
    <<: *base
    type: container
    description: the way in
    disk: 5GiB
    profiles: [default, web]
    config: {boot.autostart: true}
    devices: {extra: {type: disk, source: /srv, path: /srv}}
    network:
      type: bridge
      bridge: lab0
      ipv4: 10.9.0.5
      forwards:
        - {listen: 8080, connect: 80}
        - {listen: "127.0.0.1:5353", connect: 53, protocol: udp}
    volumes: {data: /data}
    cloud_init: |
      #cloud-config
      packages: [nginx]
    vendor_data: {runcmd: [["true"]]}
    network_config: {version: 2}
    metadata: {role: gateway, tier: 1}
    state: running
    wait_for:
      - running
      - ipv4
      - cloud_init
      - {port: 80}
      - {command: [test, -e, /ready]}
      - {command: test -e /ready}
    wait_timeout: 60
    ephemeral: false
  worker:
    image: images:debian/12
    cpus: "0-3"
    memory: 50%
    target: "@east"
    depends_on: gateway
    wait_for: ipv4
  plain:
"""


def errors(document: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_the_shipped_file_is_fresh() -> None:
    assert (TOP / "docs/schema/plan.schema.json").read_text() == schema_text(), (
        "write it anew: python -m tests.tools.schema"
    )


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(plan_schema())


def test_a_plan_with_everything_is_good_at_both() -> None:
    document = yaml.safe_load(WHOLE)
    assert errors(document) == []
    assert door(document) == []


#: These are about outages, and have a schema of their own: test_power.py reads them.
OF_POWER = {"power.yml", "outage.yml"}
PLANS = sorted(path for path in (TOP / "plans").glob("*.yml") if path.name not in OF_POWER)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.name)
def test_shipped_plans_are_good(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert errors(document) == []
    assert door(document) == []


#: What the schema cannot say, since it needs a look at several fields, or at what YAML text holds.
BEYOND = (
    "already",
    "is kept by",
    "not in",
    "circle",
    "is to be",
    "is taken",
    "has no port",
    "cloud-init",
    "is not YAML",
    "holds no mapping",
    "is set twice",
)
CASES = test_a_fault_is_told_in_one_line.pytestmark[0].args[1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("document", "line"), [case for case in CASES if not any(word in case[1] for word in BEYOND)])
def test_what_the_door_refuses_an_editor_marks_too(document: Any, line: str) -> None:
    assert errors(json.loads(json.dumps(document)))


def test_every_field_is_described() -> None:
    def walk(node: Any, path: str) -> None:
        for name, below in node.get("properties", {}).items():
            if path or "description" not in below:
                assert below.get("description") or path.endswith(("port", "command")) or name in ("port", "command"), (
                    f"{path}.{name}"
                )
            walk(below, f"{path}.{name}")

    walk(plan_schema(), "")
