"""What all tests share: property tests that are the same on every run, and quiet machines.

Every test is deterministic: random audio comes from a seeded generator, and hypothesis
derives its examples from the test itself.
"""

from __future__ import annotations

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
