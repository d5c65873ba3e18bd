"""TUSS: the published names of its tensors."""

from __future__ import annotations

import re

from torch import nn

from ..checkpoints_keys import KeyTable, Rule, Source, numbered, on_meta
from .layers.locoformer import ConvSwiglu, Locoformer, LocoformerConfig, back_matrix, into_matrix

_MODULES = {"cross": "cross_prompt_module", "source": "cond_tse_module"}
_PARTS = {
    # The published lists are stored in reverse: index 1 runs first.
    "first_norm": "ffn_norm.1",
    "first": "ffn.1",
    "last_norm": "ffn_norm.0",
    "last": "ffn.0",
    "attn_norm": "attn_norm",
    "attn.qkv": "attn.qkv",
    "attn.out": "attn.aggregate_heads.0",
}


def _block(match: re.Match[str]) -> str:
    module, index, path, part, rest = match.groups()
    return f"separator.{_MODULES[module]}.{index}.{path}.{_PARTS[part]}.{rest}"


RULES: tuple[Rule, ...] = (
    (r"start", "separator.sos_token"),
    (r"tokens\.(.+)", r"separator.prompts.\1"),
    (
        r"(cross|source)\.(\d+)\.(freq_path|frame_path)\."
        r"(first_norm|last_norm|attn_norm|attn\.qkv|attn\.out)\.(.+)",
        _block,
    ),
    (
        r"split\.norms\.(\d+)\.(.+)",
        numbered("separator.band_split_module.band_split_module.{0}.0.{1}", 0),
    ),
    (
        r"split\.projections\.(\d+)\.(.+)",
        numbered("separator.band_split_module.band_split_module.{0}.1.{1}", 0),
    ),
    *(
        (
            rf"decode\.{ours}\.(\d+)\.(.+)",
            numbered(
                f"separator.band_split_module.bandwise_decoding_module.{{0}}.{theirs}.{{1}}", 0
            ),
        )
        for ours, theirs in (("norms", 0), ("first", 1), ("second", 3), ("third", 5))
    ),
)


_FEED = re.compile(r"(cross|source)\.(\d+)\.(\w+)\.(first|last)\.(into|back|bias)(.*)")
_LAYERS = {"into": "conv1d", "back": "deconv1d", "bias": "deconv1d.bias"}


def _feeds(network: nn.Module) -> dict[str, Source]:
    """The feed-forward parts: convolutions in the published file, matrix products here."""
    sources = {}
    for ours, tensor in network.state_dict().items():
        match = _FEED.fullmatch(ours)
        if match is None:
            continue
        module, index, path, part, layer, rest = match.groups()
        feed = f"separator.{_MODULES[module]}.{index}.{path}.{_PARTS[part]}"
        name, shape = f"{feed}.{_LAYERS[layer]}{rest}", tuple(tensor.shape)
        combine = None
        if rest == ".weight":
            part_here = network.get_submodule(ours.removesuffix(f".{layer}.weight"))
            assert isinstance(part_here, ConvSwiglu)
            kernel = part_here.kernel
            rows, columns = shape
            if layer == "into":
                shape, combine = (rows, columns // kernel, kernel), into_matrix
            else:
                shape, combine = (columns, rows // kernel, kernel), back_matrix
        sources[ours] = Source((name,), (shape,), combine)
    return sources


def separator_table(config: LocoformerConfig) -> KeyTable:
    """Names inside the published module, without the `model.` of whole checkpoints."""
    network = on_meta(lambda: Locoformer(config))
    label = f"TUSS with {config.dim} features"
    return KeyTable.of(label, network, RULES, derived=_feeds(network))
