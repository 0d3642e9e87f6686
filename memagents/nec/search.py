"""Exact nearest neighbours by Euclidean distance, the same on the CPU and on an accelerator.

Half the squared distance is |k|²/2 − q·k plus what all keys share, and one matrix product gives it for all keys. But it
is a difference of large numbers, which may even come out negative for a key that is near. So this *score* only chooses
candidates, some more than the neighbours asked for; among them the distances, computed directly, decide.

The candidates of a query are found by blocks of keys: the blocks of the M lowest minima hold all the M lowest scores.
Nothing here depends on the data, nor on the order in which keys were stored.

Letters in shapes: N keys, W width of a key, B queries, P neighbours, M candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

SPARE = 14  # candidates beyond the neighbours: so many may be put in a wrong order by the rounding of the scores
_BLOCK = 16  # keys; fewer give more minima to choose from, more give more scores to choose from after that
_QUERIES = 64  # searched for at once
_CPU_SCORES = 2**18, 2**22  # computed at once, and kept at once: so many stay in the caches
_OTHER_SCORES = 2**26, 2**26


def half_squared_norms(keys: Tensor) -> Tensor:
    """|k|²/2: (..., W) to (...)."""
    return keys.square().sum(-1) / 2


@torch.no_grad()
def nearest(keys: Tensor, half_norms: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest keys to each query.

    A key nearer than the last one found can only be missed if the rounding of its score, about 1e-6 |k|², is more than
    what lies between that one and a dozen keys after it.

    :param keys: (N, W), at least one
    :param half_norms: of the keys, :func:`half_squared_norms`, (N,)
    :param queries: (B, W), at least one
    :param count: P
    :return: squared distances (B, P) in ascending order, never negative, and rows of the keys, int64 (B, P); among
        equal distances the lower row first. Where N < P both are (B, N).
    """
    found = [_nearest(keys, half_norms, some, min(count, len(keys))) for some in queries.split(_QUERIES)]
    distances, rows = zip(*found, strict=True)
    return torch.cat(distances), torch.cat(rows)


def _nearest(keys: Tensor, half_norms: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    candidates = _candidates(keys, half_norms, queries, min(count + SPARE, len(keys)))  # (B, M)
    near = keys.index_select(0, candidates.flatten()).view(*candidates.shape, -1)
    distances = near.sub_(queries.unsqueeze(1)).square_().sum(-1)
    # The candidates ascend, and the sort is stable: the lower row is first.
    distances, order = distances.sort(dim=1, stable=True)
    return distances[:, :count], candidates.gather(1, order[:, :count])


def _candidates(keys: Tensor, half_norms: Tensor, queries: Tensor, count: int) -> Tensor:
    """The rows of the lowest scores, ascending, int64 (B, M)."""
    if len(keys) == count:
        return torch.arange(count, device=keys.device).expand(len(queries), -1)
    transposed = queries.T.contiguous()
    at_once, kept = (n // len(queries) for n in (_CPU_SCORES if keys.device.type == "cpu" else _OTHER_SCORES))
    scores, rows = [], []
    for begin in range(0, len(keys), kept):
        end = min(begin + kept, len(keys))
        lowest, places = _lowest(_scores(keys[begin:end], half_norms[begin:end], transposed, at_once), count)
        scores.append(lowest)
        rows.append(places + begin)
    places = torch.cat(scores, dim=1).topk(count, dim=1, largest=False, sorted=False).indices
    return torch.cat(rows, dim=1).gather(1, places).sort(dim=1).values


def _scores(keys: Tensor, half_norms: Tensor, transposed: Tensor, at_once: int) -> Tensor:
    """|k|²/2 − q·k: (N, B)."""
    scores = keys.new_empty(len(keys), transposed.shape[1])
    for some, norms, result in zip(keys.split(at_once), half_norms.split(at_once), scores.split(at_once), strict=True):
        torch.mm(some, transposed, out=result)  # with ``out`` autocast leaves it in float32
        torch.sub(norms.unsqueeze(1), result, out=result)
    return scores


def _lowest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The lowest scores of each query: scores (N, B) to scores and places, (B, M), or (B, N) where N < M."""
    total, batch = scores.shape
    whole = total // _BLOCK
    if whole < 2 * count:
        return scores.T.contiguous().topk(min(count, total), dim=1, largest=False, sorted=False)
    blocks = scores[: whole * _BLOCK].view(whole, _BLOCK, batch)
    chosen = blocks.amin(1).T.contiguous().topk(count, dim=1, largest=False, sorted=False).indices
    places = (chosen.unsqueeze(2) * _BLOCK + torch.arange(_BLOCK, device=scores.device)).flatten(1)
    rest = torch.arange(whole * _BLOCK, total, device=scores.device).expand(batch, -1)
    places = torch.cat([places, rest], dim=1)  # (B, M _BLOCK + what is left of a block)
    of_query = torch.arange(batch, device=scores.device).unsqueeze(1)
    lowest, order = scores.take(places * batch + of_query).topk(count, dim=1, largest=False, sorted=False)
    return lowest, places.gather(1, order)
