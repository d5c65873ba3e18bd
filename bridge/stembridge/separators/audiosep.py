"""AudioSep: a sound by free text, at 32 kHz; the network of USS with CLAP's texts.

The condition is CLAP's text vector (512 numbers) of the checkpoint trained on music and
speech, which is another space than CLAPSep's. It was trained on texts alone, so it takes no
examples. (Liu et al., "Separate Anything You Describe", 2023.)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checkpoints
from ..checkpoints_read import read_state
from ..errors import CheckpointError
from .base import Capabilities
from .clap import Backend, ClapEncoder, encoder_of
from .layers.resunet import ResUnet30
from .segments import SegmentPlan
from .uss import STEMBRIDGE, ResUnetSeparator, read_resunet

if TYPE_CHECKING:
    from .published_tunable import NamedTunable

CONDITION = 512
BROAD = ("sound", "music", "singing", "speech", "animal", "vehicle")
"""Texts that tuning may start from."""


class Audiosep(ResUnetSeparator):
    """AudioSep behind the contract."""

    name = "audiosep"
    capabilities = Capabilities(text=True, tuned=True)
    plans: ClassVar[dict[str, SegmentPlan]] = {
        "stembridge": STEMBRIDGE,
        # The authors' long-file mode: 3 s kept between 1 s of context on both sides.
        "audiosep-chunk": SegmentPlan(160_000, 96_000, 32_000, 32_000, tail="short"),
    }

    def __init__(
        self, network: ResUnet30, encoder: ClapEncoder | None = None, **options: Any
    ) -> None:
        super().__init__(network, **options)
        self.encoder = encoder

    def encode_name(self, name: str) -> np.ndarray:
        return self.encode_text(name)

    def encode_text(self, text: str) -> np.ndarray:
        if self.encoder is None or not text.strip():
            raise self.refusal("text", text)
        return self.encoder.texts([text])[0]

    def tunable(self) -> NamedTunable:
        """As the tuner sees it: over one text's vector.

        It takes no examples, so tuning starts at the broad text that fits the clips best: a
        unit vector as the network was trained on. Without CLAP it starts at zero, where the
        network's own biases speak and no text is preferred.
        """
        from .published_tunable import NamedTunable

        def broad() -> list[np.ndarray]:
            if self.encoder is None:
                return [np.zeros(CONDITION, dtype=np.float32)]
            return list(self.encoder.texts(BROAD))

        return NamedTunable(self, step_size=2e-3, named=broad)


def missing() -> str | None:
    """Why AudioSep cannot run here and what to do, or None."""
    return checkpoints.missing("audiosep")


def load(
    checkpoint: str | Path | None = None,
    clap: str | Path | None = None,
    backend: Backend = "native",
    **options: Any,
) -> Audiosep:
    """AudioSep from its published files: the separator's (or a folder with both) and CLAP's,
    read only when a text is encoded."""
    path = checkpoints.require("audiosep", "separator", checkpoint)
    network = read_resunet(
        {n: t for n, t in read_state(path).items() if not n.startswith("query_encoder.")},
        str(path),
    )
    if network.condition != CONDITION:
        raise CheckpointError(
            f"{path} is a checkpoint of USS ({network.condition} numbers), not of AudioSep. "
            "Use it with the separator 'uss'."
        )
    towers = Path(clap) if clap else checkpoints.find("audiosep", "clap", checkpoint)
    encoder = encoder_of("audiosep", towers, checkpoint, backend)
    return Audiosep(network, encoder, **options)
