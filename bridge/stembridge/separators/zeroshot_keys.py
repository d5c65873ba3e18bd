"""Zero-shot ASP: the published names of the separator's and the query network's tensors."""

from __future__ import annotations

from ..checkpoints_keys import KeyTable, Rule, numbered, on_meta
from .layers.htsat import CLASSES, ZEROSHOT_2048, Htsat, HtsatConfig
from .layers.zeroshot_unet import ZeroshotUnet

SEPARATOR_RULES: tuple[Rule, ...] = (
    (r"encoders\.(\d+)\.(.+)", numbered("encoder_block{0}.conv_block.{1}")),
    (r"decoders\.(\d+)\.(.+)", numbered("decoder_block{0}.{1}")),
    (r"bottom\.(.+)", r"conv_block7.\1"),
    (r"after_block\.(.+)", r"after_conv_block1.\1"),
    (r"after_conv\.(.+)", r"after_conv2.\1"),
    (r"(bn0\..+)", r"\1"),
)


def separator_table() -> KeyTable:
    """Names inside the published separator; its own copy of the query network is ignored."""
    return KeyTable.of(
        "Zero-shot ASP's separator",
        on_meta(ZeroshotUnet),
        SEPARATOR_RULES,
        ignored=(r"at_model\..*",),
    )


def htsat_table(label: str, config: HtsatConfig, prefix: str) -> KeyTable:
    """Names of an HTS-AT behind `prefix`; its second classifier is there, but never used."""
    return KeyTable.of(
        label,
        on_meta(lambda: Htsat(config)),
        ((r"(.+)", rf"{prefix}\1"),),
        unused={
            f"{prefix}head.weight": (CLASSES, CLASSES),
            f"{prefix}head.bias": (CLASSES,),
        },
    )


def query_table() -> KeyTable:
    """Names inside the published query network (`htsat_audioset_2048d.ckpt`)."""
    return htsat_table("Zero-shot ASP's query network", ZEROSHOT_2048, "sed_model.")
