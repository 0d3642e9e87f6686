"""The agent of Neural Episodic Control: what it writes, what it learns from, how it learns, and that it does."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import MFEC, NEC, as_vec_env
from memagents.nec.situations import situation_numbers
from tests.nec.agents import Chain, Codes, Recall, Watcher, agent_for, episodes_of, situations_of
from tests.nec.support import slow_returns
from tests.support.agents import assert_same_weights, weights_of
from tests.support.toys import Counter, Recorder, dummy

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
    """Replayed keys equal those of acting, with the same weights, at every step of whole episodes."""
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
