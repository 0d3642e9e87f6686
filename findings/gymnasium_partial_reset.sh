#!/usr/bin/env bash
# Gymnasium 1.4.0: resets of single rows through vector wrappers forget the rows that go on.
#
# SyncVectorEnv and AsyncVectorEnv reset only the rows in options["reset_mask"]. A good engineer expects a wrapper around
# them to keep what it knows of the other rows. Seen instead, with episodes of two rows after three steps of reward 1 and a
# reset of row 0 alone:
#   RecordEpisodeStatistics  returns [0. 0.]   (row 1 has 3.0: SyncVectorEnv takes the mask out of the dict of options
#                                               before the wrapper looks for it, so the wrapper resets all rows)
#   NormalizeReward          running returns [0. 0.]   (row 1 has 2.71 at gamma 0.9: its reset knows no mask)
# Both in silence. Fails if either behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gymnasium==1.4.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import NormalizeReward, RecordEpisodeStatistics


class Steady(gym.Env):
    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}


def after_a_reset_of_row_0(wrapper, **kwargs):
    env = wrapper(SyncVectorEnv([Steady] * 2, autoreset_mode=AutoresetMode.DISABLED), **kwargs)
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.zeros(2, int))
    env.reset(options={"reset_mask": np.array([True, False])})
    return env


returns = after_a_reset_of_row_0(RecordEpisodeStatistics).episode_returns
running = after_a_reset_of_row_0(NormalizeReward, gamma=0.9).accumulated_reward
print("gymnasium", gym.__version__)
print("RecordEpisodeStatistics: returns", returns, "(row 1 goes on: 3.0 expected)")
print("NormalizeReward: running returns", running, "(row 1 goes on: 2.71 expected)")
assert returns.tolist() == [0, 0] and running.tolist() == [0, 0], "the behaviour has changed"
PYTHON
