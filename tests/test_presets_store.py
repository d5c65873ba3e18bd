"""The folders of presets: the user's copy wins, nothing is lost, every factory preset works."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from stembridge.errors import PresetError
from stembridge.presets import (
    FOLDER_VARIABLE,
    Preset,
    delete_preset,
    dumps,
    export_preset,
    factory_folder,
    import_preset,
    list_presets,
    load_preset,
    read_preset,
    save_preset,
    user_folder,
)
from stembridge.prompts import NamePrompt
from stembridge.separators import load_separator

MINE = Preset("My Drums", keep=(NamePrompt("drums"),), description="mine")
REQUIRED = (
    "vocals instrumental karaoke acapella-clean drums drumless bass no-bass other dialogue "
    "no-dialogue practice-vocals practice-drums practice-bass practice-other"
)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config" / "presets"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def slugs(origin: str) -> list[str]:
    return [entry.slug for entry in list_presets() if entry.origin == origin]


def test_the_users_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere/config")
    assert user_folder().parts[-2:] == ("stembridge", "presets")


def test_saving_loading_and_deleting(own_folder: Path) -> None:
    assert slugs("user") == []
    path = save_preset(MINE)
    assert path == own_folder / "my-drums.preset" and path.read_text() == dumps(MINE)
    assert slugs("user") == ["my-drums"]
    for word in ("my-drums", "My Drums", "MY DRUMS", str(path)):
        assert load_preset(word) == MINE
    assert delete_preset("My Drums") == path and slugs("user") == []
    with pytest.raises(PresetError, match="Factory presets cannot be deleted"):
        delete_preset("vocals")


def test_nothing_is_overwritten_unless_asked(own_folder: Path) -> None:
    path = save_preset(MINE)
    changed = replace(MINE, description="other")
    with pytest.raises(PresetError, match="--overwrite"):
        save_preset(changed)
    assert read_preset(path) == MINE
    save_preset(changed, overwrite=True)
    assert read_preset(path) == changed
    assert [p.name for p in own_folder.iterdir()] == ["my-drums.preset"], "debris"


def test_the_users_copy_of_a_name_wins_and_the_list_says_so() -> None:
    assert load_preset("vocals").source.startswith("factory")
    save_preset(replace(load_preset("vocals"), description="my way"))
    assert load_preset("vocals").description == "my way"
    mine, factory = (
        next(e for e in list_presets() if e.slug == "vocals" and e.origin == origin)
        for origin in ("user", "factory")
    )
    assert mine.shadows and not mine.hidden and factory.hidden and not factory.shadows
    assert list_presets()[0] == mine, "the user's own come first"
    others = [e for e in list_presets() if e.slug != "vocals"]
    assert not any(e.shadows or e.hidden for e in others)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(PresetError, match="Did you mean 'vocals'") as caught:
        load_preset("vocal")
    assert "presets list" in str(caught.value)
    with pytest.raises(PresetError, match=r"no preset file .*/no\.preset"):
        load_preset("some/no.preset")


def test_a_broken_preset_is_listed_with_its_reason_and_hides_no_other(own_folder: Path) -> None:
    own_folder.mkdir(parents=True)
    (own_folder / "bad.preset").write_text("{")
    (own_folder / "binary.preset").write_bytes(b"\xff\xfe\x00")
    (own_folder / ".hidden.preset").write_text("{")
    entries = {e.slug: e for e in list_presets() if e.origin == "user"}
    assert set(entries) == {"bad", "binary"}
    assert "bad.preset" in entries["bad"].error and entries["bad"].preset is None
    assert "not UTF-8" in entries["binary"].error
    with pytest.raises(PresetError, match=r"bad\.preset: line 1"):
        load_preset("bad")


def test_export_and_import_bring_a_preset_to_another_person(tmp_path: Path) -> None:
    save_preset(MINE)
    out = export_preset("my drums", tmp_path)
    assert out == tmp_path / "my-drums.preset"
    delete_preset("my-drums")
    import_preset(out)
    assert load_preset("my-drums") == MINE
    with pytest.raises(PresetError, match="exists"):
        import_preset(out)
    import_preset(out, name="Yours")
    assert load_preset("yours") == replace(MINE, name="Yours")
    mode = stat.S_IMODE(out.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    assert mode == 0o666 & ~mask, "an exported file is as readable as any other"


def test_import_checks_everything_first(tmp_path: Path) -> None:
    bad = tmp_path / "bad.preset"
    bad.write_text('{"stembridge_preset": 1, "name": "x", "keep": ["vocals"], "run": "rm"}')
    with pytest.raises(PresetError, match=r"bad\.preset: run: unknown field"):
        import_preset(bad)
    assert slugs("user") == []
    huge = tmp_path / "huge.preset"
    with huge.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(PresetError, match="too large"):
        import_preset(huge)
    with pytest.raises(PresetError, match="folder"):
        import_preset(tmp_path)


def test_a_name_cannot_lead_out_of_the_folder(own_folder: Path) -> None:
    for name in ("../../evil", "..", "/etc/passwd", "a/b", "C:\\x", "con..", ".hidden"):
        path = save_preset(replace(MINE, name=name))
        assert path.parent == own_folder and path.resolve().parent == own_folder.resolve()
        assert not path.name.startswith(".")
    assert all(path.suffix == ".preset" for path in own_folder.iterdir())


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file" / "presets"))
    with pytest.raises(PresetError, match=FOLDER_VARIABLE):
        save_preset(MINE)
    assert slugs("user") == [] and slugs("factory")


# --- the factory's ---------------------------------------------------------------------------

FACTORY = sorted(factory_folder().glob("*.preset"))


def test_the_factory_has_what_it_promises() -> None:
    assert set(REQUIRED.split()) <= {path.stem for path in FACTORY}


@pytest.mark.parametrize("path", FACTORY, ids=lambda path: path.stem)
def test_each_factory_preset_is_complete(path: Path) -> None:
    preset = read_preset(path)
    assert preset.slug == path.stem
    assert preset.description and preset.group and preset.author
    assert preset.licence == "CC0-1.0", "people must be free to build on factory presets"


@pytest.mark.parametrize("path", FACTORY, ids=lambda path: path.stem)
def test_each_factory_preset_is_known_to_its_separator(path: Path) -> None:
    from stembridge.presets import query_of

    preset = read_preset(path)
    query_of(preset, load_separator(preset.separator, **preset.options))
    for effect in preset.effects:
        effect.build(44100)
