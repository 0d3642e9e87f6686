"""What the engine promises of every environment: seeds, resets, statistics, splits, snapshots, errors."""

from dataclasses import replace
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from memenvs.engine.batch import Batch
from memenvs.engine.loops import TEST_SHARE
from tests.memenvs.support.drifting import BatchedDrifting, Drifting
from tests.memenvs.support.steering import BatchedSteering, Steering
from tests.memenvs.support.switches import BatchedSwitches, Switches

gym.register("tests/Drifting-v0", entry_point=Drifting, vector_entry_point=BatchedDrifting)
gym.register("tests/Steering-v0", entry_point=Steering, vector_entry_point=BatchedSteering)
gym.register("tests/Switches-v0", entry_point=Switches, vector_entry_point=BatchedSwitches)


def again(name, parameters):
    """A case whose records have another layout, all compiled anew, and otherwise repeats one before it."""
    return pytest.param(name, parameters, marks=pytest.mark.slow)


NUMBERS = [
    ("memenvs/TMaze-v0", {"length": 3}),
    again("memenvs/TMaze-v0", {"length": 3, "noise": "bits"}),
    ("memenvs/EndlessTMaze-v0", {"corridors": 3, "length": 4, "kind": "uniform"}),
    ("memenvs/RuneTMaze-v0", {"length": (6, 9)}),
    ("memenvs/ColorCubes-v0", {"size": 3, "teleport": 0.5, "max_steps": 20}),
    ("memenvs/Maze-v0", {"max_steps": 25, "trials": 1}),
    again("memenvs/Maze-v0", {"goals": 3, "max_steps": 25, "algorithm": "rooms"}),
    ("memenvs/Underground-v0", {}),
    again("memenvs/Underground-v0", {"map": "underground", "planning": 1}),
    again("memenvs/Underground-v0", {"map": "zone1", "fixed": 1, "description": False, "distance": (2, 6)}),
    ("memenvs/Underground-v0", {"task": "shortest_path", "planning": 1}),
    ("memenvs/Underground-v0", {"task": "explore", "budget": 12}),
    ("memenvs/MemoryLength-v0", {"length": 4, "bits": 10}),
    ("memenvs/NthFarthest-v0", {"vectors": 8, "width": 3}),
    ("memenvs/OneShot-v0", {"classes": 3, "presentations": 3, "size": 8}),
    ("memenvs/DynamicNGrams-v0", {"n": 3, "steps": (10, 20)}),
    ("memenvs/StoryQA-v0", {"task": 2, "questions": 2}),
    ("memenvs/MiniGrid-Fetch-8x8-N3-v0", {"max_steps": 20}),
    ("memenvs/MiniGrid-Dynamic-Obstacles-Random-6x6-v0", {}),
    ("memenvs/Bandit-v0", {"arms": 5, "trials": 8, "volatility": 0.2}),
    again("memenvs/Bandit-v0", {"kind": "gaussian", "arms": 17, "trials": 8}),
    ("memenvs/Harlow-v0", {"trials": 3}),
    ("memenvs/MemoryPlanning-v0", {"steps": 20}),
    ("memenvs/OneShotUnderground-v0", {"junctions": 10, "steps": 20}),
    ("memenvs/MiniShrdlu-v0", {"goals": (1, 2), "blocks": 4, "constraints": (1, 2), "moves": (1, 2), "slack": 2}),
    ("memenvs/popgym-AutoencodeEasy-v0", {}),
    again("memenvs/popgym-RepeatFirstEasy-v0", {}),
    again("memenvs/popgym-CountRecallEasy-v0", {}),
    again("memenvs/popgym-HigherLowerEasy-v0", {}),
    again("memenvs/popgym-ConcentrationHard-v0", {}),
    ("memenvs/popgym-MultiarmedBanditEasy-v0", {"trials": 8}),
    ("memenvs/popgym-NoisyPositionOnlyCartPoleEasy-v0", {"max_steps": 15}),
    ("memenvs/popgym-LabyrinthEscapeEasy-v0", {"size": 7, "max_steps": 30}),
    again("memenvs/popgym-LabyrinthExploreEasy-v0", {"size": 21, "max_steps": 30}),
    ("tests/Drifting-v0", {}),
]
BITS = [
    ("tests/Switches-v0", {}),
    ("memenvs/Copy-v0", {"length": (1, 5)}),
    ("memenvs/RepeatCopy-v0", {"length": (1, 4), "repeats": (1, 3)}),
    ("memenvs/AssociativeRecall-v0", {"items": (2, 4)}),
    ("memenvs/PrioritySort-v0", {"inputs": (6, 9), "outputs": (2, 6)}),
]
DIGITS = [
    ("tests/Switches-v0", {"dials": (3, 10, 2)}),
    ("memenvs/FamilyTree-v0", {"lesson": 1, "planning": 1}),
    again("memenvs/FamilyTree-v0", {"graph": "family", "nodes": (5, 7), "queries": 2}),
    ("memenvs/Underground-v0", {"task": "traversal"}),
    ("memenvs/Underground-v0", {"task": "traversal", "questions": 3}),
    again("memenvs/popgym-BattleshipEasy-v0", {"board": 5, "ships": (1, 3)}),
    ("memenvs/popgym-MineSweeperMedium-v0", {}),
]
BOXES = [
    ("tests/Steering-v0", {}),
    ("tests/Steering-v0", {"shape": (2, 3), "dtype": "float64"}),
    ("memenvs/popgym-NoisyPositionOnlyPendulumEasy-v0", {"max_steps": 12}),
]
SPLIT = NUMBERS[2:] + BITS[1:] + DIGITS[1:] + BOXES  # there are levels enough to hold some out


