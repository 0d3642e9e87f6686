"""Transitions of an episode, with gaps and without, and the maximum over rows."""

import torch
from torch.nn import functional

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
        own = torch.randn(4, 7, 3, generator=generator)
        rows, mask = torch.cat([rows, own.unsqueeze(2)], dim=2), functional.pad(mask, (0, 1), value=True)
        plan = packed(first, length)
        there = torch.cat([(before[:, :-1] + after[:, 1:]).flatten(0, 1), own.flatten(0, 1)])
        assert torch.equal(there[plan.rows], rows[mask])
        assert torch.equal(plan.counts, mask.sum(2).flatten())
        assert torch.equal(plan.steps, mask.flatten(0, 1).nonzero()[:, 0])
        for row, ((begin, end, slot),) in enumerate(plan.runs[0].tolist()):
            assert begin <= row < end and slot == 0
            assert end - begin == plan.counts[plan.steps[row]]
            assert (plan.steps[begin:end] == plan.steps[row]).all()


def test_the_maximum_is_over_rows_that_count():
    rows = torch.tensor([[1.0, -5.0], [9.0, 9.0], [2.0, -6.0]])
    mask = torch.tensor([True, False, True])
    assert masked_max(rows, mask).tolist() == [2, -5]
    assert maximal_shares(rows, mask).tolist() == [0.5, 0, 0.5]
