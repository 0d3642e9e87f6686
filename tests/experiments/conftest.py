"""A small trained run."""

from pathlib import Path

import pytest

from memagents.experiments.lessons import make_curriculum
from memagents.experiments.settings import PPOSettings
from memagents.experiments.training import make_agent
from tests.support.trainings import SMALL


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folder of a run of 64 steps, in the current folder."""
    monkeypatch.chdir(tmp_path)
    settings = PPOSettings(**SMALL, run_dir="trained")
    agent = make_agent(settings, make_curriculum(settings))
    agent.learn(64)
    agent.save(agent.run_dir)
    return Path("trained")
