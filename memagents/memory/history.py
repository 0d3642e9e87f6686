"""The last L rows of an episode, and what each step of a window sees of them.

A history is a FIFO ``rows`` (B, L, W), oldest first, of which the last ``filled`` (B,) are of the present episode and
the others zero. A window of T new rows follows it on a *timeline* of L + T positions: the new row of step t stands at
position L + t. All steps of a window can then look back at once, each by its own line of a mask, instead of one after
another::

    >>> import torch
    >>> rows, filled = torch.zeros(1, 3, 2), torch.zeros(1, dtype=torch.int64)      # L = 3, nothing yet
    >>> new, starts = torch.randn(1, 4, 2), torch.tensor([[0], [0], [1], [0]]) > 0  # T = 4, an episode begins at 2
    >>> first = first_positions(filled, starts, 3)
    >>> sees(first, 3, 2).int()[0]                                                  # itself and one before, (T, L + T)
    tensor([[0, 0, 0, 1, 0, 0, 0],
            [0, 0, 0, 1, 1, 0, 0],
            [0, 0, 0, 0, 0, 1, 0],
            [0, 0, 0, 0, 0, 1, 1]], dtype=torch.int32)
    >>> whole = timeline(rows, new, first)
    >>> rows, filled = newest(whole, first, 3), filled_after(first, 3)
    >>> filled
    tensor([2])
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from memagents.memory.looking import may_look


def first_positions(filled: Tensor, starts: Tensor, length: int) -> Tensor:
    """Where on the timeline the episode of each step begins, as far as it is kept.

    :param filled: how many rows of the present episode the history holds, int64 (B,), at most L
    :param starts: (T, B) booleans, true where step t begins an episode
    :param length: L
    :return: int64 (B, T), each in 0 to L + t
    """
    positions = torch.arange(length, length + len(starts), device=starts.device)  # of the steps
    began = torch.where(starts.T, positions, (length - filled).unsqueeze(1))  # (B, T)
    return began.cummax(dim=1).values


def trimmed(rows: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out the oldest rows of the history that no step sees: a shorter history, and where episodes begin in it.

    How many those are depends on all rows of the batch; where they may not be looked at, none is left out.

    :param rows: (..., L, W)
    :param first: of :func:`first_positions`, (B, T)
    :return: rows (..., L', W) with L' from 1 to L, a view; and (B, T), each in 0 to L' + t
    """
    length = rows.shape[-2]
    if not may_look(rows):
        return rows, first
    positions = torch.arange(length, length + first.shape[1])
    left_out = length - min(max(int((positions - first).max()), 1), length)
    return (rows[..., left_out:, :], first - left_out) if left_out else (rows, first)


def sees(first: Tensor, length: int, span: int) -> Tensor:
    """Mark the positions that each step sees: its own and those before it, ``span`` at most, of its episode alone.

    :param first: of :func:`first_positions`, (B, T)
    :param length: L
    :param span: 1 to L + 1
    :return: (B, T, L + T) booleans; in each line at least one is true
    """
    positions = torch.arange(length + first.shape[1], device=first.device)
    own = positions[length:].unsqueeze(1)  # (T, 1)
    near = (positions <= own) & (positions > own - span)
    return near & (positions >= first.unsqueeze(2))


def runs(first: Tensor, length: int, span: int) -> Tensor:
    """What :func:`sees` marks, as one run of positions for each step: int64 (B, T, 1, 3).

    Of a run its first position, the one after its last, and the age of the first as a number from 0, for the oldest of
    ``span`` positions, to span − 1, for the step's own.

    :param first: of :func:`first_positions`, (B, T)
    :param length: L
    :param span: 1 to L + 1
    """
    after = torch.arange(length + 1, length + 1 + first.shape[1], device=first.device).expand_as(first)
    begin = torch.maximum(first, after - span)
    return torch.stack([begin, after, begin - after + span], dim=-1).unsqueeze(2)


