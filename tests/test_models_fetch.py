"""Downloads end whole, under their name, after the licence, or with words that help.

Against a local server that speaks the hub's protocol; the real hub is never asked.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from hub_server import Hub, running_hub
from stembridge import checkpoints
from stembridge.checkpoints import Published, PublishedFile
from stembridge.checkpoints_fetch import fetch, remove
from stembridge.errors import CheckpointError, NotAvailableError

BODY = bytes(range(256)) * 4000
OTHER = b"vocabulary" * 50


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model in a space; all caches in a folder of this test."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("STEMBRIDGE_MODELS", str(tmp_path / "models"))
    with running_hub() as hub:
        hub.add("somebody/model", "model/best.ckpt", BODY, "spaces/")
        hub.add("files", "cnn.pth", OTHER)
        yield hub


def system(hub: Hub, **changes: object) -> Published:
    """A system with one file on the hub and one at a plain address."""
    url = f"{hub.url}/files/resolve/main/cnn.pth"
    plain = PublishedFile(
        "query",
        "cnn.pth",
        changes.get("size_bytes", len(OTHER)),
        url=url,  # type: ignore[arg-type]
        sha256=str(changes.get("sha256", "")),
    )
    stored = PublishedFile(
        "separator",
        "best.ckpt",
        len(BODY),
        repo="somebody/model",
        repo_type="space",
        path="model/best.ckpt",
        sha256=str(changes.get("hub_sha256", "")),
    )
    return Published("invented", (stored, plain), "for tests alone")


def get(hub: Hub, wanted: Published | None = None, yes: bool = True) -> list[Path]:
    return fetch(wanted or system(hub), lambda _: yes, endpoint=hub.url)


def test_files_arrive_whole_and_are_found_again(hub: Hub) -> None:
    paths = get(hub)
    assert [path.read_bytes() for path in paths] == [BODY, OTHER]
    hub.files.clear()
    asked = len(hub.requests)
    assert get(hub, yes=False) == paths, "what is there needs no licence and no server"
    assert len(hub.requests) == asked
    assert not list(checkpoints.cache_folder().rglob("*.part"))


def test_nothing_is_asked_for_before_the_licence_is_accepted(hub: Hub) -> None:
    with pytest.raises(NotAvailableError, match="terms were not accepted"):
        get(hub, yes=False)
    assert hub.requests == []


@pytest.mark.parametrize("which", ["hub", "plain"])
def test_an_interrupted_transfer_is_resumed(hub: Hub, which: str) -> None:
    wanted = system(hub)
    files = {"hub": wanted.files[:1], "plain": wanted.files[1:]}[which]
    wanted = Published("invented", files, "for tests alone")
    hub.cut_after = 100
    with pytest.raises(NotAvailableError, match=r"goes on where it stopped"):
        get(hub, wanted)
    assert checkpoints.cached(wanted, files[0]) is None
    hub.cut_after = None
    hub.requests.clear()
    (path,) = get(hub, wanted)
    assert path.read_bytes() == (BODY if which == "hub" else OTHER)
    assert any(wanted_range for _, _, wanted_range in hub.requests)


def test_a_server_without_ranges_starts_over(hub: Hub) -> None:
    wanted = Published("invented", system(hub).files[1:], "for tests alone")
    hub.cut_after = 100
    with pytest.raises(NotAvailableError):
        get(hub, wanted)
    hub.cut_after, hub.ignore_ranges = None, True
    assert get(hub, wanted)[0].read_bytes() == OTHER


@pytest.mark.parametrize(
    "changes", [{"hub_sha256": "ffff…eeee"}, {"sha256": "0" * 64}, {"size_bytes": 7}]
)
def test_another_hash_or_size_than_published_is_thrown_away(
    hub: Hub, changes: dict[str, object]
) -> None:
    wanted = system(hub, **changes)
    with pytest.raises(CheckpointError, match="is not the published file"):
        get(hub, wanted)
    assert any(checkpoints.cached(wanted, file) is None for file in wanted.files)
    assert not list(checkpoints.cache_folder().rglob("*.part"))


def test_a_part_of_a_hash_is_enough_to_accept(hub: Hub) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    assert get(hub, system(hub, hub_sha256=f"{digest[:8]}…{digest[-6:]}"))


def test_bytes_that_the_hub_did_not_promise_are_thrown_away(hub: Hub) -> None:
    hub.lie = True
    with pytest.raises(CheckpointError, match="instead of the hub's"):
        get(hub)
    hub.lie = False
    assert get(hub)[0].read_bytes() == BODY


def test_a_file_that_changed_since_it_was_fetched_is_noticed(hub: Hub) -> None:
    wanted = Published("invented", system(hub).files[1:], "for tests alone")
    get(hub, wanted)
    remove(wanted)
    hub.add("files", "cnn.pth", OTHER[::-1])
    with pytest.raises(CheckpointError, match="when it was fetched before"):
        get(hub, wanted)


def test_files_that_are_gone_are_told_with_another_way(hub: Hub) -> None:
    hub.files.clear()
    for files in (system(hub).files[:1], system(hub).files[1:]):
        with pytest.raises(NotAvailableError, match="no longer at"):
            get(hub, Published("invented", files, ""))


def test_no_connection_is_told(hub: Hub, tmp_path: Path) -> None:
    wanted = system(hub)
    gone = Published(
        "invented", (PublishedFile("query", "x.pth", url="http://127.0.0.1:9/x.pth"),), ""
    )
    with pytest.raises(NotAvailableError, match="Check the connection"):
        get(hub, gone)
    with pytest.raises(NotAvailableError, match="Check the connection"):
        fetch(wanted, lambda _: True, endpoint="http://127.0.0.1:9")


def test_no_room_is_told_before_the_first_byte(hub: Hub) -> None:
    huge = PublishedFile("separator", "best.ckpt", 10**18, repo="somebody/model")
    with pytest.raises(NotAvailableError, match="no room"):
        get(hub, Published("invented", (huge,), ""))
    assert hub.requests == []


def test_a_disk_that_fills_up_is_told_and_keeps_what_arrived(hub: Hub, tmp_path: Path) -> None:
    """In a process that may write no larger files, which fails as a full disk does."""
    program = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
from stembridge.checkpoints import Published, PublishedFile
from stembridge.checkpoints_fetch import fetch
from stembridge.errors import NotAvailableError
file = PublishedFile("query", "big.pth", url="{hub.url}/files/resolve/main/big.pth")
try:
    fetch(Published("invented", (file,), ""), lambda _: True)
except NotAvailableError as error:
    sys.exit(0 if "disk is full" in str(error) else str(error))
sys.exit("no error")
"""
    hub.add("files", "big.pth", BODY)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "invented" / "big.pth.part").stat().st_size == 3000