def of(cases):
    return pytest.mark.parametrize(
        ("name", "parameters"), cases, ids=lambda v: v.split("/")[1] if isinstance(v, str) else ""
    )


each = of(NUMBERS + BITS + DIGITS + BOXES)


def leaves(tree, prefix=""):
    """The arrays of nested dicts and tuples, by their path."""
    if isinstance(tree, tuple):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        return {prefix: np.asarray(tree)}
    return {path: leaf for key, value in tree.items() for path, leaf in leaves(value, f"{prefix}/{key}").items()}


def equal(first, second):
    first, second = leaves(first), leaves(second)
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def row(tree, i):
    if isinstance(tree, tuple):
        return tuple(row(value, i) for value in tree)
    return {key: row(value, i) for key, value in tree.items()} if isinstance(tree, dict) else tree[i]


def given(step, i):
    """All that a step says of row i; what is masked out is left out."""
    observations, rewards, terminated, truncated, infos = step
    said = [row(observations, i), rewards[i], terminated[i], truncated[i], infos["decision"][i]]
    if terminated[i] or truncated[i]:
        said += [row(value, i) for key, value in sorted(infos.items())]
    return dict(enumerate(said))


def rollout(envs, steps, actions, seed):
    envs.reset(seed=seed)
    return [envs.step(actions[t][: envs.num_envs]) for t in range(steps)]


def random_actions(envs, steps, seed=0):
    space, rng = envs.single_action_space, np.random.default_rng(seed)
    if isinstance(space, Box):
        return rng.uniform(space.low, space.high, (steps, 16, *space.shape)).astype(space.dtype)
    if isinstance(space, MultiBinary):
        return rng.integers(0, 2, (steps, 16, space.n))
    if isinstance(space, MultiDiscrete):
        return rng.integers(0, space.nvec, (steps, 16, space.nvec.size))
    return rng.integers(0, space.n, (steps, 16))


@each
def test_rows_depend_on_seed_and_index_alone(name, parameters):
    few = gym.make_vec(name, num_envs=3, **parameters)
    actions = random_actions(few, 60)
    expected = rollout(few, 60, actions, seed=7)
    for options in ({"num_envs": 16}, {"num_envs": 16, "threads": 3}, {"num_envs": 5, "threads": 5}):
        envs = gym.make_vec(name, **options, **parameters)
        for _ in range(2):
            for first, second in zip(expected, rollout(envs, 60, actions, seed=7), strict=True):
                assert all(equal(given(first, i), given(second, i)) for i in range(3))
        other = rollout(envs, 60, actions, seed=8)
        assert not all(equal(given(a, i), given(b, i)) for a, b in zip(expected, other, strict=True) for i in range(3))
        envs.close()
    assert any(not equal(row(step[0], 0), row(step[0], 1)) for step in expected)


