"""What the tests inside RLlib leave to others."""

import sys

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_ray_afterwards():
    """Algorithms begin a Ray of their own, which stays."""
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
