"""Reading and writing a few slots of many: Rae et al. 2016 (arXiv 1610.09027), section 3 and Supplement A.

A sparse weighting is a pair of ``indices``, int64, and ``weights`` of the same shape: weights[k] belongs to the slot
indices[k]. A slot may be named twice and then has the sum; an entry without a slot has the weight 0. But for the
searches (:func:`nearest`, :func:`least_recently_accessed`) no cost here depends on the number of slots, if what these
functions copy is changed in place instead (:mod:`memagents.memory.journal`).

Letters in shapes: B batch rows, N slots, W width of a slot, R read heads, M entries of a sparse weighting.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memagents.memory.addressing import cosine_similarity


def flat_rows(indices: Tensor, slots: int) -> Tensor:
    """Where slots stand in the rows of all batch rows, one after another.

    :param indices: (B, ...), each in 0 to N - 1
    :param slots: N
    :return: one-dimensional, each in 0 to B N - 1
    """
    offsets = slots * torch.arange(indices.shape[0], device=indices.device)
    return (indices + offsets.view(-1, *(1,) * (indices.dim() - 1))).flatten()


def take(table: Tensor, indices: Tensor) -> Tensor:
    """The rows of some slots.

    :param table: (B, N, ...)
    :param indices: (B, ·)
    :return: (B, ·, ...)
    """
    rows = table.flatten(0, 1).index_select(0, flat_rows(indices, table.shape[1]))
    return rows.unflatten(0, indices.shape)


def put(table: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """A copy of the table in which some slots have other rows.

    :param table: (B, N, ...)
    :param indices: (B, M); what is named twice must be given the same row twice
    :param rows: (B, M, ...)
    :return: (B, N, ...)
    """
    flat = table.flatten(0, 1).index_copy(0, flat_rows(indices, table.shape[1]), rows.flatten(0, 1))
    return flat.view_as(table)


# --- weightings -----------------------------------------------------------------------------------------------------


def totals(indices: Tensor, weights: Tensor) -> Tensor:
    """For each entry the weight of its slot: the sum of all entries that name it.

    :param indices: (..., M)
    :param weights: (..., M)
    :return: (..., M)
    """
    _, first, sums = _collected(indices, weights)
    return sums.gather(-1, first)


def strongest(indices: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The slots of the largest weights, each named once; the entries beyond those of positive weight are zero.

    :param indices: (..., M)
    :param weights: (..., M), non-negative
    :param count: how many, at most M
    :return: indices and weights, (..., count)
    """
    ascending, _, sums = _collected(indices, weights)
    weights, places = sums.topk(count, dim=-1)
    return torch.where(weights > 0, ascending.gather(-1, places), 0), weights


