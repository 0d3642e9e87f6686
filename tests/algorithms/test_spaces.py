"""Every space that Gymnasium knows, as observation and as action, through all that is done with an agent."""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import MFEC, NEC, Imitation, RecurrentPPO, load_agent
from memagents.experiments.evaluation import evaluate
from memagents.policies.encoding import map_observations
from tests.support.agents import assert_same_weights, weights_of
from tests.support.worlds import World


def box(low, high, shape, dtype):
    return spaces.Box(low, high, shape, dtype)


OBSERVATIONS = {
    "box": box(-1, 1, (2,), np.float32),
    "scalar": box(0, 1, (), np.float32),
    "empty": box(0, 1, (0,), np.float32),
    "bools": box(0, 1, (3,), bool),
    "int8": box(-128, 127, (2,), np.int8),
    "uint16": box(0, 2**16 - 1, (2,), np.uint16),
    "uint32": box(0, 2**32 - 1, (2,), np.uint32),
    "int64": box(-(2**40), 2**40, (2,), np.int64),
    "uint64": box(0, 2**62, (2,), np.uint64),
    "float16": box(-1, 1, (2,), np.float16),
    "float64": box(-1, 1, (2, 2), np.float64),
    "unbounded": box(-np.inf, np.inf, (2,), np.float64),
    "other order of bytes": box(-1, 1, (2,), np.dtype(np.float32).newbyteorder()),
    "integers in it": box(-9, 9, (2,), np.dtype(np.int64).newbyteorder()),
    "discrete": spaces.Discrete(3, start=-1),
    "codes": spaces.MultiDiscrete([3, 2], start=[-1, 4]),
    "board": spaces.MultiDiscrete([[3, 4, 2], [2, 5, 2]]),
    "square": spaces.MultiDiscrete([[3, 4], [2, 5]]),
    "bits": spaces.MultiBinary(3),
    "bit board": spaces.MultiBinary([2, 2]),
}
OBSERVATIONS["dict"] = spaces.Dict({name: OBSERVATIONS[name] for name in reversed(OBSERVATIONS)})
OBSERVATIONS["dict of nothing"] = spaces.Dict({"a": OBSERVATIONS["empty"]})
ACTIONS = {
    "box": box(-2, 1, (2,), np.float32),
    "scalar": box(-1, 1, (), np.float32),
    "bools": box(0, 1, (2,), bool),
    "int8": box(-3, 3, (2,), np.int8),
    "float64": box(-1, 1, (2, 2), np.float64),
    "other order of bytes": box(-1, 1, (2,), np.dtype(np.float32).newbyteorder()),
    "discrete": spaces.Discrete(3, start=-1),
    "codes": spaces.MultiDiscrete([3, 2], start=[-1, 4]),
    "board": spaces.MultiDiscrete([[3, 4, 2], [2, 5, 2]]),
    "bits": spaces.MultiBinary(3),
    "bit board": spaces.MultiBinary([2, 2]),
}
AGENTS = {
    "ppo": (RecurrentPPO, {"n_steps": 4, "n_epochs": 1}),
    "imitation": (Imitation, {"n_steps": 4, "oracle_share": 0.5}),
    "nec": (NEC, {"learning_starts": 4, "batch_size": 4, "policy_kwargs": {"capacity": 50, "neighbours": 3}}),
    "recurrent nec": (NEC, {"learning_starts": 4, "batch_size": 4, "policy_kwargs": {"core": "gru", "capacity": 50}}),
    "mfec": (MFEC, {"policy_kwargs": {"capacity": 50, "neighbours": 3}}),
}
CASES = [(agent, name, "discrete") for agent in AGENTS for name in OBSERVATIONS]
CASES += [(agent, "box", name) for agent in ("ppo", "imitation") for name in ACTIONS]
CASES = [case for case in CASES if case[0] != "imitation" or not isinstance(ACTIONS[case[2]], spaces.Box)]


@pytest.mark.parametrize(("agent", "observed", "acted"), CASES)
def test_it_learns_acts_is_saved_and_goes_on(agent, observed, acted, tmp_path):
    kind, kwargs = AGENTS[agent]
    space, actions = OBSERVATIONS[observed], ACTIONS[acted]

    def env():
        return DummyVecEnv([lambda: World(space, actions)] * 2)

    ours = kind("MlpPolicy", env(), seed=0, device="cpu", **kwargs)
    ours.learn(16)
    one = space.sample()
    action, _ = ours.predict(one, deterministic=True)
    assert np.shape(action) == actions.shape
    batch = (
        {name: np.stack([value] * 3) for name, value in one.items()} if isinstance(one, dict) else np.stack([one] * 3)
    )
    several, _ = ours.predict(batch, deterministic=True)
    assert several.shape == (3, *actions.shape)
    assert several.dtype == actions.dtype
    for given in (action, *several):
        assert actions.contains(np.asarray(given, actions.dtype) if actions.shape else given), given
    np.testing.assert_allclose(several, [action] * 3, rtol=1e-5)
    ours.save(tmp_path / "run")
    for again in (load_agent(tmp_path / "run", device="cpu"), kind.resume(tmp_path / "run", env(), device="cpu")):
        assert_same_weights(weights_of(ours), weights_of(again))
        assert (again.observation_space, again.action_space) == (space, actions)
        np.testing.assert_array_equal(again.predict(one, deterministic=True)[0], action)
    again.learn(16, reset_num_timesteps=False)
    assert len(evaluate(again, env(), 2).returns) == 2


class Swapped(DummyVecEnv):
    """Gives its observations in the other order of bytes than their space says."""

    def _obs_from_buf(self):
        return map_observations(lambda values: values.astype(values.dtype.newbyteorder()), super()._obs_from_buf())


@pytest.mark.parametrize("name", ["box", "int64", "codes", "dict"])
@pytest.mark.parametrize("agent", AGENTS)
def test_observations_in_the_other_order_of_bytes_are_the_same(agent, name):
    kind, kwargs = AGENTS[agent]
    found = []
    for make in (DummyVecEnv, Swapped):
        env = make([lambda: World(OBSERVATIONS[name], spaces.Discrete(3))] * 2)
        ours = kind("MlpPolicy", env, seed=0, device="cpu", **kwargs)
        ours.learn(16)
        seen = env.reset()
        one = seen["box"] if name == "dict" else seen
        assert one.dtype.isnative == (make is DummyVecEnv)
        found.append((weights_of(ours), ours.predict(seen, deterministic=True)[0]))
    assert_same_weights(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
