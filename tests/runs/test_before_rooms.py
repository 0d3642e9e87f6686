"""Run folders of the build before the library had rooms: they load, evaluate and go on as that build would have."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from memagents import load_agent
from memagents.experiments.catalogue import of_settings
from memagents.experiments.configuration import command_line
from memagents.experiments.evaluate_run import evaluate_run
from memagents.experiments.evaluation_settings import EvaluationSettings
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.run import Run
from memagents.experiments.training import make_agent
from memagents.runs.trees import read_tree
from tests.support.trees import assert_close

BEFORE = Path(__file__).parent / "before_rooms"
RUNS = sorted(path.parent.name for path in BEFORE.glob("*/policy.json"))
POLICIES = {
    "imitation": "memagents:MemoryPolicy",
    "mfec": "memagents.nec:ProjectionPolicy",
    "nec": "memagents.nec:EpisodicPolicy",
    "ppo": "memagents:MemoryPolicy",
}


@pytest.fixture(params=RUNS)
def old(request, tmp_path):
    """A copy of an old run folder."""
    return Path(shutil.copytree(BEFORE / request.param, tmp_path / request.param))


def test_there_is_one_of_each_algorithm():
    assert list(POLICIES) == RUNS


def test_it_loads_and_is_saved_by_its_public_name(old, tmp_path):
    agent = load_agent(old, device="cpu")
    weights = load_file(old / "policy.safetensors")
    assert_close(dict(agent.policy.state_dict()), weights, tolerance=0)
    assert agent.description()["policy_class"]["class"] == POLICIES[old.name]
    agent.save(tmp_path / "again")
    assert_close(dict(load_agent(tmp_path / "again", device="cpu").policy.state_dict()), weights, tolerance=0)


def test_it_is_evaluated(old):
    scores = evaluate_run(Run.open(old), EvaluationSettings(episodes=8, device="cpu")).scores
    assert scores["agent"].episodes == 8
    assert scores["oracle"].returns.mean >= scores["agent"].returns.mean


def test_it_is_resumed_and_ends_as_it_would_have(old):
    run = Run.open(old)
    assert run.settings is not None
    settings = command_line(type(run.settings), ["--resume", str(old)])
    assert of_settings(settings).load() is run.algorithm
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    assert agent.remaining_timesteps > 0
    agent.learn(agent.remaining_timesteps, curriculum, reset_num_timesteps=False)
    # Not bit for bit: another processor rounds differently.
    assert_close(dict(agent.policy.state_dict()), load_file(old / "ended_policy.safetensors"), tolerance=1e-4)
    if agent.policy.remembers:  # sums of many steps' gradients, in which that has grown
        assert_close(agent.policy.lasting_memory(), read_tree(old / "ended_memory.safetensors"), tolerance=2e-2)
