"""The agent of Neural Episodic Control: what it writes, what it learns from, how it learns, and that it does."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import MFEC, NEC, CheckpointError, RecurrentPPO, as_vec_env
from memagents.cores.core import state_leaves
from memagents.curriculum import Curriculum, Lesson
from memagents.encoding import map_observations
from memagents.evaluation import evaluate
from memagents.nec.situations import situation_numbers
from tests.cores.test_catalogue import SMALL
from tests.nec.test_trail import slow_returns
from tests.test_checkpoint import assert_equal
from tests.test_run_folder import assert_same_weights, weights_of
from tests.toys import ACTIONS, OBSERVATIONS, Counter, Recorder, Toy, dummy, tmaze


def agent_for(env, cls=NEC, core="none", **kwargs):
    """With small dictionaries, which soon are full."""
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
    """What a row saw in an episode: observations, the others (T,), and what came of it."""

    def __init__(self):
        self.observations, self.actions, self.rewards, self.asked, self.best, self.keys = [], [], [], [], [], []
        self.begin, self.last, self.over = 0, 0.0, False


def episodes_of(env, watcher):
    """What happened, row by row, from what a Recorder and a Watcher kept."""
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


# --- what is written and kept ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "core", "n_steps"),
    [*itertools.product([NEC], ["none", "gru"], [1, 3, None]), (MFEC, "none", None)],
)
@pytest.mark.parametrize("tells", [False, True])
def test_every_step_that_matters_is_written_with_its_return_as_soon_as_it_is_known(
    cls, core, n_steps, tells, monkeypatch
):
    """Beside a slow account of three environments at once, whose episodes are over or cut, and sometimes of no matter.

    Dictionaries large enough that nothing is evicted, and learning all along.
    """
    env = Recorder(dummy(3, observations="dict", tells=tells))
    given = {"n_steps": n_steps, "learning_starts": 10} if cls is NEC else {}
    agent = agent_for(env, cls, core, gamma=0.9, exploration_fraction=1.0, policy_kwargs={"capacity": 500}, **given)
    watcher = Watcher(agent, monkeypatch)
    agent.learn(3 * 45)
    expected = {}
    for episode in episodes_of(env, watcher):
        total = len(episode.actions)
        returns = slow_returns(episode.rewards, episode.best, episode.last, n_steps, 0.9)
        numbers = situations_of(episode, env.observation_space, core != "none")
        for t in range(total):
            bootstrapped = n_steps is not None and t + n_steps < total
            if episode.asked[t] and (bootstrapped or episode.over):
                # The value of the observation N steps later is known when the step from there is made.
                when = episode.begin + (t + n_steps if bootstrapped else total - 1)
                written = (int(episode.actions[t]), pytest.approx(returns[t], rel=1e-5, abs=1e-5), when)
                expected.setdefault(numbers[t], []).append((*written, episode.keys[t]))
    count = 0
    for when, (keys, actions, values, ids) in watcher.writes:
        for key, action, value, number in zip(keys, actions.tolist(), values.tolist(), ids.tolist(), strict=True):
            wanted = expected[number].pop(0)
            assert (action, value, when) == wanted[:3]
            assert torch.equal(key, wanted[3])
            count += 1
    assert not any(expected.values())
    assert 30 < count < 0.8 * 135 if tells else count > 90


@pytest.mark.parametrize("core", ["none", "gru"])
def test_the_replay_has_what_was_written(core, monkeypatch):
    env = Recorder(dummy(3, observations="box", tells=True))
    agent = agent_for(env, core=core, n_steps=2, gamma=0.9)
    watcher = Watcher(agent, monkeypatch)
    agent.learn(3 * 50)
    written = set()
    for _, (_, actions, values, ids) in watcher.writes:
        written |= set(zip(ids.tolist(), actions.tolist(), values.tolist(), strict=True))
    if core == "none":
        batch = agent.replay.sample(3000, np.random.default_rng(0))
        numbers = situation_numbers(batch.observations.numpy(), env.observation_space)
        kept = set(zip(numbers.tolist(), batch.actions.tolist(), batch.returns.tolist(), strict=True))
        assert kept == written
        return
    batch, kept = agent.replay.sample(400, 10**6, np.random.default_rng(0)), set()
    before = np.zeros(400, np.int64)
    for t, observations in enumerate(batch.observations):
        before = situation_numbers(observations.numpy(), env.observation_space, before)
        step = zip(before.tolist(), batch.actions[t].tolist(), batch.returns[t].tolist(), strict=True)
        kept |= {one for one, asked in zip(step, batch.asked[t].tolist(), strict=True) if asked}
    assert kept <= written  # but for what is of episodes that still run
    assert len(kept) > 0.8 * len(written)


def test_an_observation_is_one_situation_without_a_core_and_as_many_as_its_histories_with_one():
    class Bells(gym.Env):
        """Two observations, 0 or 1, of two steps each."""

        observation_space, action_space = spaces.Discrete(2), spaces.Discrete(1)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = 3
            return int(self.np_random.integers(2)), {}

        def step(self, action):
            self.left -= 1
            return int(self.np_random.integers(2)), 1.0, self.left == 0, False, {}

    counts = {}
    for core in ("none", "gru"):
        agent = agent_for(Bells(), core=core)
        agent.learn(240)
        counts[core] = len(agent.policy.dictionary)
    assert counts == {"none": 2, "gru": 2 + 4 + 8}


def test_a_situation_met_again_moves_its_value_and_takes_its_new_key(monkeypatch):
    """Pritzel et al. 2017, equation 4: Q ← Q + α (Q_N − Q)."""
    always = {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0, "learning_starts": 10**6}
    agent = agent_for(Counter(3), n_steps=2, policy_kwargs={"write_rate": 0.25}, **always)
    watcher = Watcher(agent, monkeypatch)
    agent.learn(30)
    for parameter in agent.policy.key_net.parameters():
        parameter.data.mul_(1.5)
    agent.learn(90, reset_num_timesteps=False)
    slow = {}
    for _, (_, actions, values, ids) in watcher.writes:
        for place, value in zip(zip(actions.tolist(), ids.tolist(), strict=True), values.tolist(), strict=True):
            slow[place] = slow[place] + 0.25 * (value - slow[place]) if place in slow else value
    assert len(slow) == 6
    state, starts = agent.policy.initial_state(3), torch.ones(3, dtype=torch.bool)
    observations = torch.arange(3.0)[:, None]
    keys = agent.policy.estimate(observations, state, starts).keys
    numbers = situation_numbers(observations.numpy(), Counter.observation_space).tolist()
    for action, part in enumerate(agent.policy.dictionary.tree()["actions"]):
        assert len(part["ids"]) == 3
        for key, value, number in zip(part["keys"], part["values"].tolist(), part["ids"].tolist(), strict=True):
            assert value == pytest.approx(slow[action, number], rel=1e-5)
            torch.testing.assert_close(key, keys[numbers.index(number)])


@pytest.mark.parametrize("core", ["gru", "rmc", "gtrxl", "none"])
def test_replay_recomputes_the_keys_that_acting_had(core, monkeypatch):
    """With the weights that they were made with, at every step of whole episodes."""
    env = Recorder(dummy(3))
    agent = agent_for(env, core=core, learning_starts=10**6)
    watcher = Watcher(agent, monkeypatch)
    agent.learn(3 * 40)
    acted = {}
    for episode in episodes_of(env, watcher):
        acted |= dict(zip(situations_of(episode, env.observation_space, core != "none"), episode.keys, strict=True))
    agent.policy.set_training_mode(True)
    agent.batch_size, agent.batch_episodes = 10**4 if core != "none" else 100, 20
    sample, batches = agent.replay.sample, []
    monkeypatch.setattr(agent.replay, "sample", lambda *a: batches.append(sample(*a)) or batches[-1])
    replayed = agent._replayed()
    observations = batches[0].observations
    if core == "none":
        numbers = situation_numbers(observations.numpy(), env.observation_space)
    else:
        before, rows = np.zeros(20, np.int64), []
        for step in observations:
            before = situation_numbers(step.numpy(), env.observation_space, before)
            rows.append(before)
        numbers = np.stack(rows)[batches[0].asked.numpy()]
        assert len(observations) == 6 and len(numbers) > 50  # up to the longest episode
    for key, number in zip(replayed.keys, numbers.tolist(), strict=True):
        torch.testing.assert_close(key, acted[number], rtol=1e-5, atol=1e-6)


class Undecided(gym.Env):
    """In the first episodes no action matters, then every second one does."""

    observation_space, action_space = spaces.Box(0, 1, (2,), np.float32), spaces.Discrete(2)

    def __init__(self, first=4):
        self.first = first

    def _info(self):
        return {"decision": self.first < 0 and self.left % 2 == 0}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.first -= 1
        self.left = 4
        return self.np_random.random(2, np.float32), self._info()

    def step(self, action):
        self.left -= 1
        return self.np_random.random(2, np.float32), 1.0, self.left == 0, False, self._info()


@pytest.mark.parametrize("core", ["none", "gru"])
def test_episodes_in_which_nothing_matters_teach_nothing(core):
    agent = agent_for(Undecided(), core=core, learning_starts=0)
    before = weights_of(agent)
    agent.learn(12)
    assert_same_weights(weights_of(agent), before)
    assert len(agent.policy.dictionary) == len(agent.replay) == 0
    agent.learn(60)
    assert len(agent.policy.dictionary) > 0
    assert any(not torch.equal(tensor, before[name]) for name, tensor in weights_of(agent).items())


def test_a_reward_that_is_not_finite_stops_the_learning():
    class Broken(Counter):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, float("nan"), *rest

    with pytest.raises(FloatingPointError, match="a return is not finite at step"):
        agent_for(Broken()).learn(20)


# --- learning from it -----------------------------------------------------------------------------------------------


def slow_loss(agent, batch, core):
    """The weighted mean of squared errors of a batch from the replay, by loops over steps and entries."""
    policy, dictionary = agent.policy, agent.policy.dictionary
    observations = batch.observations if core != "none" else batch.observations[None]
    rows = observations.shape[1]
    starts = torch.zeros(observations.shape[:2], dtype=torch.bool)
    starts[0] = True
    keys = policy.keys(observations, policy.initial_state(rows), starts)[0]
    errors = []
    for t, b in itertools.product(*map(range, keys.shape[:2])):
        if core != "none" and not batch.asked[t, b]:
            continue
        action, target = (
            (batch.actions[t, b], batch.returns[t, b])
            if core != "none"
            else (
                batch.actions[b],
                batch.returns[b],
            )
        )
        count = dictionary.counts[action]
        distances = (dictionary.keys[action, :count] - keys[t, b]).square().sum(1)
        near = distances.argsort()[: dictionary.neighbours]
        kernel = 1 / (distances[near] + dictionary.delta)
        value = (kernel * dictionary.values[action, near]).sum() / kernel.sum()
        errors.append(batch.weights[b] * (value - target) ** 2)
    return torch.stack(errors).mean()


@pytest.mark.parametrize("core", ["none", "gru"])
@pytest.mark.parametrize("priority", [0.0, 0.7])
def test_encoder_keys_and_values_move_down_the_gradient(core, priority, monkeypatch):
    """One update by plain gradient descent beside finite differences of the loss, in double precision."""
    sgd = {"optimizer_class": torch.optim.SGD, "delta": 0.1}
    agent = agent_for(
        dummy(3, tells=True), core=core, learning_starts=10**6, priority_exponent=priority, max_grad_norm=1e9,
        learning_rate=0.5, dictionary_learning_rate=0.25, policy_kwargs=sgd,
    )  # fmt: skip
    agent.learn(3 * 40)
    agent.policy.double()
    agent.policy.dictionary.keys.add_(0.3 * torch.randn(agent.policy.dictionary.keys.shape))
    agent.policy.dictionary.half_norms.copy_(agent.policy.dictionary.keys.square().sum(2) / 2)
    if priority:
        rows = np.unique(agent.replay.sample(200, *([] if core == "none" else [8]), np.random.default_rng(0)).rows)
        agent.replay.update(rows, np.linspace(1, 9, len(rows)))
    sample, batches = agent.replay.sample, []
    monkeypatch.setattr(agent.replay, "sample", lambda *a: batches.append(sample(*a)) or batches[-1])
    told = []
    monkeypatch.setattr(agent.replay, "update", lambda *a: told.append(a))
    parts = dict(agent.policy.named_parameters())
    parts |= {name: getattr(agent.policy.dictionary, name) for name in ("keys", "values")}
    before = {name: tensor.detach().clone() for name, tensor in parts.items()}
    agent._set_learning_rates()
    agent.policy.set_training_mode(True)
    log = {"value_loss": [], "gradient_norm": []}
    agent._update(log)
    moved = {name: (tensor.detach() - before[name]) for name, tensor in parts.items()}
    with torch.no_grad():
        for name, tensor in parts.items():
            tensor.copy_(before[name])
        assert log["value_loss"][0] == pytest.approx(slow_loss(agent, batches[0], core).item(), rel=1e-4)
        if priority:
            assert len(set(batches[0].weights.tolist())) > 1
        rng = np.random.default_rng(0)
        for name, tensor in parts.items():
            rate = 0.25 if name in ("keys", "values") else 0.5
            places = torch.nonzero(moved[name].flatten().nan_to_num()).flatten().tolist()
            assert places, name
            for place in rng.choice(places, min(4, len(places)), replace=False):
                old, sides = tensor.view(-1)[place].item(), []
                for side in (1e-5, -1e-5):
                    tensor.view(-1)[place] = old + side
                    sides.append(slow_loss(agent, batches[0], core).item())
                tensor.view(-1)[place] = old
                expected = -rate * (sides[0] - sides[1]) / 2e-5
                assert moved[name].view(-1)[place].item() == pytest.approx(expected, rel=1e-3, abs=1e-6), name
    assert told[0][0].tolist() and np.isin(told[0][0], batches[0].rows).all()


def test_what_is_dropped_is_dropped_anew_in_every_update():
    agent = agent_for(dummy(3), core="gru", policy_kwargs={"core_kwargs": {"hidden_size": 50, "dropout": 0.5}})
    agent.learn(3 * 20)
    agent.policy.set_training_mode(True)
    outputs = []
    for _ in range(2):
        agent.rng = np.random.default_rng(0)
        outputs.append(agent._replayed().keys)
    assert (outputs[0] != outputs[1]).any()


@pytest.mark.parametrize("cls", [NEC, MFEC])
def test_nothing_is_learned_before_it_is_time(cls):
    agent = agent_for(dummy(3), cls)
    before = weights_of(agent)
    agent.learn(36)
    assert_same_weights(weights_of(agent), before)
    assert agent._n_updates == 0
    agent.learn(12, reset_num_timesteps=False)
    assert agent._n_updates == (cls is NEC)
    if cls is MFEC:
        assert_same_weights(weights_of(agent), before)


def test_learning_rates_and_exploration_follow_their_schedules(monkeypatch):
    agent = agent_for(
        dummy(2), core="gru", learning_rate=LinearSchedule(1e-2, 0.0, 1.0), memory_learning_rate=1e-3,
        dictionary_learning_rate=LinearSchedule(0.4, 0.0, 0.5), exploration_fraction=0.5,
        exploration_initial_eps=0.9, exploration_final_eps=0.1, learning_starts=0,
    )  # fmt: skip
    descend, seen = agent.policy.dictionary.descend, []

    def watching(lookup, rate):
        groups = {group["name"]: group["lr"] for group in agent.policy.optimizer.param_groups}
        seen.append((agent.num_timesteps / 160, groups, rate, agent.exploration_rate))
        descend(lookup, rate)

    monkeypatch.setattr(agent.policy.dictionary, "descend", watching)
    agent.learn(160)
    assert len(seen) == 20
    for done, groups, rate, epsilon in seen:
        assert groups == {"policy": pytest.approx(1e-2 * (1 - done)), "memory": pytest.approx(1e-3)}
        assert rate == pytest.approx(max(0.4 * (1 - 2 * done), 0))
        assert epsilon == pytest.approx(max(0.9 - 1.6 * done, 0.1))


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_so_many_actions_are_random(epsilon, monkeypatch):
    env = Recorder(dummy(4, actions="shifted"))
    agent = agent_for(env, exploration_initial_eps=epsilon, exploration_final_eps=epsilon, learning_starts=10**6)
    watcher = Watcher(agent, monkeypatch)
    agent.learn(4 * 150)
    best, by_step = [], {}
    for t, told in watcher.estimates:
        by_step.setdefault(t, told)
    for t, (actions, *_) in enumerate(env.history):
        values = by_step[t].values.numpy()
        if (np.sort(values)[:, -1] > np.sort(values)[:, -2]).all():
            best += (actions - 5 == values.argmax(1)).tolist()
        else:  # any of several that are best
            assert epsilon or (values[np.arange(4), actions - 5] == values.max(1)).all()
    assert len(best) > 300
    assert np.mean(best) == pytest.approx(1 - epsilon * 2 / 3, abs=0.07 if epsilon else 0)


def test_before_the_first_reward_nothing_is_better_than_anything_else():
    agent = agent_for(env := Recorder(dummy(4)), exploration_initial_eps=0, exploration_final_eps=0)
    agent.learn(4)
    first = np.concatenate([actions for actions, *_ in env.history[:1]])
    assert len(np.unique(first)) > 1


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


TASKS = {
    "bandit": (Codes, 200, "none", {"n_steps": 1}),
    "chain": (
        *(Chain, 1000, "none"),
        {"n_steps": 3, "priority_exponent": 0.6, "policy_kwargs": {"write_rate": 0.5, "key_gain": 1}},
    ),
    "recall": (
        *(lambda: DummyVecEnv([lambda: Monitor(Recall())] * 4), 600, "gru"),
        {"policy_kwargs": {"core_kwargs": {"hidden_size": 32}, "key_size": 16}},
    ),
}


@pytest.mark.parametrize("task", TASKS)
def test_it_learns(task):
    make, steps, core, kwargs = TASKS[task]
    agent = agent_for(make(), core=core, learning_rate=1e-3, exploration_fraction=0.6, gamma=0.95, **kwargs)
    agent.learn(steps)
    returns, _ = evaluate_policy(agent, as_vec_env(make()), n_eval_episodes=40, return_episode_rewards=True)
    assert np.mean(returns) == 1


# --- environments ---------------------------------------------------------------------------------------------------


class Picture(gym.Env):
    observation_space, action_space = spaces.Box(0, 255, (40, 36, 3), np.uint8), spaces.Discrete(2, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._draw(), {}

    def _draw(self):
        return self.np_random.integers(0, 256, (40, 36, 3), np.uint8)

    def step(self, action):
        assert action in (1, 2)
        return self._draw(), 1.0, False, bool(self.np_random.random() < 0.3), {}


ENVIRONMENTS = {
    **{name: (lambda name=name: dummy(3, observations=name)) for name in OBSERVATIONS},
    "shifted actions": lambda: dummy(2, actions="shifted"),
    "pictures": Picture,
    "minigrid": lambda: gym.make_vec("memenvs/MiniGrid-Empty-5x5-v0", num_envs=2),
    "id": lambda: "CartPole-v1",
    "sync": lambda: gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    "buffers reused": lambda: gym.make_vec("memenvs/TMaze-v0", num_envs=3, copy=False),
}


@pytest.mark.parametrize("cls", [NEC, MFEC])
@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_every_kind_of_environment(kind, cls):
    agent = agent_for(ENVIRONMENTS[kind](), cls, condition_on=["reward"] if kind == "sync" else [])
    env = agent.get_env()
    agent.learn(100)
    assert agent._episode_num > 0 or kind == "minigrid"
    assert len(agent.policy.dictionary) > 0 or kind == "minigrid"
    assert agent._n_updates > 0 or cls is MFEC or kind == "minigrid"
    for deterministic in (True, False):
        actions, state = agent.predict(env.reset(), deterministic=deterministic)
        env.step(actions)
        agent.predict(env.reset(), state, np.ones(env.num_envs, bool))
        assert all(agent.action_space.contains(action) for action in actions)
    assert actions.dtype == agent.action_space.dtype


@pytest.mark.parametrize("cls", [NEC, MFEC])
@pytest.mark.parametrize("name", ["box", "multi_discrete", "multi_binary"])
def test_other_actions_are_refused(cls, name):
    with pytest.raises(ValueError, match=f"needs Discrete actions, not {type(ACTIONS[name]).__name__}"):
        agent_for(dummy(2, actions=name), cls)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("n_steps", 0), ("buffer_size", 0), ("batch_size", 1.5), ("batch_episodes", 0), ("train_freq", 0)),
        *(("gradient_steps", 0), ("learning_starts", -1), ("exploration_fraction", 2), ("gamma", 1.5)),
        *(("exploration_initial_eps", -0.1), ("exploration_final_eps", 1.1), ("dictionary_learning_rate", -1)),
        *(("priority_exponent", 1.5), ("importance_exponent", 1.5), ("max_grad_norm", -1)),
    ],
)
def test_what_is_out_of_range_is_named_at_once(argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be"):
        agent_for(dummy(1), **{argument: value})


# --- acting ---------------------------------------------------------------------------------------------------------


def test_predict_carries_the_memory():
    """Step by step through whole episodes, as ``keys`` does at once."""
    env = dummy(3)
    agent = agent_for(env, core="gru")
    agent.learn(3 * 60)
    observations, starts, state, taken = env.reset(), np.ones(3, bool), None, []
    seen, begins = [observations], [starts]
    for _ in range(20):
        actions, state = agent.predict(observations, state, starts, deterministic=True)
        taken.append(actions)
        observations, _, starts, _ = env.step(actions)
        seen.append(observations)
        begins.append(starts)
    window, first = torch.from_numpy(np.stack(seen[:-1])), torch.from_numpy(np.stack(begins[:-1]))
    agent.policy.set_training_mode(False)
    with torch.no_grad():
        keys = agent.policy.keys(window, agent.policy.initial_state(3), first)[0]
        values = agent.policy.dictionary.lookup_all(keys.flatten(0, 1), touch=False)
    np.testing.assert_array_equal(np.stack(taken).ravel(), values.argmax(1).numpy())
    assert len(set(np.stack(taken).ravel().tolist())) > 1
    with pytest.raises(ValueError, match="state is of 3 environments, but observation of 2"):
        agent.predict(seen[0][:2], state)
    one, _ = agent.predict(seen[0][0], deterministic=True)
    assert one.shape == () and one == taken[0][0]


@pytest.mark.parametrize("cls", [NEC, MFEC])
def test_predict_explores_unless_it_is_told_not_to(cls):
    agent = agent_for(Codes(), cls, exploration_initial_eps=1.0, exploration_final_eps=0.3, exploration_fraction=1.0)
    agent.learn(160)
    codes = np.zeros(3000, np.int64)
    greedy = agent.predict(codes, deterministic=True)[0]
    assert len(set(greedy.tolist())) == 1
    differing = (agent.predict(codes)[0] != greedy[0]).mean()
    assert differing == pytest.approx(0.3 * 2 / 3, abs=0.03)
    assert set(agent.predict(codes)[0].tolist()) == {1, 2, 3}


@pytest.mark.parametrize("core", ["none", "gru"])
def test_an_evaluation_changes_nothing_of_the_training_around_it(core):
    class Evaluating(BaseCallback):
        def _on_step(self):
            if self.n_calls % 7 == 0:
                evaluate(self.model, dummy(2), 4, deterministic=False, seed=1)
            return True

    trees = []
    for callback in (None, Evaluating()):
        agent = agent_for(dummy(3), core=core)
        agent.learn(3 * 40, callback=callback)
        trees.append({"memory": agent.policy.lasting_memory(), "weights": weights_of(agent), **agent.own_state()})
    assert_equal(*trees)


def test_sampled_evaluations_are_repeatable():
    agent = agent_for(dummy(3))
    agent.learn(60)
    results = [evaluate(agent, dummy(2), 8, deterministic=False, seed=3).returns for _ in range(2)]
    np.testing.assert_array_equal(*results)


# --- the loop -------------------------------------------------------------------------------------------------------


def test_a_callback_stops_it():
    agent = agent_for(dummy(3))
    agent.learn(10_000, callback=StopTrainingOnMaxEpisodes(4))
    assert agent.num_timesteps < 200
    agent.learn(30, reset_num_timesteps=False)  # and it goes on in the same episodes


@pytest.mark.parametrize("core", ["none", "gru"])
def test_learning_in_two_parts_is_learning_in_one(core):
    """Where nothing follows the progress; what runs at the end of the first part is gone on with."""
    constant = {"exploration_initial_eps": 0.3, "exploration_final_eps": 0.3, "core": core}
    whole, parts = agent_for(dummy(3), **constant), agent_for(dummy(3), **constant)
    whole.learn(3 * 40)
    parts.learn(3 * 20)
    parts.learn(3 * 20, reset_num_timesteps=False)
    assert_equal(parts.policy.lasting_memory(), whole.policy.lasting_memory())
    assert_equal(parts.own_state(), whole.own_state())


@pytest.mark.parametrize("core", ["none", "gru"])
def test_the_lessons_of_a_curriculum_do_not_mix(core, monkeypatch):
    """With a lesson new environments begin, and what ran in the old ones is never written."""

    class Marked(gym.Wrapper):
        def __init__(self, lesson):
            super().__init__(Toy())
            self.lesson = lesson

        def step(self, action):
            observation, _, terminated, truncated, info = self.env.step(action)
            return observation, float(self.lesson), terminated, truncated, {**info, "success": True}

    def make_env(lesson):
        return DummyVecEnv([lambda: Marked(lesson + 1)] * 2)

    lessons = (Lesson({}, success=0.5), Lesson({}))
    agent = agent_for(make_env(0), core=core, n_steps=2, gamma=1.0, stats_window_size=3, learning_starts=10**6)
    monkeypatch.setattr(agent, "_final_values", lambda *_: [0.0] * agent.n_envs)  # returns are rewards alone
    watcher, estimate, running = Watcher(agent, monkeypatch), agent.policy.estimate, []

    def worthless(*args):
        estimated = estimate(*args)
        return estimated._replace(values=torch.zeros_like(estimated.values))

    class Remembering(Curriculum):
        def _on_rollout_end(self):
            lesson, now = self.model.lesson, [len(trail.rewards) for trail in self.model._trails]
            super()._on_rollout_end()
            if self.model.lesson != lesson:
                running.append((self.model.num_timesteps // 2, now))

    monkeypatch.setattr(agent.policy, "estimate", worthless)
    agent.learn(100, callback=Remembering(lessons, make_env))
    ((when, lengths),) = running
    assert any(lengths)
    for lesson, rewards in ((1, {1.0, 2.0}), (2, {2.0, 4.0})):  # returns are of one reward of the lesson, or two
        written = [told[2].tolist() for t, told in watcher.writes if (t >= when) == (lesson == 2)]
        assert set(itertools.chain(*written)) == rewards


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "core"), [(NEC, "none"), (NEC, "gru"), (MFEC, "none")])
def test_a_saved_agent_acts_alike(cls, core, tmp_path):
    env = dummy(3, observations="dict", actions="shifted")
    agent = agent_for(env, cls, core, condition_on=["action", "reward"])
    agent.learn(3 * 60)
    agent.save(tmp_path)
    loaded = cls.load(tmp_path, device="cpu")
    assert_equal(loaded.policy.lasting_memory(), agent.policy.lasting_memory())
    assert loaded.exploration_rate == agent.exploration_rate < 0.1
    observations, states, taken = agent.get_env().reset(), [None, None], []
    for _ in range(30):
        actions = []
        for i, one in enumerate((agent, loaded)):
            given, states[i] = one.predict(observations, states[i], deterministic=True)
            actions.append(given)
        np.testing.assert_array_equal(*actions)
        assert_equal(*([leaf.clone() for leaf in state_leaves(state)] for state in states))
        taken += actions[0].tolist()
        observations = agent.get_env().step(actions[0])[0]
    assert len(set(taken)) > 1
    again = cls.load(tmp_path, env, device="cpu")
    again.learn(60)
    assert again.num_timesteps == 60


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Run folders of small agents by name: copy them before they are spoiled."""
    folder = tmp_path_factory.mktemp("runs")
    others = {
        "good": {},
        "wider": {"policy_kwargs": {"key_size": 7}},
        "larger": {"policy_kwargs": {"capacity": 90}},
        "more actions": {"env": dummy(2, actions="shifted", observations="discrete")},
    }
    for name, kwargs in others.items():
        agent = agent_for(kwargs.pop("env", tmaze(2)), **kwargs)
        agent.learn(120)
        agent.save(folder / name)
    return folder


