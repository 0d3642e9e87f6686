"""Small agents, their weights, and a crash in the middle of their training."""

import torch

from memagents import RecurrentPPO
from tests.cores.support import SMALL
from tests.support.toys import tmaze


def make(env=None, cls=RecurrentPPO, core="lstm", **kwargs):
    kwargs = {"n_steps": 8, "seed": 0, "device": "cpu", **kwargs}
    policy_kwargs = {"core": core, "core_kwargs": SMALL.get(core), **kwargs.pop("policy_kwargs", {})}
    return cls("MlpPolicy", tmaze() if env is None else env, policy_kwargs=policy_kwargs, **kwargs)


def weights_of(agent):
    return {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}


def assert_same_weights(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def callback(now, _):
        if now["self"].num_timesteps >= step:
            raise Interrupted
        return True

    return callback