@each
def test_a_single_environment_is_row_zero(name, parameters):
    envs, env = gym.make_vec(name, num_envs=2, **parameters), gym.make(name, **parameters)
    (observations, infos), (observation, info) = envs.reset(seed=3), env.reset(seed=3)
    ends = 0
    for actions in random_actions(envs, 450):
        assert equal(row(observations, 0), observation)
        assert infos["decision"][0] == info["decision"]
        observations, rewards, terminated, truncated, infos = envs.step(actions[:2])
        observation, reward, end, cut, info = env.step(actions[0])
        assert (rewards[0], terminated[0], truncated[0]) == (reward, end, cut)
        if end or cut:
            ends += 1
            assert equal(row(infos["final_obs"], 0), observation)
            metrics = set(info) - {"decision"}
            assert all(infos[key][0] == info[key] and infos[f"_{key}"][0] for key in metrics)
            observation, info = env.reset()
    assert ends > 3


@each
def test_ends_are_reported_and_episodes_counted(name, parameters):
    envs = gym.make_vec(name, num_envs=16, **parameters)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observations, infos = envs.reset(seed=0)
    assert set(infos) == {"decision"}
    returns, lengths = np.zeros(16), np.zeros(16, int)
    for actions in random_actions(envs, 80):
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert envs.observation_space.contains(observations)
        returns, lengths, done = returns + rewards, lengths + 1, terminated | truncated
        assert not (terminated & truncated).any() or envs.unwrapped.definition.both_ends
        assert ("final_obs" in infos) == done.any()
        if done.any():
            masks = [infos["_final_obs"], infos["_episode"], infos["episode"]["_r"], infos["episode"]["_l"]]
            masks += [infos[f"_{key}"] for key in ("success", "spl") if key in infos]
            assert all(np.array_equal(mask, done) for mask in masks)
            assert np.allclose(infos["episode"]["r"], np.where(done, returns, 0))
            assert np.array_equal(infos["episode"]["l"], np.where(done, lengths, 0))
            assert envs.observation_space.contains(infos["final_obs"])
        returns[done], lengths[done] = 0, 0
    assert envs.single_observation_space.contains(row(observations, 0))


@each
def test_a_time_limit_truncates(name, parameters):
    envs = gym.make_vec(name, num_envs=8, max_episode_steps=4, **parameters)
    limited = gym.make(name, max_episode_steps=4, **parameters)
    envs.reset(seed=1)
    limited.reset(seed=1)
    cut = 0
    for actions in random_actions(envs, 30):
        _, rewards, terminated, truncated, infos = envs.step(actions[:8])
        _, reward, end, over, _ = limited.step(actions[0])
        assert (rewards[0], terminated[0]) == (reward, end)
        assert truncated[0] == (over and not end)
        if over or end:
            limited.reset()
        if truncated.any():
            assert infos["episode"]["l"][truncated].max() <= 4
        cut += truncated.sum()
    assert cut > 8


@each
def test_arrays_are_fresh_unless_asked_otherwise(name, parameters):
    for copy in (True, False):
        envs = gym.make_vec(name, num_envs=16, copy=copy, **parameters)
        first = envs.reset(seed=0)
        kept = [leaves({"o": first[0], "i": first[1]})]
        for actions in random_actions(envs, 40):
            observations, rewards, terminated, truncated, infos = envs.step(actions)
            kept.append(leaves({"o": observations, "r": rewards, "e": terminated, "c": truncated, "i": infos}))
        shared = any(
            np.shares_memory(now[key], later[key]) for now, later in pairwise(kept) for key in now.keys() & later.keys()
        )
        assert shared != copy


@each
def test_gymnasium_finds_nothing_wrong(name, parameters, recwarn):
    check_env(gym.make(name, **parameters).unwrapped, skip_render_check=True)
    said = [str(warning.message) for warning in recwarn if "gymnasium" in str(warning.filename)]
    # POPGym's torques are from -2 to 2; Gymnasium advises 1.
    assert not [message for message in said if "we recommend using a symmetric and normalized space" not in message]


@of(NUMBERS)
def test_an_action_out_of_range_steps_nothing(name, parameters):
    envs, env = gym.make_vec(name, num_envs=4, **parameters), gym.make(name, **parameters).unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        envs.step(np.zeros(4, int))
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)
    envs.reset(seed=0)
    env.reset(seed=0)
    n = int(envs.single_action_space.n)
    before = envs.snapshot()
    for wrong in ([0, 0, n, 0], [-1, 0, 0, 0]):
        with pytest.raises(ValueError, match=f"from 0 to {n - 1}, not {max(wrong) or -1}"):
            envs.step(np.array(wrong))
    with pytest.raises(ValueError, match=f"from 0 to {n - 1}, not {2**63}"):
        envs.step(np.array([0, 0, 2**63, 0], np.uint64))
    for wrong in (np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4), ["a"] * 4, None):
        with pytest.raises(ValueError, match="integers of shape"):
            envs.step(wrong)
    for wrong in (n, -1, 0.5, "a"):
        with pytest.raises(ValueError, match="action"):
            env.step(wrong)
    assert equal(before, envs.snapshot())
    envs.step(np.zeros(4, np.uint8))


