# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the module image that need no daemon."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import tarfile
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, Unsupported
from ansible_collections.rackstead.infra.plugins.module_utils.instances import imagebuild
from ansible_collections.rackstead.infra.plugins.module_utils.instances.aptsources import Source
from ansible_collections.rackstead.infra.plugins.module_utils.instances.imagebuild import Order, Recipe
from ansible_collections.rackstead.infra.plugins.module_utils.instances.imagedoor import build_of, wanted_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.imagefetch import digest_of, parse_checksum
from ansible_collections.rackstead.infra.plugins.module_utils.instances.images import Multipart
from hypothesis import given
from hypothesis import strategies as st

MACHINE = platform.machine()
HEX = "0123456789abcdef" * 4
OPTIONS: dict[str, Any] = {
    "alias": "debian/12",
    "source": "auto",
    "type": "container",
    "path": None,
    "metadata_path": None,
    "url_rootfs": None,
    "checksum": None,
    "url_metadata": None,
    "metadata_checksum": None,
    "server": "https://images.example.com/",
    "protocol": "simplestreams",
    "server_alias": None,
    "server_certificate": None,
    "server_timeout": 5.0,
    "auto_update": True,
    "distribution": None,
    "release": None,
    "architecture": None,
    "packages": [],
    "mirror": None,
    "security_mirror": None,
    "rebuild": False,
    "cache_dir": "/cache",
    "public": False,
    "properties": {},
    "timeout": 60,
}


# -- recipes --------------------------------------------------------------------------------------
def test_a_key_stands_for_the_content_and_nothing_else() -> None:
    recipe = imagebuild.recipe_for("debian", "12", packages=["curl", "vim"], suites=["bookworm"])
    assert (
        recipe.key
        == imagebuild.recipe_for("debian", "bookworm", packages=["vim", "curl", "vim"], suites=["bookworm"]).key
    )
    others = [
        replace(recipe, release="trixie"),
        replace(recipe, architecture="aarch64" if MACHINE != "aarch64" else "x86_64"),
        replace(recipe, packages=("curl",)),
        replace(recipe, suites=("bookworm", "bookworm-security")),
    ]
    assert len({recipe.key, *(other.key for other in others)}) == 5
    assert re.fullmatch("[0-9a-f]{32}", recipe.key)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("debian", "11"), 'release: "11" of debian cannot be built; allowed: 12 (bookworm), 13 (trixie)'),
        (("arch", "now"), 'distribution: "arch" cannot be built; allowed: debian, ubuntu'),
        (("debian", "12", "riscv64"), 'architecture: "riscv64" cannot be built; allowed: x86_64, aarch64'),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(arguments: tuple[str, ...], line: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        imagebuild.recipe_for(*arguments)
    assert caught.value.problems == [line]


def test_another_architecture_than_the_machines_is_refused() -> None:
    other = "arm64" if MACHINE == "x86_64" else "amd64"
    with pytest.raises(InvalidInput, match=f"cannot be built on {MACHINE}"):
        imagebuild.recipe_for("debian", "12", other)


def test_architectures_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagebuild, "machine_architecture", lambda: "aarch64")
    recipe = imagebuild.recipe_for("ubuntu", "24.04")
    assert (recipe.architecture, recipe.debian_architecture) == ("aarch64", "arm64")
    assert imagebuild.metadata(recipe, 1)["architecture"] == "aarch64"
    assert imagebuild.mirrors_for("ubuntu", "noble", "aarch64")[0].uri == "http://ports.ubuntu.com/ubuntu-ports"


def test_systemd_resolved_is_asked_for_where_it_is_a_package() -> None:
    assert "systemd-resolved" in Recipe("debian", "bookworm", "x86_64").all_packages
    assert "systemd-resolved" not in Recipe("ubuntu", "jammy", "x86_64").all_packages


# -- mirrors --------------------------------------------------------------------------------------
def test_the_machines_own_mirror_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    own = """\
deb [signed-by=/etc/own.gpg] http://mirror.example.com/debian stable main
deb [signed-by=/etc/own.gpg] http://mirror.example.com/security stable-security main
"""
    monkeypatch.setattr(imagebuild, "read_files", lambda: {"/etc/apt/sources.list": own})
    found = imagebuild.mirrors_for("debian", "bookworm", "x86_64")
    assert [(one.uri, one.suite, one.signed_by) for one in found] == [
        ("http://mirror.example.com/debian", "bookworm", "/etc/own.gpg"),
        ("http://mirror.example.com/security", "bookworm-security", "/etc/own.gpg"),
    ]


