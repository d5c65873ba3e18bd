"""USS and AudioSep: the published names of ResUNet30's and Cnn14's tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..checkpoints_keys import KeyTable, Rule, Shape, numbered, on_meta
from .layers.cnn14 import Cnn14
from .layers.resunet import ResUnet30

CONDITIONS = (512, 527, 2048)
"""AudioSep's texts, USS's classes, USS's examples."""

_PART = r"(gate1\.bn|gate2\.bn|conv1|conv2|shortcut)\.(.+)"
_BETA = r"gate(\d)\.beta\.(.+)"


def _base(where: str) -> Rule:
    """Norms and convolutions: our `gate1.bn` is the published `bn1`."""
    pattern, prefix = where.split("=>")

    def rename(match: re.Match[str]) -> str:
        *index, part, rest = match.groups()
        part = {"gate1.bn": "bn1", "gate2.bn": "bn2"}.get(part, part)
        place = prefix.format(*(int(i) + 1 for i in index))
        return f"base.{place}.{part}.{rest}"

    return (pattern + _PART, rename)


RULES: tuple[Rule, ...] = (
    (r"encoders\.(\d+)\." + _BETA, numbered("film.encoder_block{0}->conv_block1->beta{1}.{2}")),
    (r"bottom\." + _BETA, r"film.conv_block7a->conv_block1->beta\1.\2"),
    (
        r"decoders\.(\d+)\.conv_block2\." + _BETA,
        numbered("film.decoder_block{0}->conv_block2->beta{1}.{2}"),
    ),
    (r"decoders\.(\d+)\." + _BETA, numbered("film.decoder_block{0}->beta{1}.{2}")),
    _base(r"encoders\.(\d+)\.=>encoder_block{0}.conv_block1"),
    _base(r"bottom\.=>conv_block7a.conv_block1"),
    _base(r"decoders\.(\d+)\.conv_block2\.=>decoder_block{0}.conv_block2"),
    _base(r"decoders\.(\d+)\.=>decoder_block{0}"),
    (r"((?:bn0|pre_conv|after_conv)\..+)", r"base.\1"),
)


def _unused(condition: int) -> Iterator[tuple[str, Shape]]:
    """Each decoder block has a second norm and bias that nothing reads."""
    for index, width in enumerate(ResUnet30.WIDTHS[::-1], start=1):
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"base.decoder_block{index}.bn2.{part}", (width,)
        yield f"film.decoder_block{index}->beta2.weight", (width, condition)
        yield f"film.decoder_block{index}->beta2.bias", (width,)


def separator_table(condition: int) -> KeyTable:
    """Names inside the published network, without the `ss_model.` of whole checkpoints."""
    return KeyTable.of(
        f"ResUNet30 with a condition of {condition} numbers",
        on_meta(lambda: ResUnet30(condition)),
        RULES,
        unused=dict(_unused(condition)),
    )


def cnn14_table() -> KeyTable:
    """Names inside the published Cnn14."""
    return KeyTable.of(
        "Cnn14",
        on_meta(Cnn14),
        (
            (r"blocks\.(\d+)\.(.+)", numbered("conv_block{0}.{1}")),
            (r"((?:bn0|fc1|fc_audioset)\..+)", r"\1"),
        ),
    )
