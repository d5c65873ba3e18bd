"""What all tests share: property tests that are the same on every run, quiet machines, folders.

Every test is deterministic: random audio comes from a seeded generator, and hypothesis
derives its examples from the test itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "stembridge",
    derandomize=True,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("stembridge")


@pytest.fixture
def random() -> np.random.Generator:
    """A generator with a fixed seed, fresh for each test."""
    return np.random.default_rng(20_241)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder with no presets of the user's, and the separator "identity"."""
    from cli_support import identity_separator

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(tmp_path / ".presets"))
    with identity_separator():
        yield tmp_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private state folder for the built plugin: it finds no server but the test's own.

    A plugin in pedalboard refers to itself through its parameters, so it ends only with a
    collection. One that stayed would look for a server where the next test has its own.
    """
    import plugin_host

    gc.collect()
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path))
    plugin_host.build()
    yield tmp_path
    gc.collect()