def test_a_mirror_that_is_named_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        imagebuild, "read_files", lambda: {"/etc/apt/sources.list": "deb http://own.example.com bookworm main"}
    )
    debian = imagebuild.mirrors_for("debian", "bookworm", "x86_64", "http://m.example.com/d")
    assert [(one.uri, one.suite) for one in debian] == [
        ("http://m.example.com/d", "bookworm"),
        ("http://m.example.com/d", "bookworm-updates"),
    ]
    ubuntu = imagebuild.mirrors_for("ubuntu", "noble", "x86_64", "http://m.example.com/u")
    assert (ubuntu[-1].uri, ubuntu[-1].suite, ubuntu[-1].components) == (
        "http://m.example.com/u",
        "noble-security",
        ("main", "universe"),
    )


def test_a_release_the_machine_has_no_mirror_for_comes_from_the_official_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagebuild, "read_files", dict)
    found = imagebuild.mirrors_for("debian", "trixie", "x86_64")
    assert {one.uri for one in found} == set(imagebuild.MIRRORS["debian", "amd64"])


def order(tmp_path: Path, *sources: Source) -> Order:
    return Order(Recipe("debian", "bookworm", MACHINE), sources, tmp_path)


def test_the_images_own_sources_carry_no_password(tmp_path: Path) -> None:
    source = Source("https://user:secret@m.example.com/debian", "bookworm", ("main",))
    armoured = Source("http://m.example.com/x", "bookworm", ("main",), "-----BEGIN\n.\nkey\n-----END")
    text = imagebuild.stanzas(order(tmp_path, source, armoured))
    assert text == (
        "Types: deb\nURIs: https://m.example.com/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb\nURIs: http://m.example.com/x\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN\n .\n key\n -----END\n"
    )
    assert "secret" in imagebuild.stanzas(order(tmp_path, source), passwords=True)


# -- the tree -------------------------------------------------------------------------------------
def test_a_tree_is_finished_inside_itself(tmp_path: Path) -> None:
    """Links that lead out of the tree are replaced, not followed."""
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    root = tmp_path / "root"
    for folder in (
        "etc/ssh",
        "etc/apt/sources.list.d",
        "etc/dpkg/dpkg.cfg.d",
        "var/lib/dbus",
        "var/lib/apt/lists/partial",
    ):
        (root / folder).mkdir(parents=True)
    (root / "etc/machine-id").symlink_to(outside)
    (root / "etc/ssh/ssh_host_rsa_key").write_text("private")
    (root / "etc/apt/sources.list.d/0000mmdebstrap.sources").write_text("URIs: http://user:secret@m.example.com")
    imagebuild.finish_tree(root, order(tmp_path, Source("http://user:secret@m.example.com", "bookworm", ("main",))))
    assert outside.read_text() == "untouched"
    assert (root / "etc/machine-id").read_bytes() == b"" and not (root / "etc/machine-id").is_symlink()
    assert not list(root.glob("etc/ssh/ssh_host*")) and not list(root.glob("var/lib/apt/lists/*"))
    kept = "".join(path.read_text() for path in root.rglob("*") if path.is_file())
    assert "secret" not in kept and "private" not in kept


def test_metadata_templates_fit_their_document() -> None:
    packed = imagebuild.metadata_tarball(Recipe("debian", "bookworm", "x86_64"), 1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        document = yaml.safe_load(archive.extractfile("metadata.yaml"))  # type: ignore[arg-type]
        names = {name.removeprefix("templates/") for name in archive.getnames()} - {"metadata.yaml"}
    assert {template["template"] for template in document["templates"].values()} == names
    assert document["creation_date"] == 1_700_000_000
    defaults = [
        template["properties"]["default"] for template in document["templates"].values() if "properties" in template
    ]
    assert all(isinstance(yaml.safe_load(default), dict) for default in defaults)


# -- the cache ------------------------------------------------------------------------------------
def test_an_entry_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    wanted = order(tmp_path)
    assert imagebuild.cached(wanted) is None
    entry = tmp_path / wanted.recipe.key
    entry.mkdir()
    (entry / "rootfs.squashfs").touch()
    assert imagebuild.cached(wanted) is None
    (entry / "metadata.tar.xz").touch()
    assert imagebuild.cached(wanted) is not None


def test_missing_tools_are_named_by_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagebuild, "SEARCH", str(tmp_path))
    monkeypatch.setitem(imagebuild.KEYRINGS, "debian", (str(tmp_path / "key"), "debian-archive-keyring"))
    wanted = order(tmp_path)
    missing = ["debian-archive-keyring", "mmdebstrap", "squashfs-tools", "util-linux"]
    assert imagebuild.missing_tools(wanted.recipe) == missing
    monkeypatch.setattr(imagebuild.os, "geteuid", lambda: 0)
    with pytest.raises(Unsupported, match=f"apt-get install {' '.join(missing)}"):
        imagebuild.ensure_built(wanted)


