"""A history whose oldest rows leave it in groups, and a second history of what each group became.

Beside the FIFO of :mod:`memagents.memory.history`, whose rows of the present episode number up to M = L + rate − 1,
stands a FIFO of C compressed rows. Each step appends a row; when that makes L + rate of them, the ``rate`` oldest leave
after the step and become one compressed row. So every row of the episode is always in one of the two, until its
compressed row is the oldest of more than C.

Episodes of different rows of the batch begin, and groups leave, at different steps. For a window of T steps all of it
follows from the counts before the window and from ``starts`` alone: :func:`leaving` plans it, before any row is known.
The compressed rows stand on a timeline of their own, of C + E *columns*, where E = ⌈T / rate⌉ is the greatest number of
groups that can leave within a window: first those before the window, then the window's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from memagents.memory import history
from memagents.memory.looking import may_look


class Leaving(NamedTuple):
    """A plan: which groups leave in a window of T steps, and what each step sees. B rows; L, M, C and E as above."""

    first: Tensor  # int64 (B, T): where the rows that a step sees begin on the timeline of M + T rows
    first_after: Tensor  # int64 (B, 1): where those begin that stay after the window
    group: Tensor  # int64 (B, E): where on that timeline a group's rows begin, which is the step after which it leaves
    left: Tensor  # booleans (B, E): whether there is such a group; those that there are come first
    first_column: Tensor  # int64 (B, T): where the compressed rows of a step's episode begin
    columns: Tensor  # int64 (B, T, C): the last C columns before a step
    columns_after: Tensor  # int64 (B, C): the last C columns after the window


def leaving(filled: Tensor, compressed_filled: Tensor, starts: Tensor, length: int, slots: int, rate: int) -> Leaving:
    """Plan which rows leave, and when.

    :param filled: how many rows of the present episode the history holds, int64 (B,), at most M
    :param compressed_filled: how many compressed rows of it there are, int64 (B,), at most C
    :param starts: (T, B) booleans, true where step t begins an episode
    :param length: L
    :param slots: C
    :param rate: rows of a group
    """
    steps, capacity = len(starts), length + rate - 1
    begun = history.first_positions(filled, starts, capacity)  # (B, T)
    before = torch.arange(capacity, capacity + steps, device=starts.device) - begun  # rows on the timeline before t
    groups = ((before - length).div(rate, rounding_mode="floor")).clamp(min=0)  # that left before t
    first = begun + groups * rate
    leaves = before - groups * rate == capacity

    greatest = -(-steps // rate)
    group = torch.argsort(leaves.logical_not().to(torch.int8), dim=1, stable=True)[:, :greatest]
    count = leaves.to(torch.int64).cumsum(dim=1)  # in the window, after t
    column = slots + count - leaves.to(torch.int64)  # the next free one at t
    first_column = torch.where(starts.T, column, (slots - compressed_filled).unsqueeze(1)).cummax(dim=1).values
    last = torch.arange(-slots, 0, device=starts.device)
    return Leaving(
        first=first,
        first_after=first[:, -1:] + rate * leaves[:, -1:],
        group=group,
        left=leaves.gather(1, group),
        first_column=first_column,
        columns=column.unsqueeze(2) + last,
        columns_after=slots + count[:, -1:] + last,
    )


def groups_of(plan: Leaving) -> tuple[Tensor, Tensor]:
    """The batch rows and the numbers of the G groups that leave, int64 (G,) both.

    Where they may not be looked at, of all E groups of all rows, whether there are such or not.
    """
    if may_look(plan.left):
        rows, numbers = plan.left.nonzero(as_tuple=True)
        return rows, numbers
    batch, groups = plan.left.shape
    rows = torch.arange(batch, device=plan.left.device).repeat_interleave(groups, output_size=batch * groups)
    return rows, torch.arange(groups, device=plan.left.device).repeat(batch)


def take(whole: Tensor, rows: Tensor, begin: Tensor, count: int) -> Tensor:
    """Rows of timelines, ``count`` in succession from each of some positions.

    :param whole: (B, P, W)
    :param rows: whose timelines, int64 (G,)
    :param begin: int64 (G,)
    :return: (G, count, W)
    """
    return whole[rows.unsqueeze(1), begin.unsqueeze(1) + torch.arange(count, device=begin.device)]


def trimmed(plan: Leaving, rows: Tensor, compressed: Tensor) -> tuple[Leaving, Tensor, Tensor]:
    """Leave out the oldest rows and compressed rows that no step sees, see :func:`memagents.memory.history.trimmed`.

    Not for an accelerator, which would have to be waited for.

    :param rows: (B, ..., M, W)
    :param compressed: (B, ..., C, W)
    :return: the plan with positions and columns as they are then, (B, ..., M', W) and (B, ..., C', W)
    """
    rows, first = history.trimmed(rows, plan.first)
    positions = plan.first[:1, :1] - first[:1, :1]
    columns = plan.first_column.min().clamp(max=compressed.shape[-2])
    plan = Leaving(
        first=first,
        first_after=plan.first_after - positions,
        group=plan.group - positions,
        left=plan.left,
        first_column=plan.first_column - columns,
        columns=plan.columns - columns,
        columns_after=plan.columns_after - columns,
    )
    return plan, rows, compressed[..., int(columns) :, :]


def columns_timeline(compressed: Tensor, new: Tensor, plan: Leaving) -> Tensor:
    """The compressed rows and those of the window's groups; what no step sees any more is zero, whatever it was.

    :param compressed: (B, C, W)
    :param new: (B, E, W)
    :return: (B, C + E, W)
    """
    known = torch.arange(compressed.shape[1], device=new.device) >= plan.first_column[:, :1]
    return torch.cat([torch.where(known.unsqueeze(2), compressed, 0), new], dim=1)


def sees(plan: Leaving, length: int, rate: int) -> Tensor:
    """Mark the columns and positions that each step sees: (B, T, C + E + M + T) booleans."""
    slots, groups = plan.columns.shape[2], plan.group.shape[1]
    column = torch.arange(slots + groups, device=plan.first.device)
    oldest = torch.maximum(plan.columns[..., :1], plan.first_column.unsqueeze(2))
    compressed = (column >= oldest) & (column <= plan.columns[..., -1:])
    return torch.cat([compressed, history.sees(plan.first, length + rate - 1, length + rate)], dim=2)


def runs(plan: Leaving, length: int, rows: int, compressed: int) -> Tensor:
    """What :func:`sees` marks, as two runs for each step, see :func:`memagents.memory.history.runs`: (B, T, 2, 3).

    :param length: M
    :param rows: M' of the timeline of rows, M unless the plan is :func:`trimmed`
    :param compressed: C' of that of the columns, C likewise
    """
    oldest, last = plan.columns[..., 0], plan.columns[..., -1]  # (B, T)
    begin = torch.maximum(oldest, plan.first_column)
    of_columns = torch.stack([begin, last + 1, begin - oldest], dim=-1)
    slots, before = plan.columns.shape[2], compressed + plan.group.shape[1]
    begin, end, age = history.runs(plan.first, rows, length + 1).squeeze(2).unbind(-1)
    of_rows = torch.stack([begin + before, end + before, age + slots], dim=-1)
    return torch.stack([of_columns, of_rows], dim=2)


def newest_compressed(columns: Tensor, plan: Leaving) -> Tensor:
    """The compressed rows after the window.

    :param columns: of :func:`columns_timeline`, (B, C + E, W)
    :return: (B, C, W), zero before the present episode
    """
    last = plan.columns_after  # (B, C)
    there = last.clamp(min=0)
    rows = torch.arange(columns.shape[0], device=columns.device).unsqueeze(1)
    return torch.where((last >= plan.first_column[:, -1:]).unsqueeze(2), columns[rows, there], 0)


def compressed_filled_after(plan: Leaving) -> Tensor:
    """Count the compressed rows of the present episode after the window, int64 (B,)."""
    return (plan.columns_after >= plan.first_column[:, -1:]).sum(dim=1)


def to_positions(by_slot: Tensor, plan: Leaving, length: int) -> Tensor:
    """Convert entries by slot to entries by column and position.

    :param by_slot: (B, heads, T, C + M + 1), of each step the last C columns and the last M + 1 positions to its own
    :param length: M
    :return: (B, heads, T, C + E + M + T), zero where no slot is
    """
    slots, groups = plan.columns.shape[2], plan.group.shape[1]
    of_columns, of_rows = by_slot[..., :slots], by_slot[..., slots:]
    empty = by_slot.new_zeros(*by_slot.shape[:-1], slots + groups)
    columns = plan.columns.unsqueeze(1).expand_as(of_columns)
    return torch.cat([empty.scatter(-1, columns, of_columns), history.skew(of_rows, length)], dim=-1)


def to_slots(by_position: Tensor, plan: Leaving, length: int) -> Tensor:
    """Back from :func:`to_positions`.

    :param by_position: (B, heads, T, C + E + M + T)
    :param length: M
    :return: (B, heads, T, C + M + 1)
    """
    slots, groups = plan.columns.shape[2], plan.group.shape[1]
    of_columns, of_rows = by_position[..., : slots + groups], by_position[..., slots + groups :]
    columns = plan.columns.unsqueeze(1).expand(*by_position.shape[:-1], -1)
    return torch.cat([of_columns.gather(-1, columns), history.unskew(of_rows, length + 1)], dim=-1)
