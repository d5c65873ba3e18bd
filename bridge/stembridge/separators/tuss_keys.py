"""TUSS: the published names of its tensors."""

from __future__ import annotations

import re

from ..checkpoints_keys import KeyTable, Rule, numbered, on_meta
from .layers.locoformer import Locoformer, LocoformerConfig

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
        r"(first_norm|first|last_norm|last|attn_norm|attn\.qkv|attn\.out)\.(.+)",
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


def separator_table(config: LocoformerConfig) -> KeyTable:
    """Names inside the published module, without the `model.` of whole checkpoints."""
    return KeyTable.of(
        f"TUSS with {config.dim} features", on_meta(lambda: Locoformer(config)), RULES
    )
