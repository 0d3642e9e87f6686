"""Episodic control as a Stable-Baselines3 agent: its environments, acting, the loop, files."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import MFEC, NEC, CheckpointError, RecurrentPPO
from memagents.cores.core import state_leaves
from memagents.experiments.curriculum import Curriculum, Lesson
from memagents.experiments.evaluation import evaluate
from tests.cores.support import SMALL
from tests.nec.agents import Codes, Watcher, agent_for
from tests.support.agents import weights_of
from tests.support.toys import ACTIONS, OBSERVATIONS, Toy, dummy, tmaze
from tests.support.trees import assert_equal

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
        *(
            ("gradient_steps", 0),
            ("gradient_steps", 10**9),
            ("train_freq", 10**9),
            ("learning_starts", -1),
            ("exploration_fraction", 2),
            ("gamma", 1.5),
        ),
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
    """Two parts equal the whole where nothing follows the progress; episodes that run at the cut go on."""
    constant = {"exploration_initial_eps": 0.3, "exploration_final_eps": 0.3, "core": core}
    whole, parts = agent_for(dummy(3), **constant), agent_for(dummy(3), **constant)
    whole.learn(3 * 40)
    parts.learn(3 * 20)
    parts.learn(3 * 20, reset_num_timesteps=False)
    assert_equal(parts.policy.lasting_memory(), whole.policy.lasting_memory())
    assert_equal(parts.own_state(), whole.own_state())


@pytest.mark.parametrize("core", ["none", "gru"])
def test_the_lessons_of_a_curriculum_do_not_mix(core, monkeypatch):
    """A lesson begins with new environments, and episodes that ran in the old ones are never written."""

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


def test_a_large_dictionary_comes_back(tmp_path):
    """Its memory is much larger than its weights, and in no file before it is full."""
    agent = NEC("MlpPolicy", tmaze(), device="cpu", policy_kwargs={"capacity": 2_000_000})
    agent.save(tmp_path)
    assert NEC.load(tmp_path, device="cpu").policy_kwargs["capacity"] == 2_000_000
