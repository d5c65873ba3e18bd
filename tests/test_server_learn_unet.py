"""Learn in the DAW with the embedded separator: real links, real network, the example song.

The host keeps to the server's pace (`in_time`), so nothing here depends on how fast the
machine is: what is heard while the server learns is, to the sample, what the same prompts
give without it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server_harness import RATE, delayed, eventually, in_blocks, in_time
from stembridge import Separate
from stembridge.audiofile import read_audio, write_audio
from stembridge.cli import main
from stembridge.example import example_song
from stembridge.presets import Preset, load_preset, save_preset
from stembridge.prompts import TunedPrompt
from stembridge.resample import resample
from stembridge.separators import load_separator
from stembridge.server import Server
from stembridge.server.client import Client
from stembridge.server.plugin_end import PluginEnd

BLOCK = 960


@pytest.fixture(autouse=True)
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "presets"
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def song(seconds: float) -> np.ndarray:
    audio, rate = read_audio(example_song())
    audio = resample(audio, rate, RATE)[:, : round(seconds * RATE)]
    return np.ascontiguousarray(audio, dtype=np.float32)


def as_effect(preset: Preset, audio: np.ndarray, latency_samples: int) -> np.ndarray:
    """What a script hears of the same preset in the same mode, as late as the plugin."""
    return delayed(Separate(preset, "mix")(audio, RATE), latency_samples)


def close(heard: np.ndarray, expected: np.ndarray) -> bool:
    """Equal but for the order of sums; other batches round other numbers in bfloat16."""
    return bool(np.abs(heard - expected).max() <= 2e-3)


def test_arm_mark_tune_audition_and_save_while_the_song_plays(tmp_path: Path) -> None:
    audio = song(6.0)
    vocals = replace(load_preset("vocals"), mode="mix")
    network = load_separator("unet").prompted_module  # type: ignore[attr-defined]
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    with (
        Server(state_folder=tmp_path, osc_port=0) as server,
        PluginEnd(vocals, RATE, max_block_samples=BLOCK, folder=tmp_path, id="a1") as plugin,
        Client.connect("test", folder=tmp_path, timeout_seconds=60.0) as client,
    ):
        plugin.wait_connected(60.0)
        process = in_time(server, plugin.process)
        latency = plugin.latency_samples

        def learn(verb: str, *values: object) -> list[object]:
            return client.request(f"/session/a1/learn/{verb}", *values)

        in_blocks(process, audio[:, :BLOCK], [BLOCK])
        learn("arm", 4.0)
        in_blocks(process, audio[:, : 4 * RATE], [BLOCK])
        learn("mark", 3.5, 2.0)
        learn("mark", 1.5, 0.2)
        plugin.reset()
        learn("tune", "keep", 6)
        learning = server.session("a1").learning
        heard = [in_blocks(process, audio, [BLOCK])]
        assert close(heard[0], as_effect(vocals, audio, latency)), "learning changed what plays"
        assert eventually(lambda: learning.job is None, 60.0), learning.message
        assert learning.lesson is not None and "dB tuned" in learning.message

        learn("audition", 1)
        learn("save", "My voice")
        plugin.reset()
        heard.append(in_blocks(process, audio, [BLOCK]))
        saved = load_preset("My voice")
        (prompt,) = saved.keep
        assert isinstance(prompt, TunedPrompt) and saved.tuning["clips"] == 2
        assert close(heard[1], as_effect(saved, audio, latency)), "B is not what was saved"
        assert not close(heard[0], heard[1]), "B sounds like A"
        status = plugin.status
        assert (status["missed_blocks"], status["timeouts"]) == (0, 0)
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_a_preset_tuned_in_python_sounds_equal_in_server_command_line_and_effect(
    tmp_path: Path,
) -> None:
    unet = load_separator("unet")
    tunable = unet.tunable()  # type: ignore[attr-defined]
    audio = song(3.0)
    # A vector as tuning leaves it: an encoded clip, with offsets on every norm.
    vector = tunable.start([resample(audio, RATE, 44100)])
    random = np.random.default_rng(5)
    vector[tunable.learnable] += 0.05 * random.standard_normal(vector[tunable.learnable].shape)
    prompt = TunedPrompt(vector.astype(np.float32), unet.space, "mine")
    path = save_preset(Preset("mine", keep=(prompt,), mode="mix"))
    preset = load_preset(str(path))
    expected = Separate(preset, "mix")(audio, RATE)
    assert np.abs(expected).max() > 0.01 and np.abs(expected - audio).max() > 0.01
    source = tmp_path / "song.wav"
    write_audio(source, audio, RATE, bits="32f")
    words = ["separate", "-p", str(path), str(source), "-o", str(tmp_path / "out"), "--bits", "32f"]
    assert main([*words, "--mode", "mix", "--threads", "1"]) == 0
    written, rate = read_audio(next((tmp_path / "out").rglob("mine.wav")))
    assert rate == RATE and np.abs(written - expected).max() <= 1e-5
    with (
        Server(state_folder=tmp_path, osc_port=0) as _,
        PluginEnd(preset, RATE, max_block_samples=BLOCK, folder=tmp_path) as plugin,
    ):
        plugin.wait_connected(60.0)
        whole = np.concatenate([audio, np.zeros((2, plugin.latency_samples), np.float32)], axis=1)
        heard = in_blocks(lambda b: plugin.process(b, offline=True), whole, [BLOCK])
        heard = heard[:, plugin.latency_samples :]
        assert plugin.status["timeouts"] == 0
    assert np.abs(heard - expected).max() <= 1e-5
