"""Observations that come again, against the function called for each of them."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from memagents.policies import repetition
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import map_observations
from memagents.policies.repetition import Repetition, may_repeat

SPACE = spaces.Dict({"cells": spaces.Box(0, 255, (3, 3, 3), np.uint8), "place": spaces.Discrete(3)})
STEPS, ROWS = 9, 5


def repeated(steps=STEPS, kinds=12, seed=0):
    """Observations (steps, ROWS, ...) of so many kinds."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(kinds, (steps, ROWS), generator=generator)
    cells = torch.randint(3, (kinds, 3, 3, 3), generator=generator, dtype=torch.uint8)
    return {"cells": cells[chosen], "place": torch.arange(kinds)[chosen] % 3}


def different(observations):
    flat = map_observations(lambda values: values.flatten(0, 1).flatten(1 if values.dim() > 3 else 0), observations)
    return len({(*cells.tolist(), int(place)) for cells, place in zip(flat["cells"], flat["place"], strict=True)})


class Counted:
    """A layer on numbers of an observation, with a list of how many it was asked for."""

    def __init__(self):
        self.layer = torch.nn.Linear(28, 4).double()
        self.asked = []

    def __call__(self, observations):
        self.asked.append(len(observations["place"]))
        numbers = [observations["cells"].flatten(1), observations["place"].unsqueeze(1)]
        return self.layer(torch.cat(numbers, 1).double())

    def plainly(self, observations):
        flat = map_observations(lambda values: values.flatten(0, 1), observations)
        results = self(flat).view(*observations["place"].shape, 4)
        self.asked.pop()
        return results


@pytest.fixture
def function():
    return Counted()


@pytest.fixture
def once(function):
    return Repetition(function, function.layer.parameters)


def test_each_is_asked_for_once_and_its_gradients_are_added(function, once):
    observations, weights = repeated(), torch.randn(STEPS, ROWS, 4).double()
    gradients = []
    for results in (once(observations), function.plainly(observations)):
        torch.testing.assert_close(results, function.plainly(observations))
        gradients.append(torch.autograd.grad((results * weights).sum(), list(function.layer.parameters())))
    torch.testing.assert_close(*gradients)
    assert function.asked == [different(observations)] != [STEPS * ROWS]


def one_by_one(once, function, observations):
    for t in range(len(observations["place"])):
        step = map_observations(lambda values, t=t: values[t : t + 1], observations)
        torch.testing.assert_close(once(step), function.plainly(step))


def test_what_is_kept_is_not_asked_for_again(function, once):
    observations = repeated()
    with torch.no_grad():
        with once.keeping():
            one_by_one(once, function, observations)
            assert sum(function.asked) == different(observations)
            one_by_one(once, function, observations)
            assert sum(function.asked) == different(observations)
        one_by_one(once, function, observations)
        assert sum(function.asked) > 2 * different(observations)


def test_what_is_kept_holds_for_the_present_weights(function, once):
    observations = repeated()
    changes = [
        lambda: function.layer.bias.add_(1),
        lambda: function.layer.load_state_dict({n: -w for n, w in function.layer.state_dict().items()}),
    ]
    with torch.no_grad(), once.keeping():
        one_by_one(once, function, observations)
        for change in changes:
            change()
            one_by_one(once, function, observations)
        with torch.inference_mode():
            one_by_one(once, function, observations)
        one_by_one(once, function, observations)
    with once.keeping():  # nothing is, of what is learned from
        assert once(observations).requires_grad and once(observations).requires_grad


def test_too_many_to_keep_begin_anew(function, once, monkeypatch):
    monkeypatch.setattr(repetition, "MOST_KEPT", 12)
    with torch.no_grad(), once.keeping():
        one_by_one(once, function, repeated(40, kinds=30))
        large = repeated(10, kinds=40, seed=1)  # more at once than are kept
        torch.testing.assert_close(once(large), function.plainly(large))
        one_by_one(once, function, repeated(40, kinds=30, seed=2))


def test_one_keeping_within_another_leaves_it_as_it_was(function, once):
    """An evaluation in the middle of the collecting."""
    observations = repeated(STEPS)
    with torch.no_grad(), once.keeping():
        once(observations)
        with once.keeping():
            once(observations)
        once(observations)
    assert len(function.asked) == 1


def test_which_observations_may_come_again():
    words, number = spaces.MultiDiscrete([40] * 12), spaces.Box(-1, 1, (3,))
    picture = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    assert all(may_repeat(space) for space in (SPACE, words, spaces.Discrete(3), spaces.MultiBinary(4)))
    assert may_repeat(spaces.Dict({**SPACE.spaces, "previous_reward": number}))
    assert not any(may_repeat(space) for space in (number, picture, spaces.Dict({"word": words, "number": number})))


@pytest.mark.parametrize("core", ["lstm", "none"])
def test_a_policy_acts_alike_whether_it_keeps_or_not(core):
    policy = MemoryPolicy(SPACE, spaces.Discrete(3), lambda _: 1e-3, core=core).double()
    observations, starts = repeated(), torch.zeros(ROWS, dtype=torch.bool)

    def act():
        state, outputs = policy.initial_state(ROWS), []
        with torch.no_grad():
            for t in range(STEPS):
                acted = policy(map_observations(lambda values, t=t: values[t], observations), state, starts)
                outputs.append(acted.outputs)
                state = acted.state
        return torch.stack(outputs)

    plainly = act()
    with policy.acting():
        torch.testing.assert_close(act(), plainly)
        torch.testing.assert_close(act(), plainly)


def test_an_encoder_of_ones_own_sees_every_observation():
    seen = []

    class Encoder(MemoryPolicy(SPACE, spaces.Discrete(3), lambda _: 1e-3).features_extractor_class):
        def forward(self, observations):
            seen.append(len(observations["place"]))
            return super().forward(observations)

    policy = MemoryPolicy(SPACE, spaces.Discrete(3), lambda _: 1e-3, features_extractor_class=Encoder)
    seen.clear()  # it was tried when the policy was made
    policy.project(repeated())
    assert seen == [STEPS * ROWS]
