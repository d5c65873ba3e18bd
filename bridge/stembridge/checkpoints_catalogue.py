"""The published checkpoints: which files each system needs, whose they are, on what terms.

Data and nothing else: no file is looked for here (`checkpoints`) and none is downloaded
(`checkpoints_fetch`). Sizes and hashes are given as far as they are known, licences as far as
their authors state them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import NotAvailableError


@dataclass(frozen=True)
class PublishedFile:
    """One file. Exactly one of `repo` (on the hub), `url` and `page` (by hand) is set."""

    role: str
    """What it is to its system: "separator", "query", "clap", "tokenizer"…"""
    filename: str
    size_bytes: int | None = None
    repo: str = ""
    repo_type: str = "model"
    path: str = ""
    """Inside the repository; empty: `filename`."""
    url: str = ""
    page: str = ""
    shared: str = ""
    """The folder of a file that several systems use; empty: the system's own."""
    sha256: str = ""
    """As far as known: "fae3e9c0…af6dedd" gives its beginning and end."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        if self.repo:
            kind = "spaces/" if self.repo_type == "space" else ""
            return f"huggingface.co/{kind}{self.repo}"
        return self.url or self.page


@dataclass(frozen=True)
class Published:
    """One system's files and the terms they come under."""

    name: str
    files: tuple[PublishedFile, ...]
    licence: str
    """One sentence per part, as far as the authors state it."""


def _hub(role: str, repo: str, filename: str, size: int | None, **rest: str) -> PublishedFile:
    return PublishedFile(role, filename, size, repo=repo, **rest)


_TOKENIZER = (
    _hub("vocabulary", "FacebookAI/roberta-base", "vocab.json", 898_823),
    _hub("merges", "FacebookAI/roberta-base", "merges.txt", 456_318),
)
_CLAP_LICENCE = (
    "LAION-CLAP weights: see the card of lukewys/laion_clap (the package is CC0-1.0). "
    "roberta-base vocabulary: MIT."
)
_USS_REPO = "RSNuts/Universal_Source_Separation"
_USS_LICENCE = (
    "USS weights: Apache-2.0 (as tagged by their authors). Cnn14: CC-BY-4.0 on Zenodo "
    "(check the record)."
)
_CNN14 = PublishedFile(
    "query",
    "Cnn14_mAP=0.431.pth",
    327_428_481,
    shared="cnn14",
    url="https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth?download=1",
)
_ZEROSHOT_PAGE = "https://drive.google.com/drive/folders/1RouwHsGsMs8n3l_jF8XifWtbPzur_YQS"
_TUSS_URL = (
    "https://media.githubusercontent.com/media/merlresearch/unified-source-separation/main/"
    "pretrained_models/tuss.{}.2-4src/checkpoints/model.pth"
)
_TUSS_LICENCE = (
    "Weights and code: AGPL-3.0-or-later. A patent application (US-20260112383-A1) covers the "
    "method; commercial users should take advice."
)
_DEMUCS_LICENCE = (
    "Code: MIT. The weights were trained on MUSDB18-HQ and further songs; their authors say "
    '"for scientific purposes", so ask them before commercial use.'
)


def _demucs(variant: str, repo: str, signatures: tuple[str, ...]) -> Published:
    return Published(
        f"demucs:{variant}",
        (
            _hub("bag", repo, f"{variant}.yaml", None),
            *(_hub(f"model{i}", repo, f"{s}.safetensors", None) for i, s in enumerate(signatures)),
        ),
        _DEMUCS_LICENCE,
    )


CATALOGUE: dict[str, Published] = {
    entry.name: entry
    for entry in (
        Published(
            "clapsep",
            (
                _hub(
                    "separator",
                    "AisakaMikoto/CLAPSep",
                    "best_model.ckpt",
                    177_818_986,
                    repo_type="space",
                    path="model/best_model.ckpt",
                ),
                _hub(
                    "clap",
                    "lukewys/laion_clap",
                    "music_audioset_epoch_15_esc_90.14.pt",
                    2_352_471_003,
                    sha256="fae3e9c0…af6dedd",
                ),
                *_TOKENIZER,
            ),
            "CLAPSep: no licence stated, so all rights are its authors'; ask them before any "
            f"use beyond your own study. {_CLAP_LICENCE}",
        ),
        Published(
            "zeroshot",
            (
                PublishedFile("separator", "zeroshot_asp_full.ckpt", page=_ZEROSHOT_PAGE),
                PublishedFile("query", "htsat_audioset_2048d.ckpt", page=_ZEROSHOT_PAGE),
            ),
            "Code: MIT (2021 Knut Chen). Weights: no separate statement.",
        ),
        Published(
            "uss:examples",
            (
                _hub(
                    "separator",
                    _USS_REPO,
                    "ss_model=resunet30,querynet=emb,data=balanced,devices=1,steps=1000000.ckpt",
                    None,
                    path="uss_material/ss_model=resunet30,querynet=emb,data=balanced,devices=1,"
                    "steps=1000000.ckpt",
                ),
                _CNN14,
            ),
            _USS_LICENCE,
        ),
        Published(
            "uss:classes",
            (
                _hub(
                    "separator",
                    _USS_REPO,
                    "ss_model=resunet30,querynet=at_soft,data=full,devices=8,step=1000000.ckpt",
                    1_121_024_828,
                    path="uss_material/ss_model=resunet30,querynet=at_soft,data=full,devices=8,"
                    "step=1000000.ckpt",
                ),
                _CNN14,
            ),
            _USS_LICENCE,
        ),
        Published(
            "audiosep",
            (
                _hub(
                    "separator",
                    "Audio-AGI/AudioSep",
                    "audiosep_base_4M_steps.ckpt",
                    None,
                    repo_type="space",
                    path="checkpoint/audiosep_base_4M_steps.ckpt",
                ),
                _hub(
                    "clap",
                    "lukewys/laion_clap",
                    "music_speech_audioset_epoch_15_esc_89.98.pt",
                    None,
                ),
                *_TOKENIZER,
            ),
            f"AudioSep: MIT. {_CLAP_LICENCE}",
        ),
        Published(
            "tuss:medium",
            (
                PublishedFile(
                    "separator",
                    "model.pth",
                    44_864_630,
                    url=_TUSS_URL.format("medium"),
                    sha256="112174a8…655eec",
                ),
            ),
            _TUSS_LICENCE,
        ),
        Published(
            "tuss:large",
            (
                PublishedFile(
                    "separator",
                    "model.pth",
                    153_210_470,
                    url=_TUSS_URL.format("large"),
                    sha256="1ed66c06…85dfe5acd",
                ),
            ),
            _TUSS_LICENCE,
        ),
        _demucs("htdemucs", "adefossez/HTDemucs", ("955717e8",)),
        _demucs(
            "htdemucs_ft", "adefossez/HTDemucs-ft", ("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d")
        ),
        _demucs("htdemucs_6s", "adefossez/HTDemucs-6s", ("5c90dfd2",)),
    )
}

DEFAULT_VARIANTS = {"uss": "examples", "tuss": "medium", "demucs": "htdemucs"}


def published(name: str) -> Published:
    """The catalogue's entry for "clapsep", "uss" (its default variant), "uss:classes"…

    Raises:
        NotAvailableError: for an unknown name, with the known ones.
    """
    full = f"{name}:{DEFAULT_VARIANTS[name]}" if name in DEFAULT_VARIANTS else name
    if full not in CATALOGUE:
        raise NotAvailableError(
            f"There is no published model {name!r}. Choose one of: {', '.join(CATALOGUE)}."
        )
    return CATALOGUE[full]
