"""Attention to a few chunks of the past, and then within them: Lampinen et al. 2021.

The steps of an episode are chunks of C, one after another from its start. A step can look into those that were complete
before it. Rows stand on a timeline, see :mod:`memagents.memory.history`; a chunk is named by the position of its first
row, of which there are P = L + T − C + 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memagents.memory import selection


def phases(phase: Tensor, starts: Tensor, size: int) -> Tensor:
    """Count the steps of the chunk being filled that lie before each step of a window.

    :param phase: that of the window's first step if no episode begins there, int64 (B,), from 0 to C − 1
    :param starts: (T, B) booleans, true where step t begins an episode
    :param size: C
    :return: int64 (B, T), each from 0 to C − 1
    """
    steps = torch.arange(len(starts), device=starts.device)
    begun = torch.where(starts.T, steps, -phase.unsqueeze(1)).cummax(dim=1).values
    return (steps - begun) % size


def means(rows: Tensor, size: int) -> Tensor:
    """The mean of every C rows that follow one another: the keys of all chunks that there may be.

    :param rows: of a timeline, (B, L + T, W)
    :param size: C
    :return: (B, P, W)
    """
    return rows.unfold(1, size, 1).mean(dim=-1)


def readable(first: Tensor, phases: Tensor, length: int, size: int, count: int) -> Tensor:
    """Mark the chunks into which each step can look: the last ``count`` of its episode that were complete before it.

    :param first: where on the timeline each step's episode begins, (B, T)
    :param phases: of :func:`phases`, (B, T)
    :param length: L
    :param size: C
    :param count: M
    :return: booleans (B, T, P)
    """
    steps = first.shape[1]
    begins = torch.arange(length + steps - size + 1, device=first.device)
    filling = (torch.arange(length, length + steps, device=first.device) - phases).unsqueeze(2)  # its first position
    back = filling - begins
    return (back % size == 0) & (back > 0) & (back <= size * count) & (begins >= first.unsqueeze(2))


def choose(scores: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` chunks of the highest scores, and their softmax; of fewer the others weigh nothing, of none all.

    :param scores: (B, T, P)
    :param mask: booleans (B, T, P), true for the chunks that may be chosen
    :param count: k
    :return: weights (B, T, K) and positions int64 (B, T, K), K the smaller of k and P
    """
    among = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    highest, chosen = among.topk(min(count, scores.shape[-1]), dim=-1)
    return selection.soft(highest, mask.gather(-1, chosen)), chosen


def take(rows: Tensor, begins: Tensor, size: int) -> Tensor:
    """The rows of chunks.

    :param rows: of a timeline, (B, L + T, W)
    :param begins: int64 (B, T, K)
    :param size: C
    :return: (B, T, K, C, W)
    """
    batch, positions, _ = rows.shape
    places = begins.unsqueeze(-1) + torch.arange(size, device=begins.device)
    places = places + positions * torch.arange(batch, device=begins.device).view(-1, 1, 1, 1)
    return rows.reshape(batch * positions, -1).index_select(0, places.flatten()).view(*places.shape, -1)


def look_within(queries: Tensor, contents: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_j w_j Σ_i softmax_i(q · c_ji) c_ji: attention within each chunk, summed by the chunks' weights.

    :param queries: q of the heads in the space of contents, scaled, (B, T, H, W)
    :param contents: c, (B, T, K, C, W)
    :param weights: w, (B, T, K)
    :return: (B, T, H, W), and the weights of all rows, (B, T, H, K, C)
    """
    rows = contents.flatten(2, 3)
    scores = (queries @ rows.transpose(-1, -2)).unflatten(-1, contents.shape[2:4])
    shares = scores.softmax(dim=-1) * weights.unsqueeze(2).unsqueeze(-1)
    return shares.flatten(3) @ rows, shares
