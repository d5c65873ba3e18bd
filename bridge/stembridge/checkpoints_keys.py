"""Tables from the names in a published checkpoint to the names in our modules.

A table is made from a module and the rules that give, for each of its own tensors, the
published name. It is complete by construction: every published tensor is consumed exactly
once, listed as unused (there, checked, but read by nothing), or carries nothing learned
(windows, indices, counters) and may be absent. Whatever else is in a file, or is not, is an
error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .errors import CheckpointError

Shape = tuple[int, ...]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern on our whole name and the published name (a template or a function)."""

COMPUTED = (
    r"(.*\.)?num_batches_tracked",
    r"(.*\.)?(stft|istft|spectrogram_extractor|logmel_extractor)\..*",
    r"(.*\.)?(relative_position_index|attn_mask|position_ids|rope\.freqs)",
)
"""Published tensors that sizes alone determine: dropped if there."""

SHOWN = 5
"""How many names an error lists."""


@dataclass(frozen=True)
class Source:
    """Where one of our tensors comes from: published tensors, and how they are combined."""

    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    combine: Callable[..., Tensor] | None = None


def numbered(template: str, first: int = 1) -> Callable[[re.Match[str]], str]:
    """A rule's second half: `template` with `{0}` our index counted from `first` and `{1}`,
    `{2}`… the further groups."""

    def rename(match: re.Match[str]) -> str:
        index, *rest = match.groups()
        return template.format(int(index) + first, *rest)

    return rename


def published_name(ours: str, rules: Iterable[Rule]) -> str:
    """The published name of our tensor `ours`; the first rule that fits decides."""
    for pattern, target in rules:
        match = re.fullmatch(pattern, ours)
        if match:
            return match.expand(target) if isinstance(target, str) else target(match)
    raise KeyError(f"no rule for {ours!r}")


@dataclass(frozen=True)
class KeyTable:
    """One published layout. `label` names it in errors; make it with `KeyTable.of`."""

    label: str
    sources: Mapping[str, Source]
    unused: Mapping[str, Shape] = field(default_factory=dict)
    ignored: tuple[str, ...] = COMPUTED

    @classmethod
    def of(
        cls,
        label: str,
        module: nn.Module,
        rules: Sequence[Rule],
        unused: Mapping[str, Shape] | None = None,
        ignored: Sequence[str] = (),
        derived: Mapping[str, Source] | None = None,
    ) -> KeyTable:
        """The table of `module` (its tensors may be on the meta device).

        `derived` gives the sources of those tensors that are combined from several.
        """
        sources: dict[str, Source] = {}
        for ours, tensor in module.state_dict().items():
            if ours.endswith("num_batches_tracked"):
                continue
            if derived is not None and ours in derived:
                sources[ours] = derived[ours]
            else:
                name = published_name(ours, rules)
                sources[ours] = Source((name,), (tuple(tensor.shape),))
        names = [name for source in sources.values() for name in source.names]
        names += list(unused or {})
        if len(set(names)) != len(names):
            raise ValueError(f"{label}: a published name is used twice")
        return cls(label, sources, dict(unused or {}), (*COMPUTED, *ignored))

    def shapes(self) -> dict[str, Shape]:
        """Every published name that must be there, with its shape."""
        shapes = {
            name: shape
            for source in self.sources.values()
            for name, shape in zip(source.names, source.shapes, strict=True)
        }
        return shapes | dict(self.unused)

    def skips(self, name: str) -> bool:
        """Whether the published tensor `name` carries nothing learned."""
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)

    def convert(self, state: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
        """A published state dict, read from `origin`, to ours, in float32.

        Raises:
            CheckpointError: naming the keys that are missing, not known, of a wrong shape or
                not finite.
        """
        shapes = self.shapes()
        self._check(state, shapes, origin)
        converted: dict[str, Tensor] = {}
        for ours, source in self.sources.items():
            tensors = [state[name].to(torch.float32) for name in source.names]
            for name, tensor in zip(source.names, tensors, strict=True):
                if not torch.isfinite(tensor).all():
                    raise CheckpointError(
                        f"{origin}: the tensor {name!r} holds numbers that are not finite. "
                        "Fetch or copy the file again."
                    )
            combine = source.combine
            converted[ours] = tensors[0] if combine is None else combine(*tensors)
        return converted

    def _check(self, state: Mapping[str, Tensor], shapes: Mapping[str, Shape], origin: str) -> None:
        missing = [name for name in shapes if name not in state]
        extra = [name for name in state if name not in shapes and not self.skips(name)]
        wrong = [
            f"{name} {tuple(state[name].shape)} instead of {shape}"
            for name, shape in shapes.items()
            if name in state and tuple(state[name].shape) != shape
        ]
        told = [
            f"{what}: {_some(names)}"
            for what, names in (("missing", missing), ("unknown", extra), ("wrong shape", wrong))
            if names
        ]
        if told:
            raise CheckpointError(
                f"{origin} is not a checkpoint of {self.label}; {'; '.join(told)}. "
                "Give the file that the authors published for this system "
                "(stembridge models list)."
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def on_meta(factory: Callable[[], nn.Module]) -> nn.Module:
    """A module without memory, for its names and shapes."""
    with torch.device("meta"):
        return factory()


def install(module: nn.Module, converted: Mapping[str, Tensor]) -> None:
    """Give a module on the meta device its tensors; ready for inference, nothing trainable."""
    state = dict(converted)
    for name in module.state_dict():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
    module.load_state_dict(state, strict=True, assign=True)
    module.eval().requires_grad_(False)
