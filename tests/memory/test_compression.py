"""Rows that leave a history in groups, beside obvious lists."""

import pytest
import torch

from memagents.memory import compression, history

T, B, W = 11, 3, 2


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def squeeze(rows):
    """Return what a group becomes, by a loop."""
    return (rows * torch.arange(1, len(rows) + 1).unsqueeze(1)).sum(0)


@pytest.mark.parametrize("length, slots, rate", [(2, 2, 2), (3, 2, 1), (1, 3, 3), (2, 1, 4), (4, 5, 2), (12, 2, 2)])
@pytest.mark.parametrize("share", [0.0, 0.15, 0.5])
@pytest.mark.parametrize("counts", [([0, 0, 0], [0, 0, 0]), ([9, 1, 2], [9, 0, 1])])
def test_a_window_at_once_is_step_after_step(length, slots, rate, share, counts):
    capacity = length + rate - 1
    filled, compressed_filled = (torch.tensor(c).clamp(max=m) for c, m in zip(counts, (capacity, slots), strict=True))
    starts = torch.rand(T, B, generator=torch.Generator().manual_seed(4)) < share
    rows, compressed, new = random(B, capacity, W), random(B, slots, W, seed=1), random(B, T, W, seed=2)
    memory = [list(rows[b, capacity - filled[b] :]) for b in range(B)]
    squeezed = [list(compressed[b, slots - compressed_filled[b] :]) for b in range(B)]

    plan = compression.leaving(filled, compressed_filled, starts, length, slots, rate)
    whole = history.timeline(rows, new, plan.first)
    owners = torch.arange(B).repeat_interleave(plan.group.shape[1])
    made = compression.take(whole, owners, plan.group.flatten(), rate).unflatten(0, plan.group.shape)
    made = torch.stack([torch.stack([squeeze(group) for group in of_row]) for of_row in made])
    columns = compression.columns_timeline(compressed, made, plan)
    both, mask = torch.cat([columns, whole], dim=1), compression.sees(plan, length, rate)
    assert mask.shape == (B, T, both.shape[1])

    events = torch.zeros(B, T, dtype=torch.bool)
    for t in range(T):
        for b in range(B):
            if starts[t, b]:
                memory[b], squeezed[b] = [], []
            memory[b].append(new[b, t])
            torch.testing.assert_close(both[b][mask[b, t]], torch.stack([*squeezed[b], *memory[b]]))
            if len(memory[b]) == length + rate:
                events[b, t] = True
                squeezed[b] = [*squeezed[b], squeeze(torch.stack(memory[b][:rate]))][-slots:]
                memory[b] = memory[b][rate:]
    for b in range(B):
        assert plan.group[b][plan.left[b]].tolist() == events[b].nonzero().flatten().tolist()
        for kept, count, expected in (
            (history.newest(whole, plan.first_after, capacity)[b], capacity + T - plan.first_after[b], memory[b]),
            (
                compression.newest_compressed(columns, plan)[b],
                compression.compressed_filled_after(plan)[b],
                squeezed[b],
            ),
        ):
            assert int(count) == len(expected)
            assert (kept[: len(kept) - len(expected)] == 0).all()
            if expected:
                torch.testing.assert_close(kept[len(kept) - len(expected) :], torch.stack(expected))


def test_slots_at_their_positions_and_back():
    """The last slot is the step itself, and those before it follow without a gap, seen or not."""
    length, slots, rate, heads = 2, 3, 2, 2
    capacity = length + rate - 1
    starts = torch.rand(T, B, generator=torch.Generator().manual_seed(4)) < 0.15
    plan = compression.leaving(torch.tensor([0, 1, 3]), torch.tensor([0, 0, 2]), starts, length, slots, rate)
    by_slot = random(B, heads, T, slots + capacity + 1)
    by_position = compression.to_positions(by_slot, plan, capacity)
    mask = compression.sees(plan, length, rate)
    columns = slots + plan.group.shape[1]
    assert by_position.shape == (B, heads, *mask.shape[1:])
    assert torch.equal(compression.to_slots(by_position, plan, capacity), by_slot)
    for b in range(B):
        for t in range(T):
            compressed, rows = mask[b, t, :columns].sum(), mask[b, t, columns:].sum()
            expected = [by_slot[b, 0, t, slots - compressed : slots], by_slot[b, 0, t, slots + capacity + 1 - rows :]]
            assert torch.equal(by_position[b, 0, t][mask[b, t]], torch.cat(expected))


def test_what_no_step_sees_is_zero():
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 1] = True
    plan = compression.leaving(torch.tensor([3, 3, 3]), torch.tensor([2, 2, 2]), starts, 2, 2, 2)
    groups = plan.group.shape[1]
    columns = compression.columns_timeline(torch.full((B, 2, W), torch.nan), torch.ones(B, groups, W), plan)
    assert (columns[1, :2] == 0).all()
    assert columns[0, :2].isnan().all()
