"""Types of the native module: shared-memory link and real-time core (see docs/link.md).

Audio is float32 `(channels, samples)`. Whatever waits or processes releases the GIL. Errors are
`stembridge.errors.LinkError`.
"""

from collections.abc import Sequence
from typing import Literal, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
PeerState = Literal["never", "alive", "stalled", "left", "dead"]
CoreState = Literal[
    "unprepared",
    "no_link",
    "no_server",
    "starting",
    "wet",
    "late",
    "server_gone",
    "offline_timeout",
    "latency_too_small",
]

PROTOCOL_VERSION: int

class CoreStatus(TypedDict):
    state: CoreState
    latency_samples: int
    needed_latency_samples: int
    blocks: int
    samples: int
    missed_blocks: int
    missed_samples: int
    overflowed_samples: int
    waits: int
    timeouts: int
    sanitised_samples: int
    faults: int
    wakes: int
    input_peak: float
    target_peak: float
    remainder_peak: float
    output_peak: float
    wet_share: float

class LinkFormat:
    @property
    def sample_rate_hz(self) -> float: ...
    @property
    def channels(self) -> int: ...
    @property
    def max_block_samples(self) -> int: ...
    @property
    def latency_samples(self) -> int: ...
    @property
    def fade_samples(self) -> int: ...

class Span:
    """Input of one epoch: `audio[:, 0]` is sample number `position`."""

    @property
    def position(self) -> int: ...
    @property
    def lost_samples(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def audio(self) -> Audio: ...

class PluginLink:
    """The plugin's end without the core; `RealtimeCore` is what a plugin uses."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> LinkFormat: ...
    @property
    def capacity_samples(self) -> tuple[int, int]: ...
    @property
    def position(self) -> int: ...
    @property
    def room_samples(self) -> int: ...
    @property
    def server_attached(self) -> bool: ...
    @property
    def server_state(self) -> PeerState: ...
    @property
    def server_pid(self) -> int: ...
    @property
    def server_generation(self) -> int: ...
    @property
    def needed_latency_samples(self) -> int: ...
    def write(self, audio: Audio) -> bool:
        """Feed one block and ring the bell. False: the ring was full, its content is lost."""
    def begin_epoch(self) -> int: ...
    def ready(self) -> tuple[int, int, bool]:
        """`(begin, end, fault)` of the output that is here, but for what a hole leaves out."""
    def read(self, position: int, samples: int) -> tuple[Audio, Audio, NDArray[np.float32]]:
        """`(target, output, share)`. Raises IndexError for what is not here."""
    def release(self, position: int) -> None: ...
    def wait_output(self, position: int, timeout_seconds: float) -> bool: ...
    def beat(self) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

class ServerLink:
    """The server's end. One thread at a time reads, one writes; the rest from any thread."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> LinkFormat:
        """Of the current epoch, validated. Raises LinkError when the header is corrupt."""
    @property
    def channels(self) -> int: ...
    @property
    def capacity_samples(self) -> tuple[int, int]: ...
    @property
    def available_samples(self) -> int: ...
    @property
    def position(self) -> int:
        """Of the next sample that `read` returns."""
    @property
    def play_position(self) -> int:
        """Where the plugin plays: output before it comes too late."""
    @property
    def epoch(self) -> int: ...
    @property
    def bypassed(self) -> bool: ...
    @property
    def offline(self) -> bool: ...
    @property
    def plugin_state(self) -> PeerState: ...
    @property
    def plugin_pid(self) -> int: ...
    def read(self, max_samples: int) -> Span:
        """What is there of one epoch, at most `max_samples`; perhaps nothing."""
    def skip_to(self, position: int) -> None: ...
    def write(
        self,
        position: int,
        target: Audio,
        output: Audio | None = None,
        share: float | NDArray[np.float32] = 0.0,
    ) -> int:
        """Send output of `[position, position + samples)`; returns how many samples were taken
        or dropped as late. Fewer than given: no room yet, send the rest later."""
    def wait_input(self, position: int, timeout_seconds: float) -> bool:
        """Sleep until input reaches `position`, the epoch changes, the plugin leaves or
        `interrupt` is called (True), or the time is over (False)."""
    def interrupt(self) -> None: ...
    def publish_latency(self, chain_samples: int, needed_samples: int) -> None:
        """`chain_samples`: the chain alone; `needed_samples`: what the plugin should report."""
    def beat(self) -> None: ...
    def check(self) -> None:
        """Raises LinkError when the header is not what was validated at the opening."""
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

class Link:
    @staticmethod
    def plugin_end(
        sample_rate_hz: float,
        channels: int,
        max_block_samples: int = 8192,
        latency_samples: int = 0,
        fade_samples: int = 0,
        input_capacity_samples: int | None = None,
        output_capacity_samples: int | None = None,
    ) -> PluginLink: ...
    @staticmethod
    def server_end(name: str) -> ServerLink: ...

class RealtimeCore:
    """What the plugin does per block (native/include/stembridge/realtime_core.hpp)."""

    def __init__(self) -> None: ...
    def prepare(
        self,
        sample_rate_hz: float,
        channels: int,
        max_block_samples: int,
        latency_samples: int,
        max_latency_samples: int = 0,
        fade_seconds: float = 0.005,
    ) -> None: ...
    def reset(self) -> None: ...
    def process(
        self,
        audio: Audio,
        offline_wait: bool = False,
        target: Audio | None = None,
        remainder: Audio | None = None,
    ) -> Audio:
        """One host block. `target` and `remainder`, if given, are filled in place."""
    def set_target_gain(self, linear: float) -> None: ...
    def set_remainder_gain(self, linear: float) -> None: ...
    def set_bypass(self, on: bool) -> None: ...
    def set_latency_samples(self, samples: int) -> None: ...
    def set_offline_timeout_seconds(self, seconds: float) -> None: ...
    @property
    def latency_samples(self) -> int: ...
    @property
    def attached(self) -> bool: ...
    @property
    def link_name(self) -> str: ...
    def status(self) -> CoreStatus: ...
    def housekeeping(self) -> None: ...
    def detach(self) -> None: ...

def wait_any(
    links: Sequence[ServerLink], positions: Sequence[int], timeout_seconds: float
) -> list[int]:
    """Indices of the links whose `wait_input(position)` would return at once; one sleep for all."""

def sweep_stale() -> int:
    """Remove shared-memory objects of dead plugins of this user; returns how many."""

def adaptation_samples(step_samples: int, block_samples: int = 0) -> int:
    """Delay that adapts host blocks to steps: `m - gcd(io, m)`, or `m - 1` for changing blocks."""
