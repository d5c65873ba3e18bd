"""The U-Net computes the published arithmetic: against an oracle written from its description.

The oracle below is plain torch functions over the shipped weights, expanded by hand; it
shares no code with the package. It stands for the published networks, whose weights the
conversion compares tensor by tensor with both published copies.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stembridge.prompts import NamePrompt, Query
from stembridge.separators import load_separator
from stembridge.separators.layers.unet import UNet
from stembridge.separators.layers.unet_grid import LOOKAHEAD_FRAMES, GridRun
from stembridge.separators.layers.unet_masks import apply_masks, continue_mask
from stembridge.separators.layers.unet_packed import PackedUNet
from stembridge.separators.layers.unet_weights import build_unet, read_weights
from stembridge.separators.layers.unet_window import run_window
from stembridge.separators.unet import PAIR_FILE, PROMPTED_FILE, Unet

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def unet() -> Unet:
    separator = load_separator("unet")
    assert isinstance(separator, Unet)
    return separator


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    from importlib import resources
    from pathlib import Path

    folder = Path(str(resources.files("stembridge") / "weights"))
    prompted, _ = read_weights(folder / PROMPTED_FILE)
    return read_weights(folder / PAIR_FILE)[0] | {"prompted." + k: v for k, v in prompted.items()}


def oracle(stored: dict[str, np.ndarray], stem: str, x: torch.Tensor) -> torch.Tensor:
    """The published network: magnitudes `(batch, 2, frames, 1024)` to a sigmoid of that shape.

    For the prompted network, `stem` is "prompted.<row>".
    """
    stem, _, row = stem.partition(".")
    prompt = torch.from_numpy(stored["prompted.tok"])[int(row)] if row else None

    def get(key: str) -> torch.Tensor:
        key = f"{stem}.{key}"
        if key in stored:
            return torch.from_numpy(stored[key])
        axis = 1 if ".u." in key else 0
        q, scale = stored[key + ".q"].astype(np.float32), stored[key + ".scale"]
        return torch.from_numpy(q * scale.reshape([-1 if a == axis else 1 for a in range(4)]))

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = get(f"{name}.bn.running_mean"), get(f"{name}.bn.running_var")
        x = F.batch_norm(x, mean, var, get(f"{name}.bn.weight"), get(f"{name}.bn.bias"), eps=1e-3)
        if f"{stem}.{name}.f.weight" not in stored:
            return x
        assert prompt is not None
        gain, shift = (get(f"{name}.f.weight") @ prompt + get(f"{name}.f.bias")).chunk(2)
        return x * (1 + gain[:, None, None]) + shift[:, None, None]

    skips = []
    for step in range(6):
        if step:
            x = F.leaky_relu(norm(x, f"df.{step - 1}"), 0.2)
        x = F.conv2d(F.pad(x, (1, 2, 1, 2)), get(f"d.{step}.weight"), get(f"d.{step}.bias"), 2)
        skips.append(x)
    for step in range(6):
        if step:
            x = torch.cat([skips[5 - step], x], dim=1)
        x = F.conv_transpose2d(x, get(f"u.{step}.weight"), get(f"u.{step}.bias"), stride=2)
        x = norm(F.relu(x[:, :, 1:-2, 1:-2]), f"uf.{step}")
    return torch.sigmoid(F.conv2d(x, get("last.weight"), get("last.bias"), 1, 3, 2))


def spectrum_like(random: np.random.Generator, frames: int) -> torch.Tensor:
    """Magnitudes with a falling spectrum and silent stretches, `(1, 2, frames, 1024)`.

    The silence lies inside a block of 64 frames: at the beginning of one it would be a border.
    """
    fall = 40.0 / (1.0 + np.arange(1024) / 20.0)
    x = random.random((1, 2, frames, 1024)) ** 3 * fall
    x[:, :, frames // 3 + 7 : frames // 3 + 12] = 0.0
    return torch.from_numpy(x.astype(np.float32))


STEMS = ("vocals", "instrumental", "prompted.0", "prompted.2")


def module_and_prompt(
    unet: Unet, stored: dict[str, np.ndarray], stem: str
) -> tuple[UNet, torch.Tensor | None]:
    _kind, _, row = stem.partition(".")
    if not row:
        prefix = stem + "."
        part = {k[len(prefix) :]: v for k, v in stored.items() if k.startswith(prefix)}
        return build_unet(part), None
    return unet.stems_module, torch.from_numpy(stored["prompted.tok"])[int(row)][None]


@pytest.mark.parametrize("stem", STEMS)
@torch.inference_mode()
def test_module_and_packed_network_equal_the_published_arithmetic(
    unet: Unet, stored: dict[str, np.ndarray], random: np.random.Generator, stem: str
) -> None:
    x = spectrum_like(random, 64)
    expected = oracle(stored, stem, x)
    module, prompt = module_and_prompt(unet, stored, stem)
    estimate = module(x, prompt)
    assert torch.allclose(estimate, expected * x, atol=TOLERANCE)
    packed = PackedUNet(module)
    masks = run_window(packed, x, packed.affines(prompt))
    assert torch.allclose(masks, expected, atol=TOLERANCE)
    assert expected.std() > 1e-3, "the oracle must say something"


@pytest.mark.parametrize(("first", "stop"), [(0, 1), (63, 64), (61, 63), (46, 54), (20, 37)])
@torch.inference_mode()
def test_a_few_frames_of_a_window_equal_those_of_the_whole(
    unet: Unet, random: np.random.Generator, first: int, stop: int
) -> None:
    x = spectrum_like(random, 64)
    packed = unet.networks("render").vocals
    whole = run_window(packed, x, packed.affines())
    part = run_window(packed, x, packed.affines(), first, stop)
    assert torch.allclose(part, whole[:, :, first:stop], atol=1e-5)


@pytest.mark.parametrize("piece", [64, 128])
@torch.inference_mode()
def test_the_grid_equals_one_window_over_everything(
    unet: Unet, stored: dict[str, np.ndarray], random: np.random.Generator, piece: int
) -> None:
    frames = 384
    x = spectrum_like(random, frames)
    expected = oracle(stored, "vocals", x)[0]
    packed = unet.networks("render").vocals
    run = GridRun(packed, packed.affines())
    columns = x[0]
    masks, given = [], piece - 1
    masks.append(run.push(columns[:, :given]))
    while given + piece < frames:
        masks.append(run.push(columns[:, given : given + piece]))
        given += piece
        assert sum(m.shape[2] for m in masks) == max(0, given - LOOKAHEAD_FRAMES)
    masks.append(run.push(columns[:, given:], last=True))
    assert torch.allclose(torch.cat(masks, dim=2)[0], expected, atol=TOLERANCE)


@pytest.mark.parametrize("sounding", [64, 100, 129])
@torch.inference_mode()
def test_silence_after_a_song_is_the_end_of_the_window(
    unet: Unet, stored: dict[str, np.ndarray], random: np.random.Generator, sounding: int
) -> None:
    """Frames that go on in silence give the masks of the window that ends with the song's block."""
    x = spectrum_like(random, 576)
    x[:, :, sounding:] = 0.0
    window = -(-sounding // 64) * 64
    expected = oracle(stored, "vocals", x[:, :, :window])[0]
    packed = unet.networks("render").vocals
    run = GridRun(packed, packed.affines())
    masks = [run.push(x[0][:, :127])]
    masks += [run.push(x[0][:, first : first + 64]) for first in range(127, 576 - 64, 64)]
    found = torch.cat(masks, dim=2)[0]
    assert found.shape[1] >= sounding
    assert torch.allclose(found[:, :sounding], expected[:, :sounding], atol=TOLERANCE)


@torch.inference_mode()
def test_prompts_on_one_grid_equal_the_published_arithmetic_of_each(
    unet: Unet, stored: dict[str, np.ndarray], random: np.random.Generator
) -> None:
    """What the prompts share is computed once, and nobody can tell."""
    x = spectrum_like(random, 384)
    rows = len(unet.layout.rows)
    packed = unet.networks("render").prompted
    run = GridRun(packed, packed.affines(torch.from_numpy(unet.layout.rows)), rows)
    masks = [run.push(x[0][:, :127]), run.push(x[0][:, 127:255])]
    masks.append(run.push(x[0][:, 255:], last=True))
    together = torch.cat(masks, dim=2)
    for row in range(rows):
        expected = oracle(stored, f"prompted.{row}", x)[0]
        assert torch.allclose(together[row], expected, atol=TOLERANCE)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@torch.inference_mode()
def test_a_network_steered_in_its_decoder_shares_one_encoding(
    unet: Unet, stored: dict[str, np.ndarray], random: np.random.Generator
) -> None:
    part = {k[9:]: v for k, v in stored.items() if k.startswith("prompted.")}
    prompts = torch.from_numpy(part.pop("tok"))
    half = {k: v for k, v in part.items() if not (k.startswith("df.") and ".f." in k)}
    network = build_unet(half)
    assert (network.condition, network.prompt_size) == ("decoder", prompts.shape[1])
    x = spectrum_like(random, 64)
    skips = network.encode(x)
    together = network.decode_many(skips, prompts)
    packed = PackedUNet(network)
    spread = torch.zeros(len(prompts), dtype=torch.long)
    fast = run_window(packed, x, packed.affines(prompts), spread=spread)
    for row in range(len(prompts)):
        alone = network.decode(skips, prompts[row : row + 1])[0]
        assert torch.allclose(together[0, row], alone, atol=1e-5)
        assert torch.allclose(fast[row], alone, atol=1e-5)


@torch.inference_mode()
def test_without_onednn_the_same_masks_come_out(
    unet: Unet, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CPUs and torch builds that lack it, torch's own convolutions run."""
    x = spectrum_like(random, 64)
    rows = torch.from_numpy(unet.layout.rows)
    spread = torch.zeros(len(rows), dtype=torch.long)
    fast = unet.networks("render").prompted
    expected = run_window(fast, x, fast.affines(rows), spread=spread)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = PackedUNet(unet.stems_module, many_columns=True)
    assert torch.allclose(
        run_window(plain, x, plain.affines(rows), spread=spread), expected, atol=1e-5
    )


@torch.inference_mode()
def test_film_offsets_do_what_they_say(unet: Unet, random: np.random.Generator) -> None:
    module = unet.stems_module
    prompt = torch.from_numpy(unet.layout.rows[:1])
    values = random.standard_normal((1, module.film_size)) * 0.05
    offsets = torch.from_numpy(values.astype(np.float32))
    x = spectrum_like(random, 64)
    film = module.film(prompt, offsets)
    expected = module.decode(module.encode(x, film=film), film=film)
    packed = unet.networks("render").prompted
    masks = run_window(packed, x, packed.affines(prompt, offsets))
    assert torch.allclose(masks, expected, atol=1e-5)
    plain = module.decode(module.encode(x, prompt), prompt)
    assert (plain - expected).abs().max() > 1e-2


@torch.inference_mode()
def test_render_equals_the_published_signal_chain(
    unet: Unet, stored: dict[str, np.ndarray], random: np.random.Generator
) -> None:
    """STFT centred with zeros, one window, squared ratio, inverse STFT: within 1e-4."""
    samples = 4 * 44100 + 17
    tone = np.sin(2 * np.pi * 220 * np.arange(samples) / 44100)
    mixture = (0.3 * tone + 0.1 * random.standard_normal((2, samples))).astype(np.float32)
    window = torch.hann_window(4096)
    spectra = torch.stft(
        F.pad(torch.from_numpy(mixture), (0, 8192)), 4096, 1024, 4096, window,
        center=True, pad_mode="constant", return_complex=True,
    )  # fmt: skip
    magnitudes = spectra[:, :1024].abs().transpose(1, 2)
    # Where a song ends is a border; the stream puts it after the last frame that is heard.
    frames = -(-samples // 1024) + 2
    magnitudes = F.pad(magnitudes[:, :frames], (0, 0, 0, -frames % 64))
    vocals = oracle(stored, "vocals", magnitudes[None])[0] * magnitudes
    rest = oracle(stored, "instrumental", magnitudes[None])[0] * magnitudes
    mask = (rest**2 + 5e-11) / (vocals**2 + rest**2 + 1e-10)
    mask = mask[:, :frames].transpose(1, 2)
    expected = torch.istft(
        torch.cat([spectra[:, :1024, :frames] * mask, 0 * spectra[:, 1024:, :frames]], dim=1),
        4096, 1024, 4096, window, center=True, length=samples,
    )  # fmt: skip
    query = Query(keep=(unet.encode(NamePrompt("instrumental")),))
    stem = torch.from_numpy(unet.separate(mixture, [query])[0])
    below = torch.fft.irfft(_low(torch.fft.rfft(stem)), n=samples)
    want = torch.fft.irfft(_low(torch.fft.rfft(expected)), n=samples)
    inner = slice(4096, samples - 8192)
    assert (below - want)[:, inner].abs().max() < TOLERANCE
    assert want[:, inner].abs().max() > 0.1


def _low(spectrum: torch.Tensor) -> torch.Tensor:
    """Only what lies below 10 kHz, clear of the edge of the networks' range."""
    kept = spectrum.clone()
    kept[:, int(spectrum.shape[1] * 10_000 / 22_050) :] = 0
    return kept


def test_masks_applied_are_the_continued_masks_times_the_spectra() -> None:
    """The shortcut over all bins equals the plain product."""
    torch.manual_seed(0)
    masks = torch.rand(3, 5, 1024, 2).permute(0, 3, 1, 2)
    spectra = torch.randn(2, 5, 2049, dtype=torch.complex64)
    expected = continue_mask(masks, 2049) * spectra
    torch.testing.assert_close(apply_masks(masks, spectra), expected, rtol=1e-6, atol=1e-7)