@of(BITS)
def test_an_action_that_is_no_bits_steps_nothing(name, parameters):
    envs, env = gym.make_vec(name, num_envs=4, **parameters), gym.make(name, **parameters).unwrapped
    n = envs.single_action_space.n
    zeros = np.zeros((4, n), int)
    for wrong in (envs, zeros), (env, zeros[0]):
        with pytest.raises(RuntimeError, match="reset"):
            wrong[0].step(wrong[1])
    envs.reset(seed=0)
    env.reset(seed=0)
    before = envs.snapshot(), env.snapshot()
    for dtype, value in (("i8", 2), ("i8", -1), ("i1", -1), ("u1", 2), ("u8", 2**63), (">i4", 256)):
        wrong = zeros.astype(dtype)
        wrong[2, n - 1] = value
        with pytest.raises(ValueError, match=f"must be {n} values 0 or 1, not {value}"):
            envs.step(wrong)
        with pytest.raises(ValueError, match=f"must be {n} values 0 or 1, not {value}"):
            env.step(wrong[2])
    for wrong in (zeros[:, 0], zeros[:3], zeros[:, 1:], zeros * 0.5, zeros.astype(str), None):
        with pytest.raises(ValueError, match=f"integers or booleans of shape \\(4, {n}\\)"):
            envs.step(wrong)
    for wrong in (0, zeros[0, 1:], zeros[0] * 0.5, "a", None):
        with pytest.raises(ValueError, match=f"integers or booleans of shape \\(1, {n}\\)"):
            env.step(wrong)
    assert equal(before[0], envs.snapshot())
    assert equal(before[1], env.snapshot())


@of(DIGITS)
def test_an_action_with_an_entry_out_of_range_steps_nothing(name, parameters):
    envs, env = gym.make_vec(name, num_envs=4, **parameters), gym.make(name, **parameters).unwrapped
    sizes = envs.single_action_space.nvec
    envs.reset(seed=0)
    env.reset(seed=0)
    before, zeros = (envs.snapshot(), env.snapshot()), np.zeros((4, sizes.size), int)
    for entry, size in enumerate(sizes):
        for value in (-1, size):
            wrong = zeros.copy()
            wrong[2, entry] = value
            for call in (lambda wrong=wrong: envs.step(wrong), lambda wrong=wrong: env.step(wrong[2])):
                with pytest.raises(ValueError, match=f"entry {entry} of .* from 0 to {size - 1}, not {value}"):
                    call()
    for wrong in (zeros[:, 0], zeros[:3], zeros * 0.5, zeros.astype(bool), None):
        with pytest.raises(ValueError, match=f"integers of shape \\(4, {sizes.size}\\)"):
            envs.step(wrong)
    assert equal(before[0], envs.snapshot())
    assert equal(before[1], env.snapshot())


@of(BOXES)
def test_an_action_that_is_no_finite_numbers_steps_nothing(name, parameters):
    envs, env = gym.make_vec(name, num_envs=4, **parameters), gym.make(name, **parameters).unwrapped
    space = envs.single_action_space
    zeros = np.zeros((4, *space.shape), space.dtype)
    for wrong in (envs, zeros), (env, zeros[0]):
        with pytest.raises(RuntimeError, match="reset"):
            wrong[0].step(wrong[1])
    envs.reset(seed=0)
    env.reset(seed=0)
    before = envs.snapshot(), env.snapshot()
    for dtype, value in ((space.dtype, np.nan), (space.dtype, -np.inf), (np.longdouble, "1e4000")):
        wrong = zeros.astype(dtype)
        wrong[(2, *(-1 for _ in space.shape))] = np.longdouble(value)
        for call in (lambda wrong=wrong: envs.step(wrong), lambda wrong=wrong: env.step(wrong[2])):
            with pytest.raises(ValueError, match=f"an action of .* must be finite numbers of {space.dtype}, not"):
                call()
    shape = ", ".join(map(str, space.shape))
    for wrong in (zeros[:, 0], zeros[:3], zeros[..., None], zeros > 0, zeros.astype(str), zeros * 1j, None):
        with pytest.raises(ValueError, match=f"real numbers of shape \\(4, {shape}\\)"):
            envs.step(wrong)
    for wrong in (0.0, zeros[0, 0], zeros[:1], zeros[0] > 0, "a", None):
        with pytest.raises(ValueError, match=f"real numbers of shape \\(1, {shape}\\)"):
            env.step(wrong)
    assert equal(before[0], envs.snapshot())
    assert equal(before[1], env.snapshot())
    # Whole numbers, lists, arrays that are read-only, of another order or of other bytes: all the same.
    stepped = []
    readonly = zeros.copy()
    readonly.flags.writeable = False
    swapped = zeros.astype(space.dtype.newbyteorder())
    for actions in (zeros, zeros.astype(int), zeros.tolist(), readonly, np.asfortranarray(zeros), swapped):
        envs.restore(before[0])
        envs.step(actions)
        stepped.append(envs.snapshot())
    assert all(equal(stepped[0], other) for other in stepped)


