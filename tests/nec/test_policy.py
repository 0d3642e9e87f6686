"""The policies of episodic control: keys, what is remembered of them, and acting by it."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from memagents.nec.policy import EpisodicPolicy, ProjectionPolicy, RawEncoder
from memagents.nec.situations import situation_numbers
from memagents.policies.encoding import map_observations
from memagents.runs.trees import read_tree, write_tree
from tests.nec.support import drawn_from, entries
from tests.support.toys import ACTIONS, OBSERVATIONS
from tests.support.trees import assert_equal

THREE = spaces.Discrete(3)


def policy_of(kind=EpisodicPolicy, space=OBSERVATIONS["box"], actions=THREE, **kwargs):
    torch.manual_seed(0)
    return kind(space, actions, lambda _: 1e-3, **{"key_size": 4, "capacity": 50, "neighbours": 3, **kwargs})


def tensors(observations):
    return map_observations(torch.from_numpy, observations)


def filled(policy, observations, values=None):
    """Everything that the observations' keys say, into all dictionaries: i is worth i + 100 a."""
    count = len(next(iter(entries(observations).values())))
    keys = policy.estimate(tensors(observations), policy.initial_state(count), torch.ones(count, dtype=torch.bool)).keys
    ids = torch.from_numpy(situation_numbers(observations, policy.observation_space))
    worth = torch.arange(float(count)) if values is None else values
    for action in range(3):
        policy.dictionary.write(keys, torch.full((count,), action), worth + 100 * action, ids)
    return keys


@pytest.mark.parametrize("kind", [EpisodicPolicy, ProjectionPolicy])
@pytest.mark.parametrize("name", ["box", "multi_discrete", "multi_binary"])
def test_other_actions_are_refused(kind, name):
    with pytest.raises(ValueError, match=f"needs Discrete actions, not {type(ACTIONS[name]).__name__}"):
        policy_of(kind, actions=ACTIONS[name])


@pytest.mark.parametrize("core", ["none", "gru"])
def test_acting_takes_the_best_estimate(core):
    policy = policy_of(core=core)
    filled(policy, drawn_from(OBSERVATIONS["box"], 20))
    policy.dictionary.values.add_(torch.randn(3, 50) * 200)  # no action is always the best
    observations = tensors(drawn_from(OBSERVATIONS["box"], 30, seed=1))
    acted = policy(observations, policy.initial_state(30), torch.zeros(30, dtype=torch.bool))
    values, keys, state = policy.estimate(observations, policy.initial_state(30), torch.zeros(30, dtype=torch.bool))
    for row in range(30):
        for action in range(3):
            distances = (policy.dictionary.keys[action, :20] - keys[row]).square().sum(1)
            near = distances.argsort()[:3]
            kernel = 1 / (distances[near] + 1e-3)
            expected = (kernel * policy.dictionary.values[action, near]).sum() / kernel.sum()
            torch.testing.assert_close(values[row, action], expected, rtol=1e-3, atol=1e-2)
    assert torch.equal(acted.actions, values.argmax(1)) and len(set(acted.actions.tolist())) > 1
    assert torch.equal(acted.outputs, keys)
    assert_equal(list(acted.state), list(state))


def test_estimates_keep_entries_from_being_evicted_but_predict_does_not():
    policy = policy_of()
    filled(policy, drawn_from(OBSERVATIONS["box"], 20))
    before = policy.lasting_memory()
    seen = drawn_from(OBSERVATIONS["box"], 2, seed=1)
    policy.predict(seen)
    assert_equal(policy.lasting_memory(), before)
    policy.estimate(tensors(seen), policy.initial_state(2), torch.ones(2, dtype=torch.bool))
    for was, now in zip(before["actions"], policy.lasting_memory()["actions"], strict=True):
        assert was["order"].tolist() != now["order"].tolist()


@pytest.mark.parametrize("core", ["none", "gru", "rmc"])
def test_keys_of_a_window_are_those_of_its_steps(core):
    policy = policy_of(core=core).double()  # where the order of a sum matters less than any fault
    steps = torch.from_numpy(drawn_from(OBSERVATIONS["box"], 24)).view(8, 3, 3)
    starts = torch.zeros(8, 3, dtype=torch.bool)
    starts[0] = starts[4, 1] = starts[5, 2] = True
    keys, last, _ = policy.keys(steps, policy.initial_state(3), starts)
    state = policy.initial_state(3)
    for t in range(8):
        _, one, state = policy.estimate(steps[t], state, starts[t])
        torch.testing.assert_close(keys[t], one)
    again = policy.keys(steps[5:, 2:], policy.initial_state(1), starts[5:, 2:])[0]
    torch.testing.assert_close(keys[5:, 2:], again)  # nothing of the episode before
    assert (keys[0, 0] != keys[1, 0]).any()
    assert type(last) is type(state)


