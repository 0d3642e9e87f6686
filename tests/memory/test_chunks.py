"""Chunks of an episode: which are complete, which are chosen, and what stands in them."""

import torch

from memagents.memory import chunks, history


def test_chunks_are_counted_from_the_start_of_the_episode():
    starts = torch.zeros(7, 2, dtype=torch.bool)
    starts[3, 1] = True
    assert chunks.phases(torch.tensor([2, 1]), starts, 3).tolist() == [[2, 0, 1, 2, 0, 1, 2], [1, 2, 0, 0, 1, 2, 0]]


def test_complete_chunks_can_be_read():
    """Four rows of an episode whose fifth step, of phase 0, comes next, on a timeline of 5 + 4 positions."""
    starts = torch.zeros(4, 1, dtype=torch.bool)
    first = history.first_positions(torch.tensor([4]), starts, 5)
    of_steps = chunks.phases(torch.tensor([0]), starts, 2)
    marked = [mask.nonzero().flatten().tolist() for mask in chunks.readable(first, of_steps, 5, 2, 2)[0]]
    assert marked == [[1, 3], [1, 3], [3, 5], [3, 5]]
    assert chunks.readable(first, of_steps, 5, 2, 1)[0, 0].nonzero().tolist() == [[3]]


def test_means_and_rows_of_chunks_stand_at_their_first_position():
    rows = torch.arange(24.0).view(2, 6, 2)
    assert torch.equal(chunks.means(rows, 3)[1, 2], rows[1, 2:5].mean(0))
    taken = chunks.take(rows, torch.tensor([[[0, 3]], [[2, 1]]]), 3)
    assert torch.equal(taken[1, 0, 0], rows[1, 2:5])
    assert torch.equal(taken[0, 0, 1], rows[0, 3:6])


def test_of_too_few_chunks_the_others_weigh_nothing():
    scores = torch.tensor([[[5.0, 1.0, 1.0, 9.0]]])
    weights, chosen = chunks.choose(scores, torch.tensor([[[False, True, True, False]]]), 3)
    torch.testing.assert_close(weights, torch.tensor([[[0.5, 0.5, 0.0]]]))
    assert sorted(chosen[0, 0, :2].tolist()) == [1, 2]
    assert chunks.choose(scores, torch.zeros(1, 1, 4, dtype=torch.bool), 9)[0].tolist() == [[[0, 0, 0, 0]]]


def test_attention_within_chunks_is_a_softmax_each():
    contents = torch.tensor([[[[[1.0], [3.0]], [[5.0], [7.0]]]]])  # (B, T, K, C, W)
    found, shares = chunks.look_within(torch.zeros(1, 1, 1, 1), contents, torch.tensor([[[0.25, 0.75]]]))
    assert shares.tolist() == [[[[[0.125, 0.125], [0.375, 0.375]]]]]
    assert found.item() == 0.25 * 2 + 0.75 * 6