def test_numbers_beyond_a_box_are_passed_on():
    envs = gym.make_vec("tests/Steering-v0", num_envs=2)
    env = gym.make("tests/Steering-v0").unwrapped
    envs.reset(seed=0)
    env.reset(seed=0)
    assert envs.step(np.array([[50.0, 60.0], [-1.0, 0.1]]))[1].tolist() == [
        55.0,
        (-1.0 + np.float64(np.float32(0.1))) / 2,
    ]
    assert env.step(np.array([50.0, 60.0]))[1] == 55.0
    with pytest.raises(NotImplementedError, match="no oracle"):
        envs.oracle()
    walk = np.stack([envs.random_walk(np.random.default_rng(i)) for i in range(300)])
    assert walk.dtype == np.float32
    assert walk.shape == (300, 2, 2)
    assert walk.min() >= -1
    assert walk.max() <= 2
    assert abs(walk.mean() - 0.5) < 0.1
    assert env.action_space.contains(env.random_walk(np.random.default_rng(0)))


def test_a_box_compiles_the_step_once():
    envs = gym.make_vec("tests/Steering-v0", num_envs=2, shape=(2, 2))
    envs.reset(seed=0)
    step = envs.unwrapped.definition.step
    compiled = len(step.signatures)
    envs.step(np.zeros((2, 2, 2)))
    envs.step(np.zeros((2, 2, 2), np.float32))
    assert len(step.signatures) == compiled


def test_an_oracle_of_real_numbers_cannot_be():
    with pytest.raises(ValueError, match=r"`oracle` of Steering.* must be left out"):
        replace(BatchedSteering.define(), oracle=BatchedSwitches.define().oracle)


def test_digits_and_the_integer_that_they_are():
    envs = gym.make_vec("tests/Switches-v0", num_envs=64, dials=(3, 10, 2))
    env = gym.make("tests/Switches-v0", dials=(3, 10, 2)).unwrapped
    (observations, infos), _ = envs.reset(seed=0), env.reset(seed=0)
    rng, walks = np.random.default_rng(0), []
    for _ in range(100):
        oracle, decision = envs.oracle(), infos["decision"]
        assert oracle.shape == (64, 3)
        assert np.array_equal(env.oracle(), oracle[0])
        assert np.all(oracle[~decision] == -1)
        assert np.array_equal(oracle[decision] @ [20, 2, 1], observations[decision, 1])
        walk = envs.random_walk(rng)
        walks.append(walk)
        kept = envs.snapshot()
        observations, _, terminated, _, infos = envs.step(walk)
        shown = np.where(terminated, infos["final_obs"][:, 0], observations[:, 0]) if "final_obs" in infos else None
        assert np.array_equal(observations[:, 0] if shown is None else shown, walk @ [20, 2, 1])
        envs.restore(kept)
        observations, rewards, _, _, infos = envs.step(np.maximum(oracle, 0).astype(np.uint8))
        assert np.array_equal(rewards, decision)
        if env.step(np.maximum(oracle[0], 0))[2]:
            env.reset()
    drawn = np.concatenate(walks)
    for entry, size in enumerate((3, 10, 2)):
        assert np.all(np.abs(np.bincount(drawn[:, entry], minlength=size) * size / len(drawn) - 1) < 0.15)


