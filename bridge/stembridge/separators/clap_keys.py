"""CLAP and CLAPSep: the published names of their tensors.

Inside CLAPSep's training module, CLAP's own towers are `clap_model.model.*`, the separator's
encoder (a copy of the audio tower with low-rank additions to its attention) is
`audio_branch.*`, the decoder `decoder_model.*`. The additions are merged when a checkpoint is
read: `W + (B A) / 16`.
"""

from __future__ import annotations

import re

from torch import Tensor, nn

from ..checkpoints_keys import KeyTable, Rule, Shape, Source, numbered, on_meta
from .layers.clapsep_decoder import LAYERS, WIDTH, ClapsepDecoder
from .layers.htsat import CLAP_BASE, CLASSES, Htsat
from .layers.roberta import Roberta

RANK = 16
LORA_SCALE = 1.0 / RANK
EMBEDDING = 512

_TEXT = "text_branch.encoder.layer.{0}."
TEXT_RULES: tuple[Rule, ...] = (
    (r"words\.(.+)", r"text_branch.embeddings.word_embeddings.\1"),
    (r"positions\.(.+)", r"text_branch.embeddings.position_embeddings.\1"),
    (r"types\.(.+)", r"text_branch.embeddings.token_type_embeddings.\1"),
    (r"norm\.(.+)", r"text_branch.embeddings.LayerNorm.\1"),
    (r"layers\.(\d+)\.(query|key|value)\.(.+)", numbered(_TEXT + "attention.self.{1}.{2}", 0)),
    (r"layers\.(\d+)\.mixed\.(.+)", numbered(_TEXT + "attention.output.dense.{1}", 0)),
    (r"layers\.(\d+)\.mixed_norm\.(.+)", numbered(_TEXT + "attention.output.LayerNorm.{1}", 0)),
    (r"layers\.(\d+)\.inner\.(.+)", numbered(_TEXT + "intermediate.dense.{1}", 0)),
    (r"layers\.(\d+)\.outer\.(.+)", numbered(_TEXT + "output.dense.{1}", 0)),
    (r"layers\.(\d+)\.outer_norm\.(.+)", numbered(_TEXT + "output.LayerNorm.{1}", 0)),
    (r"pooler\.(.+)", r"text_branch.pooler.dense.\1"),
)


def _head(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, EMBEDDING), nn.ReLU(), nn.Linear(EMBEDDING, EMBEDDING))


class AudioTower(nn.Module):
    """CLAP's audio side: HTS-AT and a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.htsat = Htsat(CLAP_BASE)
        self.head = _head(CLAP_BASE.latent)

    def forward(self, signal: Tensor) -> Tensor:
        """Audio `(B, samples)` at 48 kHz, at most 10 s, to unit vectors `(B, 512)`."""
        return nn.functional.normalize(self.head(self.htsat.latent(signal)), dim=-1)


class TextTower(nn.Module):
    """CLAP's text side: RoBERTa and a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.roberta = Roberta()
        self.head = _head(768)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids `(B, tokens)` to unit vectors `(B, 512)`."""
        return nn.functional.normalize(self.head(self.roberta(ids)), dim=-1)


def _with_prefix(prefix: str, rules: tuple[Rule, ...], behind: str) -> tuple[Rule, ...]:
    """Rules for tensors whose own names start with `behind`."""
    out: list[Rule] = []
    for pattern, target in rules:
        out.append((behind + pattern, prefix + target if isinstance(target, str) else target))
    return tuple(out)


def _unused_head(prefix: str) -> dict[str, Shape]:
    return {f"{prefix}head.weight": (CLASSES, CLASSES), f"{prefix}head.bias": (CLASSES,)}


def audio_table() -> KeyTable:
    """CLAP's audio tower, names as in CLAP (`audio_branch.*`, `audio_projection.*`)."""
    return KeyTable.of(
        "CLAP's audio tower",
        on_meta(AudioTower),
        ((r"htsat\.(.+)", r"audio_branch.\1"), (r"head\.(.+)", r"audio_projection.\1")),
        unused=_unused_head("audio_branch."),
    )


