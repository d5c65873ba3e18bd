"""A published system behind the server: segments streamed through the link, sample for sample.

The checkpoint is a filled one in the published layout, of a small network, and is named in the
preset, as a user would; nothing of the way through the server is replaced.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from filled import filled_state
from parity import TINY
from server_harness import delayed, identity_server, in_blocks, noise
from stembridge import separators
from stembridge.presets import Preset
from stembridge.prompts import NamePrompt
from stembridge.separators import tuss
from stembridge.separators.tuss_keys import separator_table
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.session import build_chain

RATE = 48000


def test_segments_through_the_link_equal_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tuss.CONFIGS, 16, TINY)
    monkeypatch.setattr(separators, "_loaded", {})
    state = filled_state(separator_table(TINY), "")
    checkpoint = tmp_path / "model.pth"
    torch.save({f"model.{name}": tensor for name, tensor in state.items()}, checkpoint)
    preset = Preset(
        "voices",
        keep=(NamePrompt("speech"),),
        mode="render",
        separator="tuss",
        options={"checkpoint": str(checkpoint)},
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