@pytest.mark.parametrize("n", [1, 5, 32])
def test_bits_and_the_integer_that_they_are(n):
    envs, env = gym.make_vec("tests/Switches-v0", num_envs=64, n=n), gym.make("tests/Switches-v0", n=n).unwrapped
    (observations, infos), _ = envs.reset(seed=0), env.reset(seed=0)
    assert envs.action_space.shape == (64, n)
    assert env.action_space.shape == (n,)
    powers, rng, asked = 2 ** np.arange(n), np.random.default_rng(0), set()
    for t in range(40):
        oracle, single = envs.oracle(), env.oracle()
        assert (oracle.shape, oracle.dtype) == ((64, n), np.int64)
        assert (single.shape, single.dtype) == ((n,), np.int64)
        assert np.array_equal(oracle[0], single)
        assert np.array_equal(infos["decision"], observations[:, 1] >= 0)
        assert np.all(oracle[~infos["decision"]] == -1)
        wanted = oracle[infos["decision"]]
        assert set(np.unique(wanted)) <= {0, 1}
        assert np.array_equal(wanted @ powers, observations[infos["decision"], 1])
        asked |= set(observations[:, 1].tolist())
        walk = envs.random_walk(rng)
        assert (walk.shape, walk.dtype) == ((64, n), np.int64)
        assert env.random_walk(rng).shape == (n,)
        for dtype in (bool, np.int8, np.uint8, np.int64, np.uint64, ">i2"):
            kept = envs.snapshot()
            observations, rewards, terminated, _, infos = envs.step(walk.astype(dtype))
            shown = np.where(terminated, infos["final_obs"][:, 0], observations[:, 0]) if "final_obs" in infos else None
            assert np.array_equal(observations[:, 0] if shown is None else shown, walk @ powers)
            envs.restore(kept)
        # What is not laid out in order is packed as it reads.
        best = np.asfortranarray(np.maximum(oracle, 0))
        observations, rewards, terminated, _, infos = envs.step(best)
        assert np.array_equal(rewards, (oracle >= 0).all(axis=1))
        if env.step(np.maximum(single, 0))[2]:
            env.reset()
        assert terminated.all() == (t % 7 == 6)
    assert len(asked) > min(2**n, 100)


def test_random_walks_of_bits_are_uniform():
    envs = gym.make_vec("tests/Switches-v0", num_envs=4000, n=3)
    envs.reset(seed=0)
    walk = envs.random_walk(np.random.default_rng(0)) @ [1, 2, 4]
    assert np.all(np.abs(np.bincount(walk, minlength=8) / 500 - 1) < 0.25)


@pytest.mark.parametrize(
    "space",
    [
        MultiBinary(33),
        MultiBinary([2, 2]),
        Discrete(3, start=1),
        MultiDiscrete([3, 3], start=[0, 1]),
        MultiDiscrete([[3], [3]]),
        MultiDiscrete([2**16, 2**16]),
        Box(0, 1, ()),
        Box(0, 1, (2,), np.int64),
        Box(0, np.inf, (2,)),
        Box(0, 1, (2,), np.float16),
    ],
    ids=str,
)
def test_an_action_space_that_cannot_be(space):
    definition = BatchedSteering.define() if isinstance(space, Box) else BatchedSwitches.define()
    definition = replace(definition, action_space=space)
    with pytest.raises(ValueError, match="action_space must be"):
        Batch(definition, 1)


def test_stepping_on_after_the_end_is_an_error():
    env = gym.make("memenvs/TMaze-v0", length=1).unwrapped
    env.reset(seed=0)
    while not any(env.step(env.oracle())[2:4]):
        pass
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)


@each
def test_a_snapshot_goes_on_exactly(name, parameters):
    envs = gym.make_vec(name, num_envs=16, **parameters)
    actions = random_actions(envs, 60)
    rollout(envs, 30, actions, seed=5)
    snapshot = envs.snapshot()
    assert all(isinstance(value, np.ndarray | str | bool | int) for value in snapshot.values())
    assert all(v.dtype.kind in "buif" for v in snapshot.values() if isinstance(v, np.ndarray))
    expected = [envs.step(row) for row in actions]
    other = gym.make_vec(name, num_envs=16, threads=2, **parameters)
    other.restore(snapshot)
    for first, row_of_actions in zip(expected, actions, strict=True):
        second = other.step(row_of_actions)
        assert all(equal(given(first, i), given(second, i)) for i in range(16))
    assert equal(envs.reset()[0], other.reset()[0])


