"""Small agents of episodic control, what they did, and tasks that they learn."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from memagents import MFEC, NEC
from memagents.nec.situations import situation_numbers
from memagents.policies.encoding import map_observations
from tests.cores.support import SMALL


def agent_for(env, cls=NEC, core="none", **kwargs):
    """Return an agent with small dictionaries, which soon are full."""
    policy_kwargs = {"capacity": 60, "neighbours": 5, "key_size": 6, **kwargs.pop("policy_kwargs", {})}
    if cls is NEC:
        policy_kwargs = {"core": core, "core_kwargs": SMALL[core], **policy_kwargs}
        kwargs = {"learning_starts": 40, "batch_size": 8, "batch_episodes": 3, **kwargs}
    return cls("MlpPolicy", env, policy_kwargs=policy_kwargs, **{"seed": 0, "device": "cpu", **kwargs})


class Watcher:
    """Keeps what an agent estimated and wrote, and how many steps had been made by then."""

    def __init__(self, agent, monkeypatch):
        self.estimates, self.writes, self.agent = [], [], agent
        policy, dictionary = agent.policy, agent.policy.dictionary
        estimate, write = policy.estimate, dictionary.write
        monkeypatch.setattr(policy, "estimate", lambda *a, **k: self._keep(self.estimates, estimate(*a, **k)))
        monkeypatch.setattr(dictionary, "write", lambda *a: self._keep(self.writes, a) and write(*a))

    def _keep(self, where, what):
        where.append((self.agent.num_timesteps // self.agent.n_envs, what))
        return what


class Episode:
    """An episode as a row saw it: observations, the others (T,), and what came of it."""

    def __init__(self):
        self.observations, self.actions, self.rewards, self.asked, self.best, self.keys = [], [], [], [], [], []
        self.begin, self.last, self.over = 0, 0.0, False


def episodes_of(env, watcher):
    """Return the episodes, row by row, from the records of a Recorder and a Watcher."""
    acting, finals = {}, {}
    for t, told in watcher.estimates:
        (finals if t in acting else acting)[t] = told
    result, observations, asked = [], env.first, env.first_decisions
    running = [Episode() for _ in range(env.num_envs)]
    for t, (actions, following, rewards, dones, infos, decisions) in enumerate(env.history):
        cut = [b for b in range(env.num_envs) if dones[b] and infos[b]["TimeLimit.truncated"]]
        for b, episode in enumerate(running):
            episode.observations.append(map_observations(lambda values, b=b: values[b], observations))
            for name, value in (("actions", actions[b]), ("rewards", rewards[b]), ("asked", asked[b])):
                getattr(episode, name).append(value)
            episode.best.append(acting[t].values[b].max().item())
            episode.keys.append(acting[t].keys[b])
            if dones[b]:
                # What is beyond a time limit counts only where the same situation can be met before it.
                beyond = b in cut and not (watcher.agent.recurrent or isinstance(watcher.agent, MFEC))
                episode.last = finals[t].values[cut.index(b)].max().item() if beyond else 0.0
                episode.over = True
                result.append(episode)
                running[b] = Episode()
                running[b].begin = t + 1
        observations, asked = following, decisions
    return result + [episode for episode in running if episode.actions]


def situations_of(episode, space, recurrent):
    numbers, before = [], np.zeros(1, np.int64)
    for one in episode.observations:
        batch = map_observations(lambda values: np.asarray(values)[None], one)
        before = situation_numbers(batch, space, before if recurrent else None)
        numbers.append(int(before[0]))
    return numbers


class Codes(gym.Env):
    """A bandit: of four situations each asks for another action; the first step begins at 1."""

    observation_space, action_space = spaces.Discrete(4), spaces.Discrete(3, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.code = int(self.np_random.integers(4))
        return self.code, {}

    def step(self, action):
        return self.code, float(action - 1 == self.code * 2 % 3), True, False, {}


class Chain(gym.Env):
    """Going right brings 1 after five steps, going left 0.3 at once."""

    observation_space, action_space = spaces.Box(0, 1, (5,), np.float32), spaces.Discrete(2)

    def _see(self):
        return np.eye(5, dtype=np.float32)[min(self.place, 4)]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self._see(), {}

    def step(self, action):
        self.place += action
        return self._see(), 0.3 if action == 0 else float(self.place == 5), action == 0 or self.place == 5, False, {}


class Recall(gym.Env):
    """Whatever is done, three steps on the action that the first observation named is asked for."""

    observation_space, action_space = spaces.Discrete(3), spaces.Discrete(2)

    def _info(self):
        return {"decision": self.step_number == 3}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.step_number = int(self.np_random.integers(2)), 0
        return self.cue, self._info()

    def step(self, action):
        self.step_number += 1
        return 2, float(self.step_number == 4 and action == self.cue), self.step_number == 4, False, self._info()
