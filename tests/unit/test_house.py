# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that hold for the repository as a whole."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

TOP = Path(__file__).resolve().parent.parent.parent
LICENCE = (
    "# Copyright: (c) 2026, Rackstead contributors\n"
    "# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)\n"
    "# SPDX-License-Identifier: GPL-3.0-or-later\n"
)
LONGEST_FUNCTION = 60
DISTRIBUTIONS = {
    "ansible": "ansible-core",
    "ansible_runner": "ansible-runner",
    "opentelemetry": "opentelemetry-sdk",
    "pyipmi": "python-ipmi",
    "requests_oauthlib": "requests-oauthlib",
    "websocket": "websocket-client",
    "yaml": "PyYAML",
}
PUBLIC_HOSTS = {"pypi.org", "registry.npmjs.org"}
PUBLIC_DOMAINS = ("debian.org", "ubuntu.com")


@cache
def tracked() -> tuple[Path, ...]:
    """Files under version control, or about to be."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=True).stdout
    return tuple(sorted(TOP / name for name in listed.split("\0") if name and (TOP / name).is_file()))


def text_of(path: Path) -> str:
    """The text of a file; nothing for a binary one."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def python_files(*folders: str) -> list[Path]:
    return [p for p in tracked() if p.suffix == ".py" and p.relative_to(TOP).parts[0] in folders and p.stat().st_size]


def has_code(path: Path) -> bool:
    """Whether a file holds more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(text_of(path)).body)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(TOP)) for path in paths]


def load(path: str) -> dict:
    return yaml.safe_load((TOP / path).read_text(encoding="utf-8"))


def test_every_module_is_in_an_action_group() -> None:
    groups = load("meta/runtime.yml")["action_groups"].values()
    known = sorted(name for group in groups for name in group)
    assert known == sorted(p.stem for p in (TOP / "plugins/modules").glob("*.py") if p.stem != "__init__")


def test_every_playbook_is_documented() -> None:
    """A play's variables are the argument spec beside it; a reader finds each playbook in the documentation."""
    documentation = "".join(text_of(p) for p in [TOP / "README.md", *(TOP / "docs").rglob("*.md")])
    missing = [p.stem for p in (TOP / "playbooks").glob("*.yml") if f"rackstead.infra.{p.stem}" not in documentation]
    assert missing == []


def test_every_role_has_an_argument_specification_and_a_readme() -> None:
    for role in (p for p in (TOP / "roles").iterdir() if p.is_dir()):
        assert (role / "meta/argument_specs.yml").is_file(), role.name
        assert (role / "README.md").is_file(), role.name


def test_code_carries_the_licence() -> None:
    code = [p for p in tracked() if p.suffix in (".py", ".sh") or p.name == "Makefile"]
    assert names([p for p in code if p.stat().st_size and LICENCE not in text_of(p)]) == []


def test_annotations_are_lazy_everywhere() -> None:
    files = [p for p in python_files("plugins", "src", "tests") if has_code(p)]
    assert names([p for p in files if "from __future__ import annotations" not in text_of(p)]) == []


def test_no_function_is_too_long() -> None:
    long = []
    for path in python_files("plugins", "src"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(TOP)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_waiting_has_one_place() -> None:
    """Everything waits for a condition, through common/deadline.py; only status --watch just lets time pass."""
    sleeps = [p for p in python_files("plugins", "src") if re.search(r"\bsleep\(", text_of(p))]
    assert set(names(sleeps)) <= {"plugins/module_utils/common/deadline.py", "src/rackstead/cli.py"}


def test_the_core_knows_no_module_and_no_runner() -> None:
    guests = re.compile(r"^\s*(from|import) (rackstead\b|ansible\.module_utils\.basic)", re.MULTILINE)
    core = [p for p in python_files("plugins") if "module_utils" in p.parts and p.name != "face.py"]
    assert core
    assert names([p for p in core if guests.search(text_of(p))]) == []


def test_nothing_unfinished_or_swallowed() -> None:
    # Put together here, so that this file does not find itself.
    mark = re.compile("|".join([r"\bTO" + "DO", r"\bFIX" + "ME", r"\bXX" + r"X\b", r"except( \w+)?:\s*pa" + "ss"]))
    assert names([p for p in tracked() if mark.search(text_of(p))]) == []


def pip_settings() -> str:
    """What pip is set up with on this machine: its files and environment."""
    shown = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    return shown.stdout


def apt_sources() -> str:
    return "".join(text_of(p) for p in Path("/etc/apt").rglob("*.sources")) + "".join(
        text_of(p) for p in Path("/etc/apt").rglob("*.list")
    )


def machine_hosts() -> set[str]:
    """Hosts of the package registries this machine uses, the public ones aside."""
    links = re.findall(r"https?://[^\s'\"\]]+", pip_settings() + apt_sources())
    hosts = {urlsplit(link).hostname or "" for link in links} - PUBLIC_HOSTS - {""}
    return {host for host in hosts if not host.endswith(PUBLIC_DOMAINS)}


def test_no_registry_host_or_place_of_this_machine() -> None:
    places = {str(TOP.parent) + "/"} - {"//", "/tmp/", "/home/", "/root/"}
    needles = machine_hosts() | places
    found = [f"{name} in {p.relative_to(TOP)}" for p in tracked() for name in needles if name in text_of(p)]
    assert found == []


def test_no_private_key_in_the_repository() -> None:
    key = re.compile(r"-----BEGIN (EC |RSA |OPENSSH |ENCRYPTED )?PRIVATE KEY" + "-----")
    assert names([p for p in tracked() if key.search(text_of(p))]) == []


def imported(*folders: str) -> set[str]:
    """Distributions that code imports, wherever in a file, the standard library and this project aside."""
    found: set[str] = set()
    for path in python_files(*folders):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    foreign = found - sys.stdlib_module_names - {"ansible_collections", "rackstead"}
    return {DISTRIBUTIONS.get(name, name) for name in foreign}


def named(requirements: list[str]) -> set[str]:
    """The distributions of requirement lines."""
    return {match[0] for line in requirements if (match := re.match(r"[\w-]+", line))}


def test_requirements_are_what_is_imported() -> None:
    """Who installs the collection, builds an execution environment or installs the wheel gets what is imported."""
    project = tomllib.loads(text_of(TOP / "pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    wheel, optional = project["dependencies"], named(extras["surreal"]) | named(extras["otel"])
    collection = [line for line in text_of(TOP / "meta/ee-requirements.txt").splitlines() if line[:1] != "#"]
    assert named(wheel) == imported("plugins", "src") - optional
    assert named(collection) == imported("plugins") - {"ansible-core", "PyYAML"} - optional
    assert [line for line in collection if not any(other.startswith(line) for other in wheel)] == []


def test_supported_core_is_said_once() -> None:
    lowest = load("meta/runtime.yml")["requires_ansible"].removeprefix(">=").removesuffix(".0")
    assert f'"ansible-core>={lowest},<' in text_of(TOP / "pyproject.toml")


def test_a_change_since_the_last_release_has_a_fragment() -> None:
    """Until a release is cut there is a fragment for it; after that, the version is in the changelog."""
    version = load("galaxy.yml")["version"]
    fragments = list((TOP / "changelogs/fragments").glob("*.y*ml"))
    released = TOP / "changelogs/changelog.yaml"
    assert fragments or version in load("changelogs/changelog.yaml")["releases"] if released.exists() else fragments


@pytest.mark.parametrize("script", ["run"])
def test_continuous_integration_runs_make_test(script: str) -> None:
    path = TOP / ".ci" / script
    assert os.access(path, os.X_OK)
    assert "make test" in text_of(path)
