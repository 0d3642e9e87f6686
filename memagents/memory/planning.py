"""Planning over what was seen: self-attention among rows, again and again, and the maximum over them (Ritter 2020)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from memagents.memory import history


def transitions(before: Tensor, after: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """What happened in each step of the episode so far, for each step of a window, and which of it did happen.

    :param before: of each position of a timeline as the one where a transition begins, (B, L + T, W), see
        :mod:`memagents.memory.history`
    :param after: and as the one where it ends, likewise
    :param first: where on the timeline each step's episode begins, (B, T)
    :return: for each step the sums of both parts of the last L transitions, oldest first, the last of which ends at the
        step's own position, (B, T, L, W), a view; and booleans (B, T, L), true for those of its episode
    """
    steps = first.shape[1]
    length = before.shape[1] - steps
    pairs = before[:, :-1] + after[:, 1:]
    begins = torch.arange(steps, device=first.device).unsqueeze(1) + torch.arange(length, device=first.device)
    return history.windows(pairs, steps, length), begins >= first.unsqueeze(2)


class Packed(NamedTuple):
    """Where the rows of a window stand if only those that there are stand one after another: of each of B T steps the
    transitions, oldest first, and then a row of its own; M rows in all."""

    rows: Tensor  # int64 (M,): numbers among the B (L + T − 1) transitions of a timeline and then the B T own rows
    steps: Tensor  # int64 (M,): numbers of the steps whose they are, among B T
    counts: Tensor  # int64 (B T,): how many rows a step has
    runs: Tensor  # int64 (1, M, 1, 3): the rows that each row sees, see :func:`memagents.memory.history.runs`


def packed(first: Tensor, length: int) -> Packed:
    """Find the rows of :func:`transitions` that there are.

    :param first: where on the timeline each step's episode begins, (B, T)
    :param length: L
    """
    batch, steps = first.shape
    own = torch.arange(length, length + steps, device=first.device)
    counts = (own - first).clamp(max=length).flatten() + 1
    ends = counts.cumsum(0)
    numbers = torch.arange(batch * steps, device=first.device)
    of_step = torch.repeat_interleave(numbers, counts)
    line = numbers // steps * (length + steps - 1) + own.repeat(batch)  # of the transition that begins at the step
    rows = torch.arange(len(of_step), device=first.device) + (line - ends + 1)[of_step]
    rows[ends - 1] = batch * (length + steps - 1) + numbers
    runs = torch.stack([ends - counts, ends, torch.zeros_like(ends)], dim=1)
    return Packed(rows, of_step, counts, runs.index_select(0, of_step).view(1, -1, 1, 3))


def masked_max(rows: Tensor, mask: Tensor) -> Tensor:
    """The maximum of each feature over some rows.

    :param rows: (..., N, W)
    :param mask: booleans (..., N), true for the rows that count, at least one
    :return: (..., W)
    """
    return rows.masked_fill(~mask.unsqueeze(-1), torch.finfo(rows.dtype).min).amax(dim=-2)


def maximal_shares(rows: Tensor, mask: Tensor) -> Tensor:
    """Of each row the share of the features of which it has the maximum, of equal ones the first; without a gradient.

    :param rows: (..., N, W)
    :param mask: booleans (..., N), true for the rows that count, at least one
    :return: (..., N), distributions over the rows
    """
    rows = rows.detach().masked_fill(~mask.unsqueeze(-1), torch.finfo(rows.dtype).min)
    return functional.one_hot(rows.argmax(dim=-2), rows.shape[-2]).to(rows.dtype).mean(dim=-2)
