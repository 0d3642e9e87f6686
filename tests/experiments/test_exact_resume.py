"""N steps, Ctrl-C and N more are 2 N steps, bit for bit, for every kind of training that a command begins."""

import os
import signal

import pytest
import yaml
from stable_baselines3.common.callbacks import BaseCallback

from memagents.__main__ import main
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.training import Stopped, learn, make_agent
from tests.support.runs import learned
from tests.support.trees import assert_equal

TMAZE = ["--env", "memenvs/TMaze-v0", "--env-kwargs", "length=3", "--n-envs", "4"]
WINDOWS = [*TMAZE, "--core", "gru", "--core-kwargs", "hidden_size=8", "--n-steps", "8", "--total-timesteps", "320"]
LESSONS = {
    "command": "imitate",
    "env": "memenvs/TMaze-v0",
    "core": "gru",
    "core_kwargs": {"hidden_size": 8},
    "n_envs": 4,
    "n_steps": 8,
    "total_timesteps": 320,
    "review": 0.25,
    "lessons": [
        {"env_kwargs": {"length": 1}, "accuracy": 0.01},
        {"env_kwargs": {"length": 2}, "accuracy": 0.01},
        {"env_kwargs": {"length": 3}},
    ],
}
EPISODIC = [*TMAZE, "--total-timesteps", "400"]
KINDS = {
    "ppo, bonus that learns": ["ppo", *WINDOWS, "--bonus", "noveld*count", "--bonus-kwargs", "coef=0.1"],
    "ppo, elliptic bonus": ["ppo", *WINDOWS, "--bonus", "e3b", "--bonus-kwargs", "coef=0.1"],
    "ppo, normalised": ["ppo", *WINDOWS, "--normalize-reward", "--normalize-values", "--keep-best"],
    "ppo, sparse memory": ["ppo", *TMAZE, "--core", "sam", "--core-kwargs", "slots=8", "--total-timesteps", "1024"],
    "imitate": ["imitate", *WINDOWS],
    "imitate, lessons": ["imitate", "--recipe", "lessons.yaml"],
    "nec": ["nec", *EPISODIC, "--learning-starts", "40", "--batch-size", "8"],
    "nec, memory": ["nec", *EPISODIC, "--core", "gru", "--learning-starts", "40", "--batch-size", "8"],
    "mfec": ["mfec", *EPISODIC],
}


@pytest.mark.parametrize("words", KINDS.values(), ids=KINDS.keys())
def test_an_interrupted_training_goes_on_exactly(words, tmp_path, monkeypatch):
    class CtrlC(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == (settings.total_timesteps // 2) // 4 * 4:
                os.kill(os.getpid(), signal.SIGINT)
            return True

    monkeypatch.chdir(tmp_path)
    (tmp_path / "lessons.yaml").write_text(yaml.safe_dump(LESSONS))
    kind, *rest = words
    rest += ["--eval-episodes", "0", "--device", "cpu", "--threads", "1", "--seed", "3"]
    main(["train", kind, *rest, "--run-dir", "whole"])

    settings = command_line(ALGORITHMS[kind].settings, [*rest, "--run-dir", "parts"])
    curriculum = make_curriculum(settings)
    with pytest.raises(Stopped):
        learn(make_agent(settings, curriculum), settings, curriculum, [CtrlC()])
    main(["train", kind, "--resume", "parts"])

    (rows, state), (rows_of_parts, state_of_parts) = learned(tmp_path / "whole"), learned(tmp_path / "parts")
    assert rows == rows_of_parts
    assert_equal(state, state_of_parts)
    weights = "policy.safetensors"
    assert (tmp_path / "whole" / weights).read_bytes() == (tmp_path / "parts" / weights).read_bytes()
