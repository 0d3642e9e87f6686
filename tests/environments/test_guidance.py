"""What environments say beside observations: where an action matters, and which is the best one."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import NEC, Imitation, RecurrentPPO, as_vec_env
from memagents.environments.guidance import decision_mask, has_oracle, measure, oracle_labels
from memagents.environments.joined import JoinedVecEnv
from memagents.environments.make import make_env
from memagents.experiments.evaluation import evaluate
from tests.support.worlds import World

ACTIONS = {
    "steer": spaces.Discrete(3, start=-1),
    "codes": spaces.MultiDiscrete([3, 2], start=[-1, 4]),
    "low codes": spaces.MultiDiscrete([3, 2], start=[-2, -1]),
    "plain": spaces.Discrete(3),
    "shifted": spaces.Discrete(3, start=5),
    "board": spaces.MultiDiscrete([[3, 2], [2, 4]]),
    "bits": spaces.MultiBinary(3),
    "bit board": spaces.MultiBinary([2, 2]),
}
SIGNED = ("steer", "codes", "low codes")


class Guided(World):
    """The observation is a number of a sign; the oracle's action follows from it.

    :param actions: the space
    :param matters: a function of the step within the episode
    """

    def __init__(self, actions, matters=lambda count: True, steps=4):
        super().__init__(spaces.Discrete(2), actions, steps)
        self.matters = matters

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.sign = int(self.np_random.integers(2))
        return self.sign, self._info()

    def step(self, action):
        given = super().step(action)
        self.sign = int(self.np_random.integers(2))
        return self.sign, *given[1:4], self._info()

    def _info(self):
        return {} if self.matters(self.count) else {"decision": False}

    def oracle(self):
        """The lowest action, or the highest; −1 where none matters."""
        if not self.matters(self.count):
            return np.full(self.action_space.shape, -1)
        lowest, highest = ends_of(self.action_space)
        return highest if self.sign else lowest


def ends_of(space):
    start = np.asarray(getattr(space, "start", np.zeros(space.shape, np.int64)))
    counts = getattr(space, "n", 2) if isinstance(space, spaces.Discrete) else getattr(space, "nvec", 2)
    return start, start + counts - 1


def vector(kind, make, count=6):
    return as_vec_env(SyncVectorEnv([make] * count)) if kind == "vector" else DummyVecEnv([make] * count)


@pytest.mark.parametrize("kind", ["vector", "dummy"])
@pytest.mark.parametrize("name", ACTIONS)
def test_labels_count_from_zero_and_minus_one_is_where_nothing_matters(kind, name):
    space = ACTIONS[name]
    env = vector(kind, lambda: Guided(space, lambda count: count % 2 == 0))
    env.seed(0)
    seen, decisions, taught = env.reset(), decision_mask(env, None, None), 0
    for _ in range(20):
        labels = oracle_labels(env, decisions)
        assert labels.shape == (6, *space.shape)
        for row in range(6):
            lowest, highest = ends_of(space)
            expected = (
                (highest - lowest if seen[row] else 0 * lowest) if decisions[row] else np.full(space.shape or (), -1)
            )
            np.testing.assert_array_equal(labels[row], expected)
            taught += decisions[row]
        action = np.stack([space.sample()] * 6)
        seen, _, dones, infos = env.step(action)
        decisions = decision_mask(env, infos, dones)
    assert 0 < taught < 120


@pytest.mark.parametrize("name", ACTIONS)
def test_the_lowest_action_is_learned_also_where_it_is_minus_one(name):
    space = ACTIONS[name]
    env = DummyVecEnv([lambda: Guided(space, lambda count: count != 1)] * 8)
    core = {"core": "none", "core_kwargs": {"hidden_size": 8}}
    agent = Imitation("MlpPolicy", env, n_steps=16, learning_rate=3e-2, seed=0, device="cpu", policy_kwargs=core)
    agent.learn(8 * 16 * 25)
    for sign, expected in enumerate(ends_of(space)):
        np.testing.assert_array_equal(agent.predict(np.array(sign), deterministic=True)[0], expected)
    assert np.mean(agent.recent_accuracies) == 1


def test_where_actions_are_not_negative_the_oracles_own_minus_one_is_enough():
    """An environment need not give ``decision`` as well."""

    class Silent(Guided):
        def _info(self):
            return {}

    env = DummyVecEnv([lambda: Silent(spaces.Discrete(3), lambda count: count != 0)] * 3)
    env.reset()
    assert oracle_labels(env, decision_mask(env, None, None)).tolist() == [-1] * 3
    env.step(np.zeros(3, np.int64))
    assert (oracle_labels(env, np.ones(3, bool)) >= 0).all()


@pytest.mark.parametrize(
    ("space", "named"),
    [
        (spaces.Discrete(3), 3),
        (spaces.Discrete(3), -2),
        (spaces.Discrete(3, start=5), 4),
        (spaces.Discrete(3, start=-1), 2),
        (spaces.Discrete(3, start=-1), -2),
        (spaces.MultiDiscrete([3, 2]), [0, 2]),
        (spaces.MultiDiscrete([3, 2], start=[-1, 4]), [0, 3]),
        (spaces.MultiBinary(2), [0, 2]),
        (spaces.MultiDiscrete([3, 2]), [0, -1]),  # a half of an action
    ],
    ids=str,
)
def test_an_action_that_there_is_not_is_an_error(space, named):
    class Wrong(World):
        def oracle(self):
            return np.array(named)

    env = DummyVecEnv([lambda: Wrong(action_space=space)] * 2)
    env.reset()
    with pytest.raises(
        ValueError, match=r"the oracle names the action .*, which (Multi)?(Discrete|Binary)\(.* not have"
    ):
        oracle_labels(env, np.ones(2, bool))


def test_an_oracle_of_another_shape_is_an_error():
    class Wrong(World):
        def oracle(self):
            return 1

    env = DummyVecEnv([lambda: Wrong(action_space=spaces.MultiDiscrete([3, 2]))] * 2)
    env.reset()
    with pytest.raises(ValueError, match=r"the oracle's actions must have the shape \(2,\) each, not \(\)"):
        oracle_labels(env, np.ones(2, bool))


# --- windows and minibatches without a decision ---------------------------------------------------------------------


def matters_never(count):
    return False


def matters_late(count):
    return count >= 9


@pytest.mark.parametrize("matters", [matters_never, matters_late])
@pytest.mark.parametrize("name", [*ACTIONS, "box"])
@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (RecurrentPPO, {}),
        (RecurrentPPO, {"normalize_advantage": False, "target_kl": 0.1}),
        (Imitation, {}),
        (Imitation, {"oracle_share": 0.5}),
        (Imitation, {"whole_episodes": True}),
    ],
)
def test_a_window_without_a_decision_teaches_the_critic_alone(matters, name, kind, kwargs):
    space = ACTIONS[name] if name in ACTIONS else spaces.Box(-1, 1, (2,))
    if kind is Imitation and name == "box":
        pytest.skip("nothing to imitate")

    class Silent(Guided):
        def oracle(self):
            return super().oracle() if not isinstance(self.action_space, spaces.Box) else None

    env = DummyVecEnv([lambda: Silent(space, matters, steps=12)] * 2)
    agent = kind("MlpPolicy", env, n_steps=4, n_minibatches=2, seed=0, device="cpu", **kwargs)
    before = {name: tensor.clone() for name, tensor in agent.policy.named_parameters()}
    agent.learn(2 * 4)  # one window
    after = dict(agent.policy.named_parameters())
    moved = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert {"value_net", "core"} <= moved
    assert not moved & {"action_net", "actor", "log_std"}
    agent.learn(2 * 12)
    assert all(parameter.isfinite().all() for parameter in after.values())


@pytest.mark.parametrize("core", ["none", "gru"])
def test_episodic_control_writes_nothing_where_nothing_matters(core):
    env = DummyVecEnv([lambda: Guided(spaces.Discrete(3), matters_never)] * 2)
    agent = NEC("MlpPolicy", env, learning_starts=4, policy_kwargs={"core": core}, seed=0, device="cpu")
    agent.learn(40)
    assert len(agent.policy.dictionary) == 0


class Succeeding(World):
    """Ends after two steps, and reports on the last one.

    :param said: the last info
    """

    def __init__(self, said):
        super().__init__(spaces.Discrete(2), spaces.Discrete(2), 2)
        self.said = said

    def step(self, action):
        *given, _ = super().step(action)
        return *given, self.said if given[2] or given[3] else {}


ENDS = {
    "an Env": as_vec_env,
    "sync": lambda env: as_vec_env(SyncVectorEnv([lambda: env], autoreset_mode=AutoresetMode.SAME_STEP)),
}


@pytest.mark.parametrize("way", ENDS)
@pytest.mark.parametrize("value", [1, True, np.True_, np.array(1.0), np.array([1.0]), np.array([[True]])])
@pytest.mark.parametrize("name", ["success", "is_success"])
def test_a_success_is_one_number_however_it_is_wrapped(way, value, name):
    env = ENDS[way](Succeeding({name: value}))
    agent = RecurrentPPO("MlpPolicy", env, n_steps=4, device="cpu").learn(4)
    assert list(agent.ep_success_buffer) == [1.0, 1.0]
    assert evaluate(agent, env, 2).success.tolist() == [True, True]


@pytest.mark.parametrize("way", ENDS)
@pytest.mark.parametrize("value", ["yes", np.array([1.0, 0.0])])
@pytest.mark.parametrize("name", ["success", "is_success"])
def test_a_success_that_is_no_number_is_named(way, value, name):
    env = ENDS[way](Succeeding({name: value}))
    agent = RecurrentPPO("MlpPolicy", env, n_steps=4, device="cpu")
    for use in (lambda: agent.learn(4), lambda: evaluate(agent, env, 2)):
        with pytest.raises(ValueError, match=rf"^info\['{name}'\] must be a number, or a boolean, .*not "):
            use()


def test_measures_that_are_not_there():
    assert measure({}, "success") is None and measure({"success": None}, "success") is None
    assert measure({"spl": np.float32(0.5)}, "spl") == 0.5


@pytest.mark.parametrize("way", ENDS)
def test_decisions_in_arrays_of_one(way):
    env = ENDS[way](Saying(np.array([False])))
    env.reset()
    assert decision_mask(env, None, None).tolist() == [False]


@pytest.mark.parametrize(("way", "value"), [("an Env", "no"), *((way, np.array([True, False])) for way in ENDS)])
def test_a_decision_that_is_none_is_named(way, value):
    env = ENDS[way](Saying(value))
    with pytest.raises(ValueError, match=r"^infos?\['decision'\] must be .*, not "):
        env.reset(), decision_mask(env, None, None)


class Saying(World):
    """Gives one ``decision`` for ever.

    :param decision: of every info
    """

    def __init__(self, decision):
        super().__init__(spaces.Discrete(2), spaces.Discrete(2), 2)
        self.decision = decision

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"decision": self.decision}


@pytest.mark.parametrize("world", ["guided", "memenvs", "no oracle of memenvs", "none", "joined"])
def test_whether_there_is_an_oracle_is_known_before_the_first_reset(world):
    envs = {
        "guided": lambda: as_vec_env(Guided(ACTIONS["plain"])),
        "memenvs": lambda: make_env("memenvs/TMaze-v0", 2),
        "no oracle of memenvs": lambda: make_env("memenvs/MiniGrid-Playground-v0", 2),
        "none": lambda: make_env("CartPole-v1", 2),
        "joined": lambda: JoinedVecEnv([make_env("memenvs/TMaze-v0", 2) for _ in range(2)]),
    }
    assert has_oracle(envs[world]()) == (world in ("guided", "memenvs", "joined"))