MEMORY = "memory.safetensors"


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "foreign", "wider", "more actions", "weights"])
def test_a_memory_that_cannot_be_used(damage, good, tmp_path):
    files = {path.name: path.read_bytes() for path in (good / "good").iterdir() if path.is_file()}
    whole = files[MEMORY]
    spoiled = {
        "missing": [None],
        "truncated": [whole[:length] for length in (1, 8, len(whole) // 2, len(whole) - 3)],
        "empty": [b""],
        "foreign": [b"\x00" * 1000, b"null", b"\x80\x04."],
        "weights": [files["policy.safetensors"]],
    }
    if damage not in spoiled:
        spoiled[damage] = [(good / damage / MEMORY).read_bytes()]
    for data in spoiled[damage]:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        if data is None:
            (tmp_path / MEMORY).unlink()
        else:
            (tmp_path / MEMORY).write_bytes(data)
        with pytest.raises(CheckpointError, match=MEMORY):
            NEC.load(tmp_path, device="cpu")


def test_a_memory_of_a_larger_dictionary_is_refused_where_it_does_not_fit(good):
    entries = sum(len(part["ids"]) for part in NEC.load(good / "larger").policy.lasting_memory()["actions"])
    assert entries > 0
    with pytest.raises(CheckpointError, match=f"{MEMORY} does not fit the policy: ids must be at most 2"):
        NEC.load(good / "larger", policy_kwargs={"capacity": 2, "key_size": 6, "core_kwargs": SMALL["none"]})
    roomy = NEC.load(good / "good", policy_kwargs={"capacity": 2000, "key_size": 6, "core_kwargs": SMALL["none"]})
    assert len(roomy.policy.dictionary) > 0


@pytest.mark.parametrize(
    ("saved", "cls"), [(NEC, MFEC), (MFEC, NEC), (NEC, RecurrentPPO), (MFEC, RecurrentPPO), (RecurrentPPO, NEC)]
)
def test_an_agent_of_another_kind_is_refused(saved, cls, tmp_path):
    agent = RecurrentPPO("MlpPolicy", tmaze(2), device="cpu") if saved is RecurrentPPO else agent_for(tmaze(2), saved)
    agent.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"policy\.json.*[pP]olicy"):
        cls.load(tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match=f"is a run of {saved.__name__}, not of {cls.__name__}"):
        cls.resume(tmp_path, tmaze(2), device="cpu")
