"""Remembering the order of writes with a few links of each slot: Rae et al. 2016 (arXiv 1610.09027), Supplement D.1.

The paper's N approximates the DNC's link matrix L, and its P the transpose, each with at most K_L links in a row: N's
row of a slot holds what was written before it, P's what was written after it. Beside what a full row drops, P is N
transposed (equations 19 and 20). Here both are read along their rows, b = Nᵀ r and f = Pᵀ r, since the rows of what was
read are few whatever the number of slots; and the diagonal is zero, as in L.

A link is forgotten as the later of its two slots is written anew. In P, where that would change rows all over, each
link notes how much had been forgotten of the later slot as it was made (:attr:`SparseLinks.kept`), and what was
forgotten since is taken off as it is read. What is forgotten of the earlier slot is not taken off, as in the paper.

No gradient goes through links, as in the paper. Letters in shapes: B batch rows, N slots, L links of a slot (K_L), M
entries of a sparse weighting, R read heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from memagents.memory.sparse import strongest, take, totals

_EPSILON = 1e-6


class SparseLinks(NamedTuple):
    """The links, without gradients. Slots are int64; a link of weight 0 is none."""

    before: Tensor  # (B, N, L): slots written before each
    before_weights: Tensor  # (B, N, L)
    after: Tensor  # (B, N, L): slots written after each
    after_weights: Tensor  # (B, N, L), as they were made
    after_kept: Tensor  # (B, N, L): ``kept`` of the later slot, as they were made
    kept: Tensor  # (B, N): Σ_t log(1 − w_t)
    precedence: Tensor  # (B, L): slots written last
    precedence_weights: Tensor  # (B, L)


def no_links(batch_size: int, slots: int, links: int, like: Tensor) -> SparseLinks:
    """N_0 = P_0 = p_0 = 0.

    :param like: of the weights' dtype and device
    """
    rows, few = (batch_size, slots, links), (batch_size, links)
    return SparseLinks(
        before=like.new_zeros(rows, dtype=torch.int64),
        before_weights=like.new_zeros(rows),
        after=like.new_zeros(rows, dtype=torch.int64),
        after_weights=like.new_zeros(rows),
        after_kept=like.new_zeros(rows),
        kept=like.new_zeros(rows[:2]),
        precedence=like.new_zeros(few, dtype=torch.int64),
        precedence_weights=like.new_zeros(few),
    )


def update_links(
    links: SparseLinks, indices: Tensor, weights: Tensor, put: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> SparseLinks:
    """N_t[i, j] = (1 − w[i]) N_{t-1}[i, j] + w[i] p_{t-1}[j]; P_t[i, j] = (1 − w[j]) P_{t-1}[i, j] + w[j] p_{t-1}[i];
    p_t = (1 − Σ w) p_{t-1} + w; of each row and of p_t the K_L largest.

    :param indices: of w_t, (B, M)
    :param weights: of w_t, (B, M)
    :param put: :func:`memagents.memory.sparse.put` or its equal in place
    """
    size = links.before.shape[2]
    written = totals(indices, weights).unsqueeze(2)  # (B, M, 1)
    earlier, earlier_weights = links.precedence.unsqueeze(1), links.precedence_weights.unsqueeze(1)  # (B, 1, L)
    new = (written * earlier_weights).masked_fill(earlier == indices.unsqueeze(2), 0)
    before, before_weights = strongest(
        torch.cat([take(links.before, indices), earlier.expand_as(new)], dim=2),
        torch.cat([(1 - written) * take(links.before_weights, indices), new], dim=2),
        size,
    )

    kept = take(links.kept, indices) + (1 - written.squeeze(2)).clamp(min=_EPSILON).log()
    kept = put(links.kept, indices, kept)
    rows = links.precedence
    later, later_weights = links_after(links._replace(kept=kept), rows)  # (B, L, L)
    new = totals(rows, links.precedence_weights).unsqueeze(2) * weights.unsqueeze(1)  # (B, L, M)
    new = new.masked_fill(rows.unsqueeze(2) == indices.unsqueeze(1), 0)
    after, after_weights = strongest(
        torch.cat([later, indices.unsqueeze(1).expand(-1, size, -1)], dim=2),
        torch.cat([later_weights, new], dim=2),
        size,
    )
    after_kept = kept.gather(1, after.flatten(1)).view_as(after_weights)

    precedence, precedence_weights = strongest(
        torch.cat([rows, indices], dim=1),
        torch.cat([(1 - weights.sum(1, keepdim=True)) * links.precedence_weights, weights], dim=1),
        size,
    )
    return SparseLinks(
        before=put(links.before, indices, before),
        before_weights=put(links.before_weights, indices, before_weights),
        after=put(links.after, rows, after),
        after_weights=put(links.after_weights, rows, after_weights),
        after_kept=put(links.after_kept, rows, after_kept),
        kept=kept,
        precedence=precedence,
        precedence_weights=precedence_weights,
    )


def backward_weighting(links: SparseLinks, indices: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """b_t = Nᵀ r_{t-1}, the largest of it: what was written before what was read.

    :param indices: of r_{t-1}, (B, R, M)
    :param weights: of r_{t-1}, (B, R, M)
    :param count: how many slots
    :return: indices and weights, (B, R, count)
    """
    slots = indices.flatten(1)
    return _followed(take(links.before, slots), take(links.before_weights, slots), weights, count)


def forward_weighting(links: SparseLinks, indices: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """f_t = Pᵀ r_{t-1}, the largest of it: what was written after what was read.

    A slot may have several that were written after it, at different times, with a sum above 1. Then f_t is divided by
    its sum.

    :param indices: of r_{t-1}, (B, R, M)
    :param weights: of r_{t-1}, (B, R, M)
    :param count: how many slots
    :return: indices and weights, (B, R, count)
    """
    slots, found = _followed(*links_after(links, indices.flatten(1)), weights, count)
    return slots, found / found.sum(2, keepdim=True).clamp(min=1)


def sharpened(weights: Tensor, sharpness: Tensor) -> Tensor:
    """((d + ε) / max (d + ε))^s over its sum, of the slots that a link leads to; zeros stay zeros.

    What :func:`memagents.memory.linkage.sharpened` is to links between all slots (Csordás and Schmidhuber 2019, arXiv
    1904.10278, section 3.3), but without links there is nothing here, where that is uniform.

    :param weights: d, of :func:`forward_weighting` or :func:`backward_weighting`, (B, R, K)
    :param sharpness: s, (B, R) in [1, inf)
    :return: (B, R, K), with sums of 1, or of 0 where nothing was linked
    """
    none = weights == 0
    logs = sharpness.unsqueeze(2) * (weights + _EPSILON).log()
    return torch.softmax(logs.masked_fill(none, torch.finfo(logs.dtype).min), dim=-1).masked_fill(none, 0)


def links_after(links: SparseLinks, slots: Tensor) -> tuple[Tensor, Tensor]:
    """P's rows of some slots as they are now: indices and weights, (B, ·, L)."""
    later = take(links.after, slots)
    forgotten = links.kept.gather(1, later.flatten(1)).view(later.shape) - take(links.after_kept, slots)
    return later, take(links.after_weights, slots) * forgotten.exp()


def _followed(linked: Tensor, link_weights: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Where the links of what was read lead to.

    :param linked: (B, R M, L)
    :param link_weights: (B, R M, L)
    :param weights: (B, R, M)
    """
    products = weights.flatten(1).unsqueeze(2) * link_weights
    heads = (weights.shape[1], -1)
    return strongest(linked.flatten(1).unflatten(1, heads), products.flatten(1).unflatten(1, heads), count)
