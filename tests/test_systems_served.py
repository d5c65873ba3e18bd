"""A published system behind the server: segments streamed through the link, sample for sample.

The checkpoint is a filled one in the published layout, of a small network, and is named in the
preset, as a user would; nothing of the way through the server is replaced.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import plugin_host
from filled import filled_state
from parity import TINY, Inputs
from server_harness import delayed, identity_server, in_blocks, noise
from stembridge import separators
from stembridge.chain import SeparationChain
from stembridge.presets import Preset, dumps
from stembridge.prompts import Clip, EncodedPrompt, ExamplePrompt, NamePrompt, Query
from stembridge.separators import tuss, zeroshot_keys
from stembridge.separators.layers.zeroshot_unet import ZeroshotUnet
from stembridge.separators.tuss_keys import separator_table
from stembridge.separators.zeroshot import Zeroshot
from stembridge.server import handlers
from stembridge.server.budget import latency_of
from stembridge.server.client import Client
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.session import build_chain

RATE = 48000


@pytest.fixture
def small_tuss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of a small TUSS."""
    monkeypatch.setitem(tuss.CONFIGS, 16, TINY)
    monkeypatch.setattr(separators, "_loaded", {})
    state = filled_state(separator_table(TINY), "")
    checkpoint = tmp_path / "model.pth"
    torch.save({f"model.{name}": tensor for name, tensor in state.items()}, checkpoint)
    return checkpoint


def test_segments_through_the_link_equal_the_chain(tmp_path: Path, small_tuss: Path) -> None:
    preset = Preset(
        "voices",
        keep=(NamePrompt("speech"),),
        mode="render",
        separator="tuss",
        options={"checkpoint": str(small_tuss)},
    )
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    chain = build_chain(preset, RATE, 2, "render")
    latency = chain.latency_samples + RATE  # a deadline for the server comes on top
    with (
        identity_server(tmp_path / "state", make_chain=build_chain) as server,
        PluginEnd(preset, RATE, latency_samples=latency, folder=tmp_path / "state") as plugin,
    ):
        plugin.wait_connected(60)
        audio = noise(latency + 7 * RATE + 123)  # two windows are heard
        (session,) = server.all_sessions()
        assert session.preset.separator == "tuss"
        heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, [512, 1000, 64, 4096])
        assert plugin.status["needed_latency_samples"] <= latency
        # The ring holds little more than a second, a window 6 s: the chain must wait for it.
        assert plugin.status["overflowed_samples"] == 0
        assert plugin.status["missed_samples"] == 0
    target = np.concatenate([chain.push(audio).target, chain.flush().target], axis=1)
    torch.set_num_threads(threads_before)
    assert np.abs(target).max() > 0.01
    assert np.abs(heard - delayed(target, latency)).max() <= 1e-5


@pytest.mark.parametrize("chunking", ["stembridge", "tuss-separate", "tuss-overlap"])
@pytest.mark.parametrize("keep", ["a name", "clips that fit no message"])
def test_the_latency_told_before_a_link_is_that_of_the_presets_options(
    tmp_path: Path, small_tuss: Path, chunking: str, keep: str
) -> None:
    """The checkpoint is nowhere else, and each way of the authors has hops of its own."""
    preset = Preset(
        "voices", keep=(NamePrompt("speech"),), mode="render", separator="tuss",
        options={"checkpoint": str(small_tuss), "chunking": chunking},
    )  # fmt: skip
    chain = build_chain(preset, RATE, 2, "render")
    if keep != "a name":
        preset = replace(preset, keep=(ExamplePrompt((Clip(noise(2 * RATE), RATE, "bell"),)),))
    with (
        identity_server(tmp_path / "state", make_chain=build_chain),
        PluginEnd(preset, RATE, max_block_samples=256, folder=tmp_path / "state") as plugin,
    ):
        assert plugin.latency_samples == latency_of(chain, 256).latency_samples


def test_the_plugin_reports_the_latency_of_the_presets_options_from_the_start(
    folder: Path, small_tuss: Path
) -> None:
    """A host asks before there is a session; by the separator's name alone there is no answer."""
    told = []
    with identity_server(folder, make_chain=build_chain):
        for chunking in ("stembridge", "tuss-overlap"):
            preset = Preset(
                "voices", keep=(NamePrompt("speech"),), mode="render", separator="tuss",
                options={"checkpoint": str(small_tuss), "chunking": chunking},
            )  # fmt: skip
            chain = build_chain(preset, RATE, 2, "render")
            plugin = plugin_host.load()
            plugin_host.write_state(plugin, preset=dumps(preset))
            plugin.mode = "Render"
            plugin.reset()
            plugin(noise(512), RATE, buffer_size=512)
            told.append(plugin.reported_latency_samples)
            assert told[-1] == latency_of(chain, 512).latency_samples
            del plugin
    assert told[0] != told[1]


def test_the_latency_of_a_separator_without_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No prompt is understood for it, so none that such a separator takes is needed."""
    network: Any = Inputs().module(ZeroshotUnet, zeroshot_keys.separator_table())
    separator = Zeroshot(network)
    monkeypatch.setattr(handlers, "named_separator", lambda name: separator)
    query = Query(keep=(EncodedPrompt(separator.space, np.ones(2048, np.float32)),))
    chain = SeparationChain(query, RATE, 2, mode="render", separator=separator)
    with (
        identity_server(tmp_path / "state"),
        Client.connect("test", folder=tmp_path / "state") as client,
    ):
        reply = client.request("/latency/get", "zeroshot", "render", RATE, 512)
    assert reply == list(latency_of(chain, 512).values)