def text_table() -> KeyTable:
    """CLAP's text tower, names as in CLAP (`text_branch.*`, `text_projection.*`)."""
    return KeyTable.of(
        "CLAP's text tower",
        on_meta(TextTower),
        (
            *_with_prefix("", TEXT_RULES, r"roberta\."),
            (r"head\.(.+)", r"text_projection.\1"),
        ),
    )


CLAP_UNUSED = (
    r"(audio|text)_transform\.sequential\.[03]\.(weight|bias)",
    r"logit_scale_[at]",
)
"""Tensors of a CLAP file that inference never reads."""


class ClapsepNetwork(nn.Module):
    """The two trained halves of CLAPSep: encoder (additions merged) and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Htsat(CLAP_BASE)
        self.decoder = ClapsepDecoder()


_LAYER = "decoder_model.mask_net.2.layers.{0}."
DECODER_RULES: tuple[Rule, ...] = (
    (r"film\.(feature_proj|norm)\.(.+)", r"decoder_model.film.\1.\2"),
    (r"film\.(gamma|beta)\.(.+)", r"decoder_model.film.skip_conv.\1.\2"),
    (r"skips\.(\d)\.(feature_proj|norm)\.(.+)", r"decoder_model.skip.\1.\2.\3"),
    (r"skips\.(\d)\.(gamma|beta)\.(.+)", r"decoder_model.skip.\1.skip_conv.\2.\3"),
    (r"stages\.(\d)\.block\.(.+)", r"decoder_model.layers.\1.blocks.0.\2"),
    (r"stages\.(\d)\.expand\.(.+)", r"decoder_model.layers.\1.downsample.\2"),
    (r"patch_norm\.(.+)", r"decoder_model.inverse_patch_embed.norm.\1"),
    (r"patch_conv\.(.+)", r"decoder_model.inverse_patch_embed.proj.\1"),
    (r"spectrum_norm\.(.+)", r"decoder_model.spec_norm.\1"),
    (r"join\.(.+)", r"decoder_model.mask_net.0.\1"),
    (r"join_norm\.(.+)", r"decoder_model.mask_net.1.\1"),
    (r"time_layers\.(\d)\.qkv\.(.+)", numbered(_LAYER + "self_attn.in_proj_{1}", 0)),
    (r"time_layers\.(\d)\.proj\.(.+)", numbered(_LAYER + "self_attn.out_proj.{1}", 0)),
    (r"time_layers\.(\d)\.(.+)", numbered(_LAYER + "{1}", 0)),
    (r"out\.(.+)", r"decoder_model.mask_net.3.\1"),
)

TRAINED = re.compile(r".*lora.*|.*attn\.(qkv|proj)\.bias|decoder_model\..*")
"""The tensors that CLAPSep's own file holds; the rest comes from CLAP's."""

ADAPTED = re.compile(r"encoder\.(layers\..+\.attn\.(?:qkv|proj))\.weight")


def merge(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A layer's weight with its low-rank addition: `W + (B A) / 16`."""
    return weight + (b @ a) * LORA_SCALE


def separator_table() -> KeyTable:
    """Names inside CLAPSep's training module."""
    module = on_meta(ClapsepNetwork)
    derived: dict[str, Source] = {}
    unused = _unused_head("audio_branch.")
    for ours, tensor in module.state_dict().items():
        match = ADAPTED.fullmatch(ours)
        if match is None:
            continue
        layer = f"audio_branch.{match.group(1)}"
        outputs, inputs = tensor.shape
        derived[ours] = Source(
            (f"{layer}.weight", f"{layer}.lora_A", f"{layer}.lora_B"),
            ((outputs, inputs), (RANK, inputs), (outputs, RANK)),
            merge,
        )
        unused[f"clap_model.model.{layer}.bias"] = (outputs,)
    return KeyTable.of(
        "CLAPSep",
        module,
        (
            (r"encoder\.(.+)", r"audio_branch.\1"),
            *_with_prefix("", DECODER_RULES, r"decoder\."),
        ),
        unused=unused,
        ignored=(r"clap_model\..*",),
        derived=derived,
    )


__all__ = [
    "CLAP_UNUSED",
    "LAYERS",
    "TRAINED",
    "WIDTH",
    "AudioTower",
    "ClapsepNetwork",
    "TextTower",
    "audio_table",
    "separator_table",
    "text_table",
]
