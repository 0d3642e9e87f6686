"""Agents and recordings for the tests of inspection."""

import contextlib

from memagents import RecurrentPPO, cores, register_core
from memagents.environments import make_env
from memagents.inspection.recorder import record

SHARED = {"critic_core": None}


def make_agent(env="memenvs/TMaze-v0", n_envs=3, policy_kwargs=None, **kwargs):
    """An agent with one memory, unless ``policy_kwargs`` give its critic another."""
    policy_kwargs = {**SHARED, **(policy_kwargs or {})}
    return RecurrentPPO("MlpPolicy", make_env(env, n_envs, **kwargs), policy_kwargs=policy_kwargs, seed=0)


def recorded(agent, folder, **kwargs):
    """The agent's first episode, sampled."""
    return record(agent, folder, 1, deterministic=False, overwrite=True, **kwargs).episodes[0]


def livened(agent, scale=3.0):
    """The agent with larger weights, so that its memory matters."""
    for parameter in agent.policy.parameters():
        parameter.data.mul_(scale)
    return agent


@contextlib.contextmanager
def registered(name, core):
    """A core of the catalogue for a while: other tests go through all that there are."""
    register_core(name)(core)
    try:
        yield
    finally:
        del cores._registered[name]