@each
def test_a_snapshot_of_a_single_environment(name, parameters):
    env, other = gym.make(name, **parameters).unwrapped, gym.make(name, **parameters).unwrapped
    first, action, *_ = random_actions(gym.make_vec(name, **parameters), 2)[:, 0]
    env.reset(seed=2)
    env.step(first)
    other.restore(env.snapshot())
    for _ in range(4):
        assert equal(dict(enumerate(env.step(action))), dict(enumerate(other.step(action))))
    assert equal(env.reset()[0], other.reset()[0])


def test_a_foreign_snapshot_changes_nothing():
    envs = gym.make_vec("memenvs/Underground-v0", num_envs=4)
    envs.reset(seed=0)
    kept = envs.snapshot()
    maze = gym.make_vec("memenvs/TMaze-v0", num_envs=4)
    maze.reset(seed=0)
    more = gym.make_vec("memenvs/Underground-v0", num_envs=5)
    more.reset(seed=0)
    rng = np.random.default_rng(0)
    noise = {"rows": rng.integers(0, 256, kept["rows"].shape, dtype=np.uint8)}
    wrong = [
        maze.snapshot(),
        more.snapshot(),
        kept | noise,
        kept | {"rows": None},
        {},
        kept | {"rows": kept["rows"] * 1.0},
    ]
    for snapshot in wrong:
        with pytest.raises(ValueError, match="snapshot"):
            envs.restore(snapshot)
        assert equal(kept, envs.snapshot())


@of(SPLIT)
def test_splits_never_share_a_level(name, parameters):
    seen = {}
    for split in ("train", "test", None):
        envs = gym.make_vec(name, num_envs=256, split=split, **parameters)
        levels = [envs.unwrapped.batch.rows["level"].copy() for _ in range(8) if envs.reset() and True]
        digest = envs.unwrapped.definition.digest
        seen[split] = [int(digest(level)) for batch in levels for level in batch]
    assert all(digest % TEST_SHARE != 0 for digest in seen["train"])
    assert all(digest % TEST_SHARE == 0 for digest in seen["test"])
    share = np.mean([digest % TEST_SHARE == 0 for digest in seen[None]])
    assert 0.6 / TEST_SHARE < share < 1.4 / TEST_SHARE
    assert len(set(seen["test"])) > 50


def test_a_split_that_cannot_be():
    for make in (gym.make, gym.make_vec):
        with pytest.raises(ValueError, match="2 distinct level"):
            make("memenvs/TMaze-v0", split="train")
        with pytest.raises(ValueError, match="'train', 'test'"):
            make("memenvs/Underground-v0", split="validation")
        with pytest.raises(ValueError, match="1 distinct level"):
            make("memenvs/Underground-v0", map="underground", stations=270, exits=(1, 9), split="test")
        with pytest.raises(ValueError, match="no digest"):
            make("tests/Switches-v0", split="train")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("num_envs", 0), ("num_envs", 1.5), ("threads", 0), ("max_episode_steps", -1), ("render_mode", "pdf")],
)
def test_wrong_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=argument):
        BatchedDrifting(**{argument: value})


def test_parameters_of_which_no_level_can_be_drawn():
    with pytest.raises(ValueError, match="no level of Drifting"):
        Drifting(width=1)


def test_an_environment_without_an_oracle():
    envs = gym.make_vec("tests/Drifting-v0", num_envs=4)
    _, infos = envs.reset(seed=0)
    assert infos["decision"].all()
    with pytest.raises(NotImplementedError, match="no oracle"):
        envs.oracle()
    walk = np.concatenate([envs.random_walk(np.random.default_rng(i)) for i in range(300)])
    assert np.all(np.abs(np.bincount(walk, minlength=3) / walk.size - 1 / 3) < 0.06)


def test_options_and_unknown_parameters():
    envs = gym.make_vec("tests/Drifting-v0", num_envs=4)
    envs.reset(options={})
    with pytest.raises(ValueError, match="options"):
        envs.reset(options={"level": 3})
    with pytest.raises(TypeError, match="depth"):
        gym.make_vec("tests/Drifting-v0", num_envs=4, depth=3)


def test_without_a_seed_every_run_differs():
    first, second = (gym.make_vec("memenvs/Underground-v0", num_envs=8) for _ in range(2))
    assert not equal(first.reset()[0], second.reset()[0])
