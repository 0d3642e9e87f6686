"""Hindsight experience replay whose episodes end where their goals are reached (Andrychowicz et al. 2017)."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples


class HindsightReplay(HerReplayBuffer):
    """Stable-Baselines3's ``HerReplayBuffer`` for tasks that end on arrival, such as the Underground's.

    What is replayed with another goal ends where that goal is achieved, and nowhere else. The class above leaves the
    ends where they were: there a value goes on after the new goal is reached (and grows, where one can stay at it),
    but not after the goal that was meant, so that the same arrival has two values.

    For goals that are codes, achieved when ``achieved_goal`` equals ``desired_goal``. Everything else, the parameters
    among it, is as above::

        DQN("MultiInputPolicy", GoalView(env), replay_buffer_class=HindsightReplay)
    """

    def _get_virtual_samples(self, *args: Any, **kwargs: Any) -> DictReplayBufferSamples:
        samples = super()._get_virtual_samples(*args, **kwargs)
        achieved, desired = (samples.next_observations[f"{kind}_goal"] for kind in ("achieved", "desired"))
        arrived = (achieved == desired).flatten(1).all(dim=1, keepdim=True)
        return samples._replace(dones=arrived.to(samples.dones.dtype))
