"""CartPole of which only positions are seen, so that velocities must be remembered.

Importing this module registers it, as ``--env memagents.environments.cartpole:CartPolePositions-v1`` does.
"""

from __future__ import annotations

import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import TransformObservation

POSITIONS = "CartPolePositions-v1"
_SEEN = [0, 2]  # the cart's position and the pole's angle


def make_positions(render_mode: str | None = None) -> gym.Env:
    """Return CartPole with the cart's position and the pole's angle alone.

    :param render_mode: as of CartPole
    """
    env = CartPoleEnv(render_mode=render_mode)
    space = env.observation_space
    assert isinstance(space, gym.spaces.Box)
    seen = gym.spaces.Box(space.low[_SEEN], space.high[_SEEN])
    return TransformObservation(env, lambda observation: observation[_SEEN], seen)


gym.register(POSITIONS, f"{__name__}:{make_positions.__name__}", max_episode_steps=500)  # as CartPole-v1