def _collected(indices: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The slots in ascending order, where in it each entry's slot stands first, and there the sum of its weights."""
    ascending = indices.sort(dim=-1).values
    first = torch.searchsorted(ascending, indices.contiguous())
    return ascending, first, torch.zeros_like(weights).scatter_add(-1, first, weights)


def repeated(indices: Tensor) -> Tensor:
    """Mark the entries that name a slot already named by an earlier one: (..., M) to booleans (..., M)."""
    return (indices.unsqueeze(-1) == indices.unsqueeze(-2)).tril(-1).any(-1)


def dense(indices: Tensor, weights: Tensor, slots: int) -> Tensor:
    """The weighting of all slots.

    :param indices: (..., M)
    :param weights: (..., M)
    :param slots: N
    :return: (..., N)
    """
    return weights.new_zeros(*weights.shape[:-1], slots).scatter_add(-1, indices, weights)


# --- reading --------------------------------------------------------------------------------------------------------


def gather(memory: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Some slots' content.

    :param memory: (B, N, W)
    :param indices: (B, M)
    :return: the memory, and rows (B, M, W)
    """
    return memory, take(memory, indices)


def nearest(memory: Tensor, written: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The exact search: the slots of the largest cosine similarity to each query.

    Only slots that were written are found. The paper's empty slots are all alike, so that rounding would decide which
    of them are read, and then written.

    :param memory: (B, N, W)
    :param written: booleans (B, N)
    :param queries: q, (B, R, W)
    :param count: K, at most N
    :return: indices (B, R, K), from the most similar on, and booleans (B, R, K), false where fewer slots were written
    """
    with torch.no_grad():
        similarity = cosine_similarity(memory, queries).masked_fill(~written.unsqueeze(1), -torch.inf)
        values, indices = similarity.topk(count, dim=-1)
        found = values > -torch.inf
        return torch.where(found, indices, 0), found


def content_weights(rows: Tensor, found: Tensor, queries: Tensor, strengths: Tensor) -> Tensor:
    """Equation 2 over the K slots that were found alone: a softmax of the cosine similarity times the strength.

    :param rows: (B, R, K, W)
    :param found: booleans (B, R, K)
    :param queries: q, (B, R, W)
    :param strengths: β, (B, R), in [1, inf)
    :return: (B, R, K); distributions, but zero where nothing was found
    """
    similarity = cosine_similarity(rows.flatten(0, 1), queries.flatten(0, 1).unsqueeze(1)).squeeze(1)
    scores = similarity.view_as(found) * strengths.unsqueeze(2)
    return scores.masked_fill(~found, torch.finfo(scores.dtype).min).softmax(dim=-1) * found


def read(rows: Tensor, weights: Tensor) -> Tensor:
    """Equation 4, r = Σ_k w[s_k] M[s_k].

    :param rows: (B, R, M, W)
    :param weights: (B, R, M)
    :return: (B, R, W)
    """
    return (weights.unsqueeze(2) @ rows).squeeze(2)


# --- writing --------------------------------------------------------------------------------------------------------


def write_weighting(
    read_indices: Tensor, read_weights: Tensor, oldest: Tensor, interpolation: Tensor, write_gate: Tensor
) -> tuple[Tensor, Tensor]:
    """Equation 5, w = α (γ r_{t-1} + (1 − γ) 1_LRA).

    :param read_indices: of r_{t-1}, (B, M)
    :param read_weights: of r_{t-1}, (B, M)
    :param oldest: the least recently accessed slot, (B,)
    :param interpolation: γ, (B, 1) in [0, 1]
    :param write_gate: α, (B, 1) in [0, 1]
    :return: indices and weights, (B, M + 1), the least recently accessed slot last
    """
    weights = write_gate * torch.cat([interpolation * read_weights, 1 - interpolation], dim=1)
    return torch.cat([read_indices, oldest.unsqueeze(1)], dim=1), weights


def write(memory: Tensor, indices: Tensor, weights: Tensor, vector: Tensor, erased: Tensor) -> Tensor:
    """Equations 3 and 8: one slot is set to zero, then w aᵀ is added.

    :param memory: M_{t-1}, (B, N, W)
    :param indices: of w, (B, M)
    :param weights: of w, (B, M)
    :param vector: a, (B, W)
    :param erased: the slot that is set to zero, (B,)
    :return: M_t, (B, N, W)
    """
    slots = memory.shape[1]
    added = (weights.unsqueeze(2) * vector.unsqueeze(1)).flatten(0, 1)
    rows = memory.flatten(0, 1).index_fill(0, flat_rows(erased, slots), 0)
    return rows.index_add(0, flat_rows(indices, slots), added).view_as(memory)


# --- usage ----------------------------------------------------------------------------------------------------------


def least_recently_accessed(last_access: Tensor) -> Tensor:
    """Equation 6 of the slots' ages: the one that was accessed longest ago; of several the first.

    A search through N integers; the paper's ring of slots in the order of access would save it.

    :param last_access: int64 (B, N)
    :return: (B,)
    """
    return last_access.argmin(dim=1)


def access_times(
    last_access: Tensor, now: Tensor, indices: Tensor, weights: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """When slots were last accessed with a weight above the threshold: T − U^(2) of section 3.2.

    :param last_access: before this step, int64 (B, N)
    :param now: this step, int64 (B,)
    :param indices: of w^W + w^R, (B, M)
    :param weights: of w^W + w^R, (B, M); what names one slot counts together
    :param threshold: δ
    :return: indices and times, (B, M), for :func:`put`
    """
    accessed = totals(indices, weights.detach()) > threshold
    return indices, torch.where(accessed, now.unsqueeze(1), last_access.gather(1, indices))
