"""Transitions of an episode, with gaps and without, and the maximum over rows."""

import torch

from memagents.memory import history
from memagents.memory.planning import masked_max, maximal_shares, packed, transitions


def test_transitions_are_those_of_the_episode():
    filled, starts = torch.tensor([1, 2]), torch.tensor([[0, 1], [0, 0], [1, 0]]).bool()
    first = history.first_positions(filled, starts, 2)  # (B, T)
    places = torch.arange(5.0).view(1, 5, 1).repeat(2, 1, 1)
    rows, mask = transitions(10 * places, places, first)  # of a timeline 0, 1, …, 4
    seen = [[rows[b, t, mask[b, t], 0].tolist() for t in range(3)] for b in range(2)]
    assert seen == [[[12], [12, 23], []], [[], [23], [23, 34]]]


def test_packed_rows_are_those_that_there_are():
    generator = torch.Generator().manual_seed(0)
    for length in (1, 3, 9):
        filled = torch.randint(0, length + 1, (4,), generator=generator)
        first = history.first_positions(filled, torch.rand(7, 4, generator=generator) < 0.3, length)
        before, after = torch.randn(2, 4, length + 7, 3, generator=generator)
        rows, mask = transitions(before, after, first)
        plan = packed(first, length)
        pairs = (before[:, :-1] + after[:, 1:]).flatten(0, 1)
        assert torch.equal(pairs[plan.pairs], rows[mask])
        assert torch.equal(plan.counts, mask.sum(2).flatten())
        assert torch.equal(plan.steps, mask.flatten(0, 1).nonzero()[:, 0])
        for row, ((begin, end, _), (own, after_own, slot)) in enumerate(plan.runs[0].tolist()):
            step = int(plan.steps[row]) if row < len(pairs[plan.pairs]) else row - len(plan.steps)
            assert (plan.steps[begin:end] == step).all() and end - begin == plan.counts[step] == slot
            assert (own, after_own) == (len(plan.steps) + step, len(plan.steps) + step + 1)


def test_the_maximum_is_over_rows_that_count():
    rows = torch.tensor([[1.0, -5.0], [9.0, 9.0], [2.0, -6.0]])
    mask = torch.tensor([True, False, True])
    assert masked_max(rows, mask).tolist() == [2, -5]
    assert maximal_shares(rows, mask).tolist() == [0.5, 0, 0.5]
