# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of the API: whole, and true of what the server does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.runner.rest_server import SECONDS, Server, running

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
    "use_after_free",
)
FUZZING = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("openapi"), "--no-worker") as found:
        yield found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_operation_is_described(server: Server) -> None:
    document = server.get("/openapi.json", token="")
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["tags"], name
        for status, answer in operation["responses"].items():
            assert answer["description"], f"{name} {status}"
            if int(status) >= 400 and name != "get /health":
                assert list(answer["content"]) == ["application/problem+json"], f"{name} {status}"
        if "requestBody" in operation:
            assert {"400", "408", "413", "422"} <= set(operation["responses"]), name
        secured = operation.get("security", [])
        assert bool(secured) == (name != "get /health"), name
    parts = document["components"]["schemas"]
    for name in ("Job", "Problem", "Submission", "Creation", "NewSchedule", "Health"):
        assert "example" in parts[name], name


def test_schemathesis_finds_nothing(server: Server, tmp_path: Path) -> None:
    """The stream of a job that never ends is left out: nobody could wait for it."""
    words = ["run", f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {server.token}", "--no-color"]
    words += ["--exclude-path", "/jobs/{job_id}/events", "--checks", ",".join(CHECKS)]
    words += ["--seed", "7", "--max-time", str(FUZZING), "--max-examples", "5", "--phases", "coverage,fuzzing,stateful"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "schemathesis"), *words],
        cwd=tmp_path,
        env={**server.env, "SCHEMATHESIS_HOOKS": "tests.runner.rest_hooks", "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=SECONDS + FUZZING,
    )
    assert done.returncode == 0, done.stdout
    seen = [json.loads(line) for line in server.log.rpartition("\n")[0].splitlines() if line.startswith("{")]
    statuses = [line["status"] for line in seen if "status" in line]
    assert len(statuses) > len(list(operations(server.get("/openapi.json", token=""))))
    assert [one for one in statuses if one >= 500] == []
    assert server.get("/health")["store"] == "ok"
