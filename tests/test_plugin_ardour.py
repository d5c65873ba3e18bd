"""The plugin in a real DAW: Ardour exports without a screen, and the samples are compared."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import identity
import plugin_host
from server_harness import identity_server, noise
from stembridge.chain import SeparationChain
from stembridge.example import example_song
from stembridge.presets import loads
from stembridge.server import Server

sys.path.insert(0, str(Path(__file__).parent / "daw"))

from ardour import Track, make_session

BUNDLES = ("VST3", "LV2")
pytestmark = pytest.mark.timeout(1200)  # see Session.export


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(folder))
    return folder


@pytest.fixture
def half_server(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server that takes every second half of what is "vocals" (the default preset)."""
    monkeypatch.setitem(identity.GAINS, "vocals", 0.5)
    with identity_server(state_folder):
        yield state_folder


def bundles(*kinds: str) -> dict[str, Path]:
    return {kind: plugin_host.bundle(kind) for kind in kinds}


def saved(**fields: object) -> bytes:
    """A state made in pedalboard, as Ardour keeps it."""
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, **fields)
    return plugin.preset_data


def test_without_a_server_the_export_nulls_with_the_track(
    state_folder: Path, tmp_path: Path
) -> None:
    audio = noise(3 * 48000)
    session = make_session(tmp_path, 48000, [Track(audio, "VST3")], bundles("VST3"))
    assert session.latencies[0] > 0
    out = session.export(tmp_path / "out.wav")
    assert np.array_equal(out, audio)


@pytest.mark.parametrize("kind", BUNDLES)
@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_wet_track_is_aligned_and_exact(
    half_server: Path, tmp_path: Path, kind: str, rate: int
) -> None:
    audio = noise(3 * rate)
    session = make_session(tmp_path, rate, [Track(audio, kind)], bundles(kind))
    assert np.array_equal(session.export(tmp_path / "out.wav"), 0.5 * audio)


def test_two_tracks_a_dry_one_and_the_project_reopened(half_server: Path, tmp_path: Path) -> None:
    """Two instances with presets of their own beside a plain track; saved, reopened, again.

    Ardour adds the tracks in an order of its own, so a sum of three has one of three values.
    """
    tracks = [
        Track(noise(3 * 48000, seed=1), "VST3", saved(preset=plugin_host.preset_text("half"))),
        Track(noise(3 * 48000, seed=2), "VST3", saved(preset=plugin_host.preset_text("loud"))),
        Track(noise(3 * 48000, seed=3)),
    ]
    session = make_session(tmp_path, 48000, tracks, bundles("VST3"))
    half, loud, plain = 0.5 * tracks[0].audio, 1.5 * tracks[1].audio, tracks[2].audio
    sums = np.stack([(half + loud) + plain, (half + plain) + loud, (loud + plain) + half])
    first = session.export(tmp_path / "first.wav")
    assert (sums == first).any(axis=0).all()
    session.reopen_and_save()
    again = session.export(tmp_path / "again.wav")
    assert (sums == again).any(axis=0).all()


def test_a_mono_track(half_server: Path, tmp_path: Path) -> None:
    """A mono track is panned to the middle, 3 dB down in Ardour, on both sides alike."""
    audio = noise(2 * 48000, channels=1)
    session = make_session(tmp_path, 48000, [Track(audio, "VST3")], bundles("VST3"))
    out = session.export(tmp_path / "out.wav")
    plain = make_session(tmp_path / "plain", 48000, [Track(0.5 * audio)], {})
    assert np.abs(out - plain.export(tmp_path / "plain.wav")).max() <= 1e-6
    assert np.abs(out).max() > 0.05


def test_the_song_through_the_real_separator(state_folder: Path, tmp_path: Path) -> None:
    """Ardour's bounce is what the command line writes for the file, from its first sample to
    its last, whatever silence Ardour sends before and after."""
    song, rate = soundfile.read(example_song(), dtype="float32", always_2d=True)
    audio = np.ascontiguousarray(song[3 * rate : 5 * rate].T)
    text = plugin_host.preset_text("vocals")
    with Server(state_folder=state_folder, osc_port=0, preload=None):
        tracks = [Track(audio, "VST3", saved(preset=text))]
        session = make_session(tmp_path, rate, tracks, bundles("VST3"))
        out = session.export(tmp_path / "out.wav")
    chain = SeparationChain(loads(text), rate, 2)
    parts = [chain.finish(chain.push(audio)), chain.finish(chain.flush())]
    expected = np.concatenate(parts, axis=1)
    assert np.abs(expected - audio).max() > 0.01
    assert np.abs(out - expected).max() <= 1e-5
