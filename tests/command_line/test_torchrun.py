"""Training by ``torchrun``: one of two processes dies, both begin again, and go on from the checkpoint."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from memagents import ranks
from memagents.command_line.train import begun_again, train
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line, write_config
from memagents.runs.agent_files import read_description
from memagents.runs.progress import STEPS, read_progress

FAILING = '''
import os
from pathlib import Path

import gymnasium as gym
import numpy as np


class Failing(gym.Env):
    """Ends the process of rank 1 at its hundredth step, in its first life."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        Failing.steps += 1
        if Failing.steps == 100 and (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
            Path("died").touch()
            os._exit(1)
        ended = self.np_random.random() < 0.2
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), float(action), ended, False, {}


gym.register("Failing-v0", Failing)
'''


def test_a_process_that_dies_costs_no_more_than_since_the_checkpoint(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    words = "--env Failing-v0 --imports failing --core gru --core-kwargs hidden_size=4 --n-envs 4 --n-steps 16 --seed 3"
    words += " --total-timesteps 1024 --checkpoint-interval 1 --run-dir run --eval-episodes 0 --device cpu"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    done = subprocess.run(
        [*torchrun, "-m", "memagents", "train", "ppo", *words.split()],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "died").exists()
    assert done.stdout.count("4 environments in 2 processes") == 2  # two lives, and only the first rank speaks
    assert read_description(tmp_path / "run")["num_timesteps"] == 1024
    assert [float(row[STEPS]) for row in read_progress(tmp_path / "run/progress.csv")] == list(range(64, 1025, 64))
    assert json.loads((tmp_path / "run/manifest.json").read_text())


def test_a_run_that_another_training_has_begun_is_left_as_it_is(tmp_path):
    words = ["--env", "CartPole-v1", "--run-dir", str(tmp_path)]
    settings, other = (command_line(ALGORITHMS["ppo"].settings, [*words, "--core", core]) for core in ("lstm", "gru"))
    assert begun_again(settings) == settings  # nothing is there
    write_config(other, tmp_path)
    assert begun_again(settings) == settings  # which is refused, as in the first life
    write_config(settings, tmp_path)
    assert begun_again(settings) == replace(settings, overwrite=True)  # it died before there was a checkpoint


def test_an_algorithm_of_one_process_is_refused_before_there_is_a_run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "size", lambda: 2)
    for n_envs in (1, 2):
        words = ["--env", "CartPole-v1", "--n-envs", str(n_envs), "--run-dir", str(tmp_path / "run")]
        with pytest.raises(ValueError, match="NEC learns in one process, and not in 2"):
            train(command_line(ALGORITHMS["nec"].settings, words))
    assert not (tmp_path / "run").exists()