def runs_of_step(filled: Tensor, starts: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """What a single step sees of a history beside its own row, and how much of it is filled after it.

    :param filled: int64 (B,), before the step
    :param starts: (B,) booleans
    :param length: L
    :return: one run for each row as of :func:`runs`, int64 (B, 1, 3), of positions that are those of the history and
        ages from 0, the oldest, to L − 1; and int64 (B,)
    """
    filled = torch.where(starts, 0, filled)
    begin = (length - filled).unsqueeze(1)
    return torch.stack([begin, torch.full_like(begin, length), begin], dim=-1), (filled + 1).clamp(max=length)


def shift(rows: Tensor, new: Tensor, starts: Tensor, after: Tensor) -> None:
    """Write to ``after`` the histories after a single step; without a gradient.

    :param rows: (B, ..., L, W), zero before the present episode
    :param new: the step's row, (B, ..., W)
    :param starts: (B,) booleans
    :param after: like ``rows``
    """
    after[..., :-1, :] = rows[..., 1:, :]
    after[starts, ..., :-1, :] = 0
    after[..., -1, :] = new


def timeline(rows: Tensor, new: Tensor, first: Tensor) -> Tensor:
    """The history and the rows after it; what no step sees any more is zero, whatever it was.

    :param rows: (B, L, W)
    :param new: (B, T, W)
    :param first: of :func:`first_positions`, (B, T)
    :return: (B, L + T, W)
    """
    known = torch.arange(rows.shape[1], device=rows.device) >= first[:, :1]  # (B, L)
    return torch.cat([torch.where(known.unsqueeze(2), rows, 0), new.to(rows.dtype)], dim=1)


def newest(whole: Tensor, first: Tensor, length: int) -> Tensor:
    """The history after the window.

    :param whole: of :func:`timeline`, (B, L' + T, W), from a history of L' rows, L at most
    :param first: of :func:`first_positions` or, of a shorter history, of :func:`trimmed`, (B, T)
    :param length: L
    :return: (B, L, W), zero before the present episode
    """
    last = whole[:, max(whole.shape[1] - length, 0) :]
    positions = torch.arange(whole.shape[1] - last.shape[1], whole.shape[1], device=whole.device)
    kept = torch.where((positions >= first[:, -1:]).unsqueeze(2), last, 0)
    return functional.pad(kept, (0, 0, length - kept.shape[1], 0)) if kept.shape[1] < length else kept


def filled_after(first: Tensor, length: int) -> Tensor:
    """Count the rows of the present episode that the history holds after the window, int64 (B,).

    :param first: of :func:`first_positions`, (B, T)
    :param length: L
    """
    return (length + first.shape[1] - first[:, -1]).clamp(max=length)


def skew(by_age: Tensor, length: int) -> Tensor:
    """From what belongs to an age to what belongs to a position: shift line t by t to the right.

    :param by_age: (..., T, S), of each step the S positions from the oldest it sees to its own
    :param length: L, at least S - 1
    :return: (..., T, L + T), zero outside of what a step sees
    """
    steps, span = by_age.shape[-2:]
    # Line t of a matrix one column wider, read without that column, moves by t (Dai et al. 2019, Appendix B).
    padded = functional.pad(by_age, (length + 1 - span, steps)).flatten(-2)
    return padded[..., : steps * (length + steps)].unflatten(-1, (steps, length + steps))


def unskew(by_position: Tensor, span: int) -> Tensor:
    """From what belongs to a position to what belongs to an age, back from :func:`skew`.

    :param by_position: (..., T, L + T)
    :param span: S, 1 to L + 1
    :return: (..., T, S), of each step the S positions from the oldest to its own
    """
    steps, positions = by_position.shape[-2:]
    # Line t of a matrix one column wider begins t earlier.
    shifted = functional.pad(by_position.flatten(-2), (0, steps)).unflatten(-1, (steps, positions + 1))
    oldest = positions - steps + 1 - span
    return shifted[..., oldest : oldest + span]


def windows(whole: Tensor, steps: int, span: int) -> Tensor:
    """The rows that each step may see, by age: a view, which only elementwise operations should be given.

    :param whole: of :func:`timeline`, (B, L + T, W)
    :param steps: T
    :param span: S, 1 to L + 1
    :return: (B, T, S, W), of each step the S rows from the oldest to its own
    """
    return whole[:, whole.shape[1] - steps + 1 - span :].unfold(1, span, 1).transpose(2, 3)
