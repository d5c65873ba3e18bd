"""`stembridge plugin`: bundles appear whole or not at all, and nothing foreign is touched."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from stembridge import plugin_build, plugin_install
from stembridge.cli import main
from stembridge.errors import NotAvailableError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def fake_build(folder: Path, content: str = "binary") -> Path:
    """Bundles of the right shape, to be copied and never loaded."""
    artefacts = folder / "Stembridge_artefacts" / "Release"
    vst3 = artefacts / "VST3" / "Stembridge.vst3" / "Contents" / "x86_64-linux"
    lv2 = artefacts / "LV2" / "Stembridge.lv2"
    for place in (vst3, lv2):
        place.mkdir(parents=True)
        (place / "Stembridge.so").write_text(content)
    return artefacts


def inner(path: Path) -> str:
    return next(path.rglob("Stembridge.so")).read_text()


@pytest.mark.parametrize("link", [False, True])
def test_install_status_and_uninstall(
    home: Path, link: bool, capsys: pytest.CaptureFixture
) -> None:
    built = home / "build"
    fake_build(built)
    assert main(["plugin", "status", "--json"]) == 1
    assert main(["plugin", "install", "--built", str(built)] + ["--link"] * link) == 0
    capsys.readouterr()
    assert main(["plugin", "status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in found["plugins"]] == ["current", "current"]
    assert all(one["linked"] == link for one in found["plugins"])
    assert main(["plugin", "path"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == home / "home" / ".vst3" / "Stembridge.vst3"
    assert inner(path) == "binary"
    launcher = plugin_install.launcher_path()
    assert stat.S_IMODE(launcher.stat().st_mode) == 0o600
    assert json.loads(launcher.read_text())["command"][:4] == [
        sys.executable, "-m", "stembridge", "serve",
    ]  # fmt: skip
    assert main(["plugin", "uninstall"]) == 0
    assert not os.path.lexists(path)
    assert not launcher.exists()
    assert inner(built)  # what was linked to stays


def test_installing_again_replaces_our_own(home: Path) -> None:
    plugin_install.install(fake_build(home / "one", "old"))
    plugin_install.install(fake_build(home / "two", "new"))
    path = plugin_install.installed_path("VST3")
    assert inner(path) == "new"
    assert sorted(one.name for one in path.parent.iterdir()) == ["Stembridge.vst3"]


def test_a_foreign_bundle_is_neither_replaced_nor_removed(home: Path) -> None:
    path = plugin_install.installed_path("VST3")
    path.mkdir(parents=True)
    (path / "mine").write_text("by hand")
    with pytest.raises(NotAvailableError, match="Move it away"):
        plugin_install.install(fake_build(home / "build"))
    plugin_install.uninstall()
    assert (path / "mine").read_text() == "by hand"


def test_a_folder_that_is_no_build(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["plugin", "install", "--built", str(home)]) == 1
    assert "no finished build" in capsys.readouterr().err
    assert main(["plugin", "path"]) == 1
    assert "stembridge plugin install" in capsys.readouterr().err


def test_what_is_missing_is_listed_with_its_packages(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("CXX", raising=False)
    lacks = plugin_build.missing(home / "no-juce")
    assert [one.name for one in lacks][:4] == ["cmake", "ninja", "a C++17 compiler", "JUCE 7"]
    text = plugin_build.explain(lacks)
    assert "sudo apt-get install --no-install-recommends cmake ninja-build g++" in text
    with pytest.raises(NotAvailableError, match="cannot be built yet"):
        plugin_build.build(home, home / "build", home / "no-juce")


def test_sources_are_found_in_a_clone_and_named_when_absent(home: Path) -> None:
    assert (plugin_build.source_folder() / "plugin" / "CMakeLists.txt").is_file()
    with pytest.raises(NotAvailableError, match="--source"):
        plugin_build.source_folder(home)