def test_files_by_hand_are_taken_over_from_a_folder(hub: Hub, tmp_path: Path) -> None:
    file = PublishedFile("separator", "by_hand.ckpt", page="https://example.org/folder")
    wanted = Published("invented", (file,), "")
    with pytest.raises(NotAvailableError, match="--from FOLDER"):
        get(hub, wanted)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "by_hand.ckpt").write_bytes(OTHER)
    (path,) = fetch(wanted, lambda _: True, folder=tmp_path / "downloads")
    assert path.read_bytes() == OTHER
    assert remove(wanted) == [path]
    assert not path.exists()


def test_the_catalogue_names_every_file_once_and_every_licence() -> None:
    for entry in checkpoints.CATALOGUE.values():
        assert entry.licence
        assert len({file.role for file in entry.files}) == len(entry.files)
        for file in entry.files:
            assert sum(map(bool, (file.repo, file.url, file.page))) == 1
    with pytest.raises(NotAvailableError, match="clapsep"):
        checkpoints.published("unheard of")


def test_the_verb_shows_the_licence_and_asks(hub: Hub, tmp_path: Path) -> None:
    """In a script nothing is fetched without --yes; with it, from the hub that is set."""
    hub.add("AisakaMikoto/CLAPSep", "model/best_model.ckpt", BODY, "spaces/")
    env = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
    }

    def models(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stembridge", "models", *words],
            capture_output=True, text=True, env=env, timeout=120, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    refused = models("fetch", "clapsep")
    assert refused.returncode == 1
    assert "no licence stated" in refused.stderr
    assert hub.requests == []
    # The served file is not the published one: its size differs from the catalogue's.
    gone = models("fetch", "clapsep", "--yes")
    assert gone.returncode == 1
    assert gone.stderr.count("stembridge: ") == 1
    listed = models("list")
    assert listed.returncode == 0
    assert "tuss:large" in listed.stdout
    # No hub at all: one sentence that says what to do, and nothing is left behind.
    env["HF_ENDPOINT"] = "http://127.0.0.1:9"
    env["STEMBRIDGE_MODELS"] = str(tmp_path / "untouched")
    env["HF_HUB_CACHE"] = str(tmp_path / "untouched")
    cut_off = models("fetch", "demucs", "--yes")
    assert cut_off.returncode == 1
    assert cut_off.stderr.count("stembridge: ") == 1
    assert "Check the connection" in cut_off.stderr and "--from" in cut_off.stderr
    assert not [path for path in (tmp_path / "untouched").rglob("*") if path.is_file()]
    missing = models("path", "tuss")
    assert missing.returncode == 1
    assert "stembridge models fetch tuss:medium" in missing.stderr