def test_who_is_not_root_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagebuild.os, "geteuid", lambda: 1000)
    with pytest.raises(Unsupported, match="needs root; run with sudo, or with become"):
        imagebuild.ensure_built(order(tmp_path))


def test_a_tree_with_a_mount_in_it_is_not_removed() -> None:
    with pytest.raises(Exception, match="is still mounted"):
        imagebuild.remove_tree(Path("/sys"))


# -- the door -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("alias", "options", "build"),
    [
        ("debian/12", {}, ("debian", "12")),
        ("Ubuntu/24.04/cloud", {}, ("ubuntu", "24.04")),
        ("debian/12", {"release": "13"}, ("debian", "13")),
        ("mine", {"distribution": "debian", "release": "12"}, ("debian", "12")),
        ("mine/12", {}, ("", "")),
        ("debian", {}, ("debian", "")),
    ],
)
def test_what_to_build_is_read_off_the_alias(alias: str, options: dict[str, str], build: tuple[str, str]) -> None:
    assert build_of({**OPTIONS, "alias": alias, **options}) == build


def test_the_cloud_variant_is_asked_for_where_plans_count_on_it() -> None:
    def asked(**options: Any) -> str:
        server = wanted_of({**OPTIONS, **options}).server
        assert server is not None
        return server.alias

    assert asked() == "debian/12/cloud"
    assert asked(alias="ubuntu/24.04/cloud") == "ubuntu/24.04/cloud"
    assert asked(alias="alpine/3.22") == "alpine/3.22"
    assert asked(source="server") == "debian/12"
    assert asked(server_alias="debian/12/default") == "debian/12/default"


def test_every_fault_is_told_at_once() -> None:
    faulty = {
        "source": "url",
        "url_rootfs": "ftp://example.com/x",
        "checksum": "md5:abc",
        "url_metadata": "http://example.com/y",
        "properties": {"rackstead.key": "x"},
    }
    with pytest.raises(InvalidInput) as caught:
        wanted_of({**OPTIONS, **faulty})
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "url_rootfs",
        "checksum",
        "url_metadata",
        "properties",
    ]


def test_what_cannot_be_built_is_told_before_anything_is_done() -> None:
    for options in ({"alias": "mine"}, {"type": "virtual-machine"}):
        with pytest.raises(InvalidInput):
            wanted_of({**OPTIONS, "source": "build", **options})


def test_checksums() -> None:
    assert str(parse_checksum(f"SHA256:{HEX.upper()}")) == str(parse_checksum(HEX)) == f"sha256:{HEX}"
    assert str(parse_checksum(f"sha512:{HEX * 2}")) == f"sha512:{HEX * 2}"
    for bad in ("", "sha256:", f"md5:{HEX}", f"sha512:{HEX}", "x" * 64):
        with pytest.raises(ValueError, match="is not a checksum"):
            parse_checksum(bad)


# -- the upload -----------------------------------------------------------------------------------
@given(st.binary(max_size=5000), st.binary(max_size=5000), st.integers(1, 4096))
def test_a_form_is_the_same_however_it_is_read(first: bytes, second: bytes, size: int) -> None:
    form = Multipart([("metadata", "m.tar", io.BytesIO(first)), ("rootfs", "r.squashfs", io.BytesIO(second))])
    body = b"".join(iter(lambda: form.read(size), b""))
    head = f"Content-Type: {form.headers['Content-Type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + body).get_payload()
    assert [part.get_param("name", header="content-disposition") for part in parts] == ["metadata", "rootfs"]
    boundary = form.headers["Content-Type"].partition("boundary=")[2].encode()
    contents = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in body.split(b"--" + boundary)[1:-1]]
    assert contents == [first, second]


def test_a_fingerprint_covers_the_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    assert digest_of([tmp_path / "a", tmp_path / "b"]) == hashlib.sha256(b"onetwo").hexdigest()


def test_the_options_of_the_tests_are_those_of_the_module() -> None:
    from ansible_collections.rackstead.infra.plugins.modules.image import DOCUMENTATION, options

    documented = yaml.safe_load(DOCUMENTATION)["options"]
    assert set(documented) == set(options()) == {*OPTIONS, "state"}
    assert json.dumps({name: spec.get("choices") for name, spec in options().items()}) == json.dumps(
        {name: documented[name].get("choices") for name in options()}
    )
