"""POPGym's environments through the same scripts; left out where popgym is not installed."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from memagents import RecurrentPPO
from memagents.environments.make import make_env, make_single_env

popgym = pytest.importorskip("popgym")

ROOT = Path(__file__).parents[2]


def test_it_trains_by_the_script(monkeypatch, tmp_path, capsys):
    words = "--env popgym:popgym-RepeatPreviousEasy-v0 --core gru --core-kwargs hidden_size=8 --n-envs 4 --n-steps 32"
    words += " --total-timesteps 256 --eval-episodes 4 --threads 1 --device cpu --run-dir run"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["ppo.py", *words.split()])
    runpy.run_path(str(ROOT / "train/ppo.py"), run_name="__main__")
    assert "all of it is in run" in capsys.readouterr().out
    assert {"policy.safetensors", "progress.csv", "evaluation.json"} <= {path.name for path in Path("run").iterdir()}


TASKS = ["Autoencode", "Battleship", "Concentration", "HigherLower"]


@pytest.mark.parametrize(
    ("package", "task"),
    [*[(package, task) for package in ("popgym:", "memenvs/") for task in TASKS], ("popgym:", "PositionOnlyCartPole")],
)
def test_observations_and_actions_of_every_kind(package, task):
    """Tuples, which the agents see as dicts, MultiDiscrete actions, and numbers."""
    agent = RecurrentPPO(
        "MlpPolicy",
        make_env(f"{package}popgym-{task}Easy-v0", 2, seed=0),
        policy_kwargs={"core": "gru", "core_kwargs": {"hidden_size": 4}},
        n_steps=16,
        n_minibatches=1,
        n_epochs=1,
    )
    agent.learn(64)
    assert agent.num_timesteps >= 64
    actions, _ = agent.predict(agent.env.reset())
    assert len(actions) == 2 and np.isfinite(actions).all()


def test_tuples_of_a_batch_are_dicts():
    """Those that end an episode, too."""
    env = make_env("memenvs/popgym-AutoencodeEasy-v0", 3, seed=0)
    observations = env.reset()
    assert list(env.observation_space.spaces) == list(observations) == ["0", "1"]
    assert np.array_equal(observations["0"], [1, 1, 1])
    for _ in range(103):
        assert not env.decision.all() or not observations["0"].any()
        observations, _, dones, infos = env.step(np.maximum(env.oracle(), 0))
    assert dones.all()
    assert all(info["terminal_observation"] == {"0": 0, "1": 0} and info["success"] == 1 for info in infos)
    assert np.array_equal(observations["0"], [1, 1, 1])


def test_an_agent_learns_and_acts_on_tuples_of_a_batch():
    agent = RecurrentPPO(
        "MlpPolicy",
        make_env("memenvs/popgym-AutoencodeEasy-v0", 4, seed=0, split="train"),
        policy_kwargs={"core": "gru", "core_kwargs": {"hidden_size": 4}},
        n_steps=128,
        n_minibatches=1,
        n_epochs=1,
    )
    agent.learn(1024)
    single = make_single_env("memenvs/popgym-AutoencodeEasy-v0", split="test")
    observation, _ = single.reset(seed=0)
    assert set(observation) == {"0", "1"}
    action, _ = agent.predict(observation, episode_start=np.array([True]))
    assert action in range(4)
