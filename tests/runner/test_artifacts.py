# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user without a checkout installs: the wheel with pip, the tarball with ansible-galaxy."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
COLLECTION = "ansible_collections/rackstead/infra/"
# What may stand at the top of the tarball; galaxy.yml's build_ignore keeps the rest out.
SHIPPED = {
    "CHANGELOG.rst",
    "COPYING",
    "FILES.json",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "extensions",
    "inventory",
    "meta",
    "plans",
    "playbooks",
    "plugins",
    "roles",
}
# A collection's folders need no __init__.py, so pkgutil would not look into them.
IMPORT_ALL = """
import importlib, pathlib, sys
for package in {packages}:
    for top in map(pathlib.Path, importlib.import_module(package).__path__):
        files = sorted(top.rglob("*.py"))
        assert files, top
        for file in files:
            name = ".".join([package, *file.relative_to(top).with_suffix("").parts])
            importlib.import_module(name.removesuffix(".__init__"))
"""


def run(argv: list[str | Path], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command that must succeed prints on standard output."""
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class User:
    """Somebody with a venv, an empty home and an empty folder to work in."""

    bin: Path
    home: Path
    work: Path

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "LC_ALL": "C.UTF-8", "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin"}

    def run(self, *argv: str | Path) -> str:
        return run([self.bin / argv[0], *argv[1:]], self.work, self.environment())

    def pip_install(self, *what: str | Path) -> None:
        """With this machine's pip settings, which an empty home would hide."""
        options = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
        run([self.bin / "python", "-m", "pip", "install", *options, *what], self.work)


def new_user(folder: Path) -> User:
    user = User(folder / "venv/bin", folder / "home", folder / "work")
    user.home.mkdir()
    user.work.mkdir()
    venv.create(folder / "venv", with_pip=True)
    return user


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as a packager would."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, TOP], folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tarball")
    run([BIN / "ansible-galaxy", "collection", "build", TOP, "--output-path", folder], folder)
    [built] = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel_user(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> User:
    user = new_user(tmp_path_factory.mktemp("wheel-user"))
    user.pip_install(wheel)
    return user


@pytest.fixture(scope="module")
def tarball_user(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> User:
    """Has ansible-core, and of the collection's requirements what its own file names."""
    user = new_user(tmp_path_factory.mktemp("tarball-user"))
    user.pip_install("ansible-core>=2.17,<2.22", "-r", TOP / "meta/ee-requirements.txt")
    user.run("ansible-galaxy", "collection", "install", "--offline", tarball)
    return user


def files_in_tarball(tarball: Path) -> set[str]:
    with tarfile.open(tarball) as archive:
        return {member.name for member in archive if member.isfile()}


def version() -> str:
    return yaml.safe_load((TOP / "galaxy.yml").read_text(encoding="utf-8"))["version"]


def documented_modules(user: User) -> set[str]:
    listed = user.run("ansible-doc", "--list", "rackstead.infra").splitlines()
    return {line.split()[0].removeprefix("rackstead.infra.") for line in listed if line.strip()}


def modules() -> set[str]:
    return {path.stem for path in (TOP / "plugins/modules").glob("*.py")}


def playbooks() -> list[str]:
    return sorted(f"rackstead.infra.{path.stem}" for path in (TOP / "playbooks").glob("*.yml"))


def test_tarball_holds_what_a_user_needs_and_no_more(tarball: Path) -> None:
    files = files_in_tarball(tarball)
    assert {name.split("/")[0] for name in files} <= SHIPPED
    hidden = [name for name in files if any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))]
    assert hidden == []
    readmes = {f"roles/{path.parent.name}/README.md" for path in (TOP / "roles").glob("*/README.md")}
    assert readmes <= files


def test_wheel_and_tarball_carry_the_same_collection(wheel: Path, tarball: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    carried = {name.removeprefix(COLLECTION) for name in names if name.startswith(COLLECTION)}
    # The tarball's manifests are made from galaxy.yml, which stands in for them in the wheel.
    assert carried - {"galaxy.yml"} == files_in_tarball(tarball) - {"FILES.json", "MANIFEST.json"}
    tops = {name.split("/")[0] for name in names}
    assert tops == {"rackstead", "ansible_collections", f"rackstead-{version()}.dist-info"}


def test_wheel_brings_all_it_imports(wheel_user: User) -> None:
    wheel_user.run("python", "-m", "pip", "check")
    packages = ["ansible_collections.rackstead.infra.plugins.module_utils", "rackstead"]
    wheel_user.run("python", "-c", IMPORT_ALL.format(packages=packages))


def test_wheel_gives_the_command(wheel_user: User) -> None:
    shown = wheel_user.run("rackstead", "--help")
    assert all(word in shown for word in ("init", "apply", "status", "destroy", "exec", "snapshot", "health"))


def test_wheel_gives_the_collection(wheel_user: User) -> None:
    assert documented_modules(wheel_user) == modules()
    listed = wheel_user.run("ansible-galaxy", "collection", "list", "rackstead.infra")
    assert any(line.split() == ["rackstead.infra", version()] for line in listed.splitlines())
    wheel_user.run("ansible-playbook", "--syntax-check", *playbooks())


def test_tarball_gives_the_collection(tarball_user: User) -> None:
    assert documented_modules(tarball_user) == modules()
    tarball_user.run("ansible-galaxy", "collection", "verify", "--offline", "rackstead.infra")
    tarball_user.run("ansible-playbook", "--syntax-check", *playbooks())


def test_tarball_imports_with_its_requirements(tarball_user: User) -> None:
    path = str(tarball_user.home / ".ansible/collections")
    code = f"import sys; sys.path.insert(0, {path!r})\n"
    packages = ["ansible_collections.rackstead.infra.plugins.module_utils"]
    tarball_user.run("python", "-c", code + IMPORT_ALL.format(packages=packages))


def test_execution_environment_takes_the_requirements(tarball_user: User) -> None:
    found = run([BIN / "ansible-builder", "introspect", tarball_user.home / ".ansible/collections"], tarball_user.work)
    requirements = yaml.safe_load(found)["python"]
    wanted = [line for line in (TOP / "meta/ee-requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line.split("#")[0].strip() for line in requirements] == wanted


def test_execution_environment_can_be_described(tarball: Path, tmp_path: Path) -> None:
    definition = {
        "version": 3,
        "images": {"base_image": {"name": "registry.example/base:latest"}},
        "dependencies": {"galaxy": {"collections": [{"name": str(tarball), "type": "file"}]}},
    }
    (tmp_path / "execution-environment.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    run([BIN / "ansible-builder", "create", "--context", tmp_path / "context"], tmp_path, dict(os.environ))
    assert (tmp_path / "context/_build/requirements.yml").is_file()
