"""Feature extractors, optimisers and activations of one's own: by class, by word, tried once, saved and loaded."""

import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from memagents import NEC, CheckpointError, RecurrentPPO, load_agent
from memagents.__main__ import main
from tests.support.agents import assert_same_weights, make, weights_of
from tests.support.worlds import World

SMALL = ("--n-envs", "4", "--n-steps", "8", "--total-timesteps", "32", "--eval-episodes", "0", "--device", "cpu")
MODULE = """
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

class Eager(BaseFeaturesExtractor):
    def __init__(self, space, width=6):
        super().__init__(space, width)
        self.layer = nn.LazyLinear(width)

    def forward(self, seen):
        return self.layer(seen)
"""


class Extractor(BaseFeaturesExtractor):
    """As many features as it says, or one more.

    :param wrong: how many more come out
    """

    def __init__(self, space, wrong=0):
        super().__init__(space, 5)
        self.dropout = nn.Dropout(0.5)
        self.layer: nn.Module = nn.LazyLinear(5 + wrong)

    def forward(self, seen):
        return self.dropout(self.layer(torch.cat([part.flatten(1) for part in parts_of(seen)], 1)))


def parts_of(seen):
    return list(seen.values()) if isinstance(seen, dict) else [seen]


@pytest.mark.parametrize(
    ("name", "word", "kind"),
    [
        ("activation_fn", "ReLU", nn.ReLU),
        ("activation_fn", "torch.nn:Tanh", nn.Tanh),
        ("optimizer_class", "AdamW", torch.optim.AdamW),
        ("optimizer_class", "torch.optim:SGD", torch.optim.SGD),
    ],
)
def test_words_name_classes(name, word, kind, tmp_path):
    agent = make(policy_kwargs={name: word, "net_arch": [4]})
    assert agent.policy_kwargs[name] is kind
    assert any(isinstance(part, kind) for part in (*agent.policy.modules(), agent.policy.optimizer))
    agent.save(tmp_path)
    assert load_agent(tmp_path, device="cpu").policy_kwargs[name] is kind


@pytest.mark.parametrize("name", ["activation_fn", "optimizer_class", "features_extractor_class"])
@pytest.mark.parametrize("value", ["foo", "Module:", "gymnasium:Env", int, 3, nn.ReLU()])
def test_anything_else_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}") as error:
        make(policy_kwargs={name: value})
    assert "\n" not in str(error.value)


def test_modules_and_classes_that_there_are_not():
    for word, message in (("no_such.place:A", "there is no module 'no_such.place'"), ("torch.nn:A", "has no 'A'")):
        with pytest.raises(ValueError, match=f"^features_extractor_class '{word}': .*{message}"):
            make(policy_kwargs={"features_extractor_class": word})


def test_a_function_may_stand_for_a_class():
    make(policy_kwargs={"activation_fn": lambda: nn.LeakyReLU(0.2), "net_arch": [4]})


@pytest.mark.parametrize("kind", [RecurrentPPO, NEC])
def test_lazy_layers_are_made_and_saved(kind, tmp_path):
    both = spaces.Dict({"cam": spaces.Box(0, 255, (40, 40, 3), np.uint8), "codes": spaces.Discrete(3, start=4)})
    env = DummyVecEnv([lambda: World(both, spaces.Discrete(2))])
    kwargs = {"policy_kwargs": {"features_extractor_class": Extractor}, "device": "cpu", "seed": 0}
    agent = kind("MultiInputPolicy", env, **kwargs)
    assert agent.policy.features_extractor.training
    agent.save(tmp_path)
    assert_same_weights(weights_of(load_agent(tmp_path, device="cpu")), weights_of(agent))


def test_a_width_that_is_not_the_one_promised():
    wrong = {"features_extractor_class": Extractor, "features_extractor_kwargs": {"wrong": 1}}
    message = r"^features_dim of Extractor is 5, but of 2 observations it makes \(2, 6\), not \(2, 5\)$"
    with pytest.raises(ValueError, match=message):
        make(policy_kwargs=wrong)


def test_one_that_fails_is_named_with_what_it_is_given():
    class Narrow(Extractor):
        def __init__(self, space):
            super().__init__(space)
            self.layer: nn.Module = nn.Linear(3, 5)

    message = r"^Narrow fails at 2 observations, which it is given as \(2, \d+\): mat1 and mat2"
    with pytest.raises(ValueError, match=message):
        make(policy_kwargs={"features_extractor_class": Narrow})


def test_to_try_an_extractor_uses_up_no_random_numbers_of_the_space():
    space = spaces.Box(-1, 1, (3,), np.float32)
    drawn = []
    for kwargs in ({}, {"features_extractor_class": Extractor}):
        env = DummyVecEnv([lambda: World(space, spaces.Discrete(2))])
        space.seed(3)
        RecurrentPPO("MlpPolicy", env, policy_kwargs=kwargs, device="cpu")
        drawn.append(space.sample())
    assert np.array_equal(*drawn)


def test_a_class_of_a_script(tmp_path, monkeypatch):
    monkeypatch.setattr(Extractor, "__module__", "__main__")
    agent = make(policy_kwargs={"features_extractor_class": Extractor}, run_dir=tmp_path)
    with pytest.warns(UserWarning, match="^Extractor is defined in a script, and loaded by no other: put it in"):
        agent.learn(32)
    with pytest.raises(CheckpointError, match=r"is Extractor, which was defined in a script: put it into a module$"):
        load_agent(tmp_path)


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder with a module of an extractor, which is not imported before; output and exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "odd_place").mkdir()
    (tmp_path / "odd_place" / "extract.py").write_text(MODULE)

    def run(*words):
        code: object = 0
        try:
            main(words)
        except SystemExit as stop:
            code = stop.code
        for name in ("odd_place", "odd_place.extract"):
            sys.modules.pop(name, None)
        return "".join(capsys.readouterr()), code

    return run


def test_an_extractor_by_the_command_line(said):
    word = "features_extractor_class=odd_place.extract:Eager"
    assert said("train", "ppo", *SMALL, "--run-dir", "mine", "--policy-kwargs", word)[1] == 0
    out, code = said("evaluate", "mine", "--episodes", "4", "--imports", "odd_place.extract")
    assert code == 0, out
    out, code = said("train", "ppo", "--resume", "mine", "--imports", "odd_place.extract")
    assert code == 0 and "mine is finished" in out
    out, code = said("train", "ppo", *SMALL, "--run-dir", "other", "--policy-kwargs", "activation_fn=foo")
    assert code == 2 and out.splitlines()[-1].startswith("error: activation_fn must be a torch module's class, a name")


def test_a_file_imports_no_class(tmp_path):
    agent = make()
    agent.save(tmp_path)
    path = tmp_path / "policy.json"
    (tmp_path / "manifest.json").unlink()
    path.write_text(path.read_text().replace('"core": "lstm"', '"core": "lstm", "activation_fn": "antigravity:fly"'))
    with pytest.raises(CheckpointError, match="'antigravity:fly', and a file imports nothing"):
        RecurrentPPO.load(tmp_path, gym.make_vec("memenvs/TMaze-v0", num_envs=1))
    assert "antigravity" not in sys.modules
