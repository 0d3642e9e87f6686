"""Tests inside RLlib, which has an environment of its own: ``make rllib``."""

import pytest

pytest.importorskip("ray.rllib", reason="Ray is not installed: make rllib")
