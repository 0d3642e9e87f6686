"""Counts of what is seen in an episode, against counting on fingers."""

from collections import Counter, OrderedDict

import gymnasium as gym
import pytest
import torch
from gymnasium import spaces

from memagents import RecurrentPPO
from memagents.bonuses import make_bonus
from memagents.bonuses.count import EpisodicCounts
from memagents.bonuses.hashing import ObservationHash, counted_space
from tests.bonuses.support import ACTIONS, CODES, ROWS, in_windows, stream


def by_hand(experience):
    """How often each observation was seen in its episode with this time, (T, B)."""
    counts = torch.zeros(len(experience.actions), ROWS, dtype=torch.int64)
    for row in range(ROWS):
        seen = Counter()
        for t, observation in enumerate(experience.observations[:, row]):
            if experience.starts[t, row]:
                seen = Counter()
            key = tuple(observation.tolist())
            seen[key] += 1
            if t:
                counts[t - 1, row] = seen[key]
    return counts


@pytest.mark.parametrize("sizes", [(30,), (1,) * 30, (7, 20, 3)])
def test_counts_in_windows_of_any_size(sizes):
    experience = stream()
    expected = by_hand(experience)
    crosses = experience.starts[1:]
    for form, wanted in (("sqrt", expected.float().rsqrt()), ("first", (expected == 1).float())):
        bonus = make_bonus("count", CODES, ACTIONS, ROWS, form=form)
        torch.testing.assert_close(in_windows(bonus, experience, *sizes), wanted.masked_fill(crosses, 0))
    assert crosses.any()
    assert expected.max() > 3


def test_what_was_met_first_is_forgotten_first():
    """Against an ordered dict of three keys."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randint(6, (200, 1), generator=generator)
    starts = torch.zeros(200, 1, dtype=torch.bool)
    starts[0] = True
    found = EpisodicCounts(1, capacity=3)(keys, starts).flatten().tolist()
    kept, expected = OrderedDict(), []
    for key in keys.flatten().tolist():
        if key not in kept and len(kept) == 3:
            kept.popitem(last=False)
        kept[key] = kept.get(key, 0) + 1
        expected.append(kept[key])
    assert found == expected[1:]


# --- hashes -----------------------------------------------------------------------------------------------------------


def test_alike_where_the_observations_are():
    space = spaces.Box(0, 255, (4, 4, 3), "uint8")
    views = torch.randint(3, (50, 2, 4, 4, 3), dtype=torch.uint8)
    views[10, 0] = views[3, 1]
    keys = ObservationHash(space)(views)
    flat, numbers = views.flatten(0, 1).flatten(1), keys.flatten()
    alike = (flat[:, None] == flat[None]).all(-1)
    assert torch.equal(alike, numbers[:, None] == numbers[None])
    assert alike[20, 7]


def test_every_entry_counts_but_not_the_previous_action_and_reward():
    space = spaces.Dict(view=spaces.Box(0, 9, (2,), "int64"), on=spaces.Discrete(2), previous_action=spaces.Discrete(3))
    seen = {
        "view": torch.tensor([[[1, 2]], [[1, 2]], [[1, 2]], [[2, 1]]]),
        "on": torch.tensor([[0], [0], [1], [0]]),
        "previous_action": torch.tensor([[0], [2], [0], [0]]),
    }
    keys = ObservationHash(counted_space(space, None))(seen).flatten().tolist()
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(("counted", "kinds"), [("place", 3), (["place"], 3), (["view", "place"], 4), (None, 2)])
def test_entries_that_count(counted, kinds):
    """One that the policy does not see counts where it is named, and only there."""
    space = spaces.Dict(view=spaces.Discrete(2), place=spaces.Discrete(9))
    seen = {"view": torch.tensor([[0], [0], [1], [0], [0]]), "place": torch.tensor([[0], [5], [5], [7], [0]])}
    own = counted_space(space, counted, {"place": "none"})
    assert len(set(ObservationHash(own)(seen).flatten().tolist())) == kinds


def test_entries_that_cannot_count():
    space = spaces.Dict(view=spaces.Discrete(2), speed=spaces.Box(-1, 1, (2,)))
    for wrong in (["place"], [], "", ["view", "place"]):
        with pytest.raises(ValueError, match=r"counted must be one or more names of entries \(view, speed\), not"):
            counted_space(space, wrong)
    with pytest.raises(ValueError, match="the entry 'speed' is measured"):
        ObservationHash(counted_space(space, "speed"))
    ObservationHash(counted_space(space, "view"))  # what does not count may be measured


def test_measured_numbers_are_rounded_or_refused():
    space = spaces.Box(-1, 1, (2,))
    values = torch.tensor([[[0.11, 0.5]], [[0.09, 0.5]], [[0.3, 0.5]]])
    near, same, far = ObservationHash(space, resolution=0.1)(values).flatten().tolist()
    assert near == same != far
    with pytest.raises(ValueError, match=r"bonus: the observation is measured in numbers.*resolution.*'rnd' or 'e3b'"):
        ObservationHash(space)
    with pytest.raises(ValueError, match="the entry 'speed' is measured"):
        ObservationHash(spaces.Dict(place=spaces.Discrete(3), speed=space))
    with pytest.raises(ValueError, match="resolution must be a finite number above 0"):
        ObservationHash(space, resolution=-1)


def test_an_environment_that_cannot_be_counted():
    with pytest.raises(ValueError, match="measured in numbers"):
        RecurrentPPO("MlpPolicy", "CartPole-v1", bonus="count")
    agent = RecurrentPPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=8, bonus="count", bonus_kwargs={"resolution": 1})
    agent.learn(16)
