"""Where a training begins: the shipped networks, with the encoder freed from the prompt.

The first shipped weights conditioned every norm, so each prompt cost a whole pass. Here the
prompt leaves the encoder: the mean of what the named prompts did to each of its norms is
folded into the norm itself, and one encoder pass serves every prompt from then on.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch

from ..errors import CheckpointError
from ..separators.layers.unet import UNet
from ..separators.layers.unet_delta import apply_delta
from ..separators.layers.unet_weights import build_unet, read_weights
from ..separators.sound_library import SoundLibrary
from .mixer import STEMS
from .prompted import Prompted
from .validation import PublishedPair

PAIR_FILE = "unet-vocals-instrumental.safetensors"
PROMPTED_FILE = "unet-drums-bass-other.safetensors"
SOUNDS_FILE = "unet-sounds.safetensors"


def package_weights() -> Path:
    """The folder of the weights in the package."""
    return Path(str(resources.files("stembridge") / "weights"))


def published_pair(folder: Path | None = None) -> PublishedPair:
    """The frozen vocals and instrumental networks of the package (or of a folder)."""
    stored, _ = read_weights((folder or package_weights()) / PAIR_FILE)
    halves = [
        build_unet({k.removeprefix(p): v for k, v in stored.items() if k.startswith(p)})
        for p in ("vocals.", "instrumental.")
    ]
    return PublishedPair(*halves)


def start_model(path: Path | None = None, sounds: Path | None = None) -> Prompted:
    """The conditioned network to train further, its encoder free of the prompt.

    Args:
        path: a file of the stems (default: the shipped one).
        sounds: a file of sounds that belongs to it. With it the network of the sounds is
            the start, and its names and its example encoder follow the stems.

    Raises:
        CheckpointError: no prompt rows for the stems, or a broken file.
    """
    path = path or package_weights() / PROMPTED_FILE
    stored, _ = read_weights(path)
    rows = stored.pop("tok", None)
    if rows is None or rows.ndim != 2 or rows.shape[0] < len(STEMS):
        raise CheckpointError(f"{path.name} has no prompt rows for {', '.join(STEMS)}.")
    prompts = torch.from_numpy(rows[: len(STEMS)].copy())
    network = build_unet(stored)
    if sounds is None:
        return Prompted(share_encoder(network, prompts), prompts, STEMS)
    library = SoundLibrary.read(sounds)
    network = apply_delta(network, library.tensors)
    rows = [torch.from_numpy(row)[None] for row in library.names.values()]
    names = (*STEMS, *library.names)
    encoder = library.encoder
    return Prompted(network, torch.cat([prompts, *rows]), names, encoder)


@torch.no_grad()
def share_encoder(network: UNet, prompts: torch.Tensor) -> UNet:
    """The same network with `condition="decoder"`; unchanged where it is that already."""
    if network.condition == "decoder":
        return network
    shared = UNet(network.prompt_size, "decoder")
    state = {k: v for k, v in network.state_dict().items() if not _is_encoder_film(k)}
    shared.load_state_dict(state)
    for old, new in zip(network.df, shared.df, strict=True):
        gain, shift = old.f(prompts).mean(dim=0).chunk(2)  # type: ignore[operator]
        new.bn.weight.mul_(1 + gain)  # type: ignore[union-attr]
        new.bn.bias.mul_(1 + gain).add_(shift)  # type: ignore[union-attr]
    return shared.eval()


def _is_encoder_film(key: str) -> bool:
    return key.startswith("df.") and ".f." in key