@pytest.mark.parametrize("kind", [EpisodicPolicy, ProjectionPolicy])
def test_what_is_remembered_comes_back_from_a_file(kind, tmp_path):
    policy, other = policy_of(kind), policy_of(kind)
    filled(policy, drawn_from(OBSERVATIONS["box"], 20))
    filled(other, drawn_from(OBSERVATIONS["box"], 5, seed=2))
    write_tree(tmp_path / "memory", policy.lasting_memory())
    other.restore_lasting_memory(read_tree(tmp_path / "memory"))
    assert_equal(other.lasting_memory(), policy.lasting_memory())
    with pytest.raises(ValueError, match="tree must have 3 actions and width 5"):
        policy_of(kind, key_size=5).restore_lasting_memory(read_tree(tmp_path / "memory"))
    assert not any("dictionary" in name for name in policy.state_dict())


# --- no gradients: random projections -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_raw_observations_are_all_their_numbers(name):
    space = OBSERVATIONS[name]
    policy = policy_of(ProjectionPolicy, space)
    drawn = drawn_from(space, 5)
    encoded = policy.encode(map_observations(lambda values: values[None], tensors(drawn)))[0]
    hot = {"discrete": [5], "multi_discrete": [3, 4], "codes": [3, 2], "place": [4]}
    for i in range(5):
        expected = []
        for key, values in entries(drawn).items():
            one = np.ravel(values[i])
            if (key or name) in hot:
                for code, size in zip(one, hot[key or name], strict=True):
                    expected += np.eye(size)[code].tolist()
            else:
                expected += (one / 255 if name == "symbols" else one).tolist()
        np.testing.assert_allclose(encoded[i], expected, rtol=1e-6)
    assert RawEncoder(space).features_dim == len(expected)


def test_keys_are_projections():
    """Linear, and of distances that are on average what they were (Johnson and Lindenstrauss)."""
    space = spaces.Box(-100, 100, (30,), np.float32)
    policy = policy_of(ProjectionPolicy, space, key_size=2000)
    x = torch.randn(5, 30) * 20

    def keys(observations):
        return policy.keys(observations[None], policy.initial_state(5), torch.ones(1, 5, dtype=torch.bool))[0][0]

    torch.testing.assert_close(keys(3 * x), 3 * keys(x))
    torch.testing.assert_close(keys(x + x.flip(0)), keys(x) + keys(x.flip(0)), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(torch.cdist(keys(x), keys(x)), torch.cdist(x, x), rtol=0.15, atol=1e-3)
    assert not any(parameter.requires_grad for parameter in policy.parameters())


@pytest.mark.parametrize("name", ["box", "dict", "discrete"])
def test_a_known_situation_is_its_own_value_and_an_unknown_one_the_mean_of_its_neighbours(name):
    space = OBSERVATIONS[name]
    drawn = drawn_from(space, 4)
    policy = policy_of(ProjectionPolicy, space)
    keys = filled(policy, drawn)
    ids = situation_numbers(drawn, space)
    starts = torch.ones(4, dtype=torch.bool)
    known = policy.estimate(tensors(drawn), policy.initial_state(4), starts).values
    worth = {number: float(i) for i, number in enumerate(ids.tolist())}  # of several, the last is the largest
    expected = torch.tensor([[worth[number] + 100 * action for action in range(3)] for number in ids.tolist()])
    torch.testing.assert_close(known, expected)
    assert torch.equal(policy(tensors(drawn), policy.initial_state(4), starts).actions, expected.argmax(1))
    fresh = policy_of(ProjectionPolicy, space)
    for values, rows in ((3.0, [0, 1]), (5.0, [2])):
        fresh.dictionary.write(
            keys[rows], torch.zeros(len(rows), dtype=torch.int64), torch.full((len(rows),), values), torch.tensor(rows)
        )
    unknown = fresh.estimate(tensors(drawn), fresh.initial_state(4), starts).values
    torch.testing.assert_close(unknown, torch.tensor([[11 / 3, 0, 0]]).expand(4, 3))


def test_predict_knows_what_was_seen_in_whatever_type_it_comes():
    space = OBSERVATIONS["dict"]
    drawn = drawn_from(space, 6)
    policy = policy_of(ProjectionPolicy, space, neighbours=6)
    filled(policy, drawn, values=torch.tensor([0.0, 0, 0, 0, 0, 0]))
    ids = torch.from_numpy(situation_numbers(drawn, space))
    keys = policy.keys(
        map_observations(lambda values: values[None], tensors(drawn)), policy.initial_state(6), torch.ones(1, 6).bool()
    )[0][0]
    wanted = torch.tensor([2, 0, 1, 1, 0, 2])
    policy.dictionary.write(keys, wanted, torch.full((6,), 1000.0), ids)
    as_made = {name: np.asarray(values, np.float64 if name == "sight" else np.int64) for name, values in drawn.items()}
    assert policy.predict(dict(reversed(as_made.items())))[0].tolist() == wanted.tolist()
