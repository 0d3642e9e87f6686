"""Entries of a Dict under any name, also those that torch would not give a module."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from memagents import MFEC, NEC, RecurrentPPO, load_agent
from memagents.policies.encoding import make_encoder, module_names
from tests.support.agents import assert_same_weights, weights_of
from tests.support.worlds import World

PLAIN = ["aim", "=keys", "previous", "0", "a b", "of/it"]
REFUSED = ["keys", "type", "values", "pop", "training", "forward", "robot.x", "robot", "", "_modules", "T_destination"]
AGENTS = {
    "ppo": (RecurrentPPO, {"n_steps": 4, "n_epochs": 1}),
    "rnd": (RecurrentPPO, {"n_steps": 4, "n_epochs": 1, "bonus": "rnd", "bonus_kwargs": {"width": 4}}),
    "nec": (NEC, {"learning_starts": 4, "batch_size": 4}),
    "mfec": (MFEC, {}),
}


def space():
    return spaces.Dict([(name, spaces.Box(-1, 1, (2,), np.float32)) for name in (*REFUSED, *PLAIN)])


def test_names_stay_wherever_torch_takes_them():
    assert module_names(PLAIN) == PLAIN
    assert list(make_encoder(spaces.Dict({"aim": spaces.Discrete(2)})).encoders) == ["aim"]
    names = module_names([*REFUSED, *PLAIN])
    assert len(set(names)) == len(names)
    nn.ModuleDict({name: nn.Identity() for name in names})


@pytest.mark.parametrize("name", AGENTS)
def test_any_name_is_learned_with_saved_and_gone_on_with(name, tmp_path):
    kind, kwargs = AGENTS[name]

    def env():
        return DummyVecEnv([lambda: World(space(), spaces.Discrete(3))] * 2)

    agent = kind("MultiInputPolicy", env(), seed=0, device="cpu", **kwargs)
    agent.learn(16)
    agent.save(tmp_path)
    assert_same_weights(weights_of(load_agent(tmp_path, device="cpu")), weights_of(agent))
    resumed = kind.resume(tmp_path, env(), device="cpu")
    resumed.learn(16, reset_num_timesteps=False)
    assert resumed.num_timesteps == 32


def test_every_entry_is_seen_as_itself():
    encoder = make_encoder(space())
    seen = {name: torch.full((1, 2), float(number)) for number, name in enumerate(space())}
    assert encoder(seen)[0].tolist() == [float(number) for number in range(len(seen)) for _ in range(2)]
