"""Finding similar slots without looking at all of them: locality-sensitive hashing of directions (Charikar 2002).

A hyperplane through the origin separates vectors by their sides; some hyperplanes make a code, and vectors with a
small angle between them often have the same one. A table has a bucket for each code. Several tables, each with its own
hyperplanes, make it likely that two similar vectors meet in one of them. This is the index for wide slots of Rae et al.
2016, section 3.5.

The buckets are bounded: each keeps the slots that entered it last. A slot whose content changed enters another bucket
and its old entry is left behind, to be known by its code, which is no longer that of the bucket.

Letters in shapes: B batch rows, N slots, W width of a slot, R queries, L tables, S places in a bucket, M changed slots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from memagents.memory.addressing import cosine_similarity
from memagents.memory.sparse import repeated, take


class HashIndex(NamedTuple):
    """Where each slot is to be found. All int64."""

    codes: Tensor  # (B, N, L): of each slot in each table; -1 at first
    buckets: Tensor  # (B, L 2^bits S + 1): slots; the last place is for what has no bucket
    entered: Tensor  # (B, L 2^bits): how many slots entered each bucket so far


def hyperplanes(tables: int, bits: int, width: int, seed: int = 0) -> Tensor:
    """Normals of random hyperplanes, always the same.

    :return: (L, bits, W)
    """
    return torch.randn(tables, bits, width, generator=torch.Generator().manual_seed(seed))


def hash_codes(vectors: Tensor, planes: Tensor) -> Tensor:
    """On which side of each hyperplane a vector lies, as a number in 0 to 2^bits - 1 for each table.

    :param vectors: (..., W)
    :param planes: of :func:`hyperplanes`, (L, bits, W)
    :return: int64 (..., L)
    """
    tables, bits, _ = planes.shape
    sides = (vectors @ planes.flatten(0, 1).T).unflatten(-1, (tables, bits)) > 0
    return (sides.long() << torch.arange(bits, device=vectors.device)).sum(-1)


def empty_index(batch_size: int, slots: int, tables: int, bits: int, places: int, device: torch.device) -> HashIndex:
    """An index of slots of which none has been entered."""
    zeros = torch.zeros(batch_size, tables << bits, dtype=torch.int64, device=device)
    return HashIndex(
        codes=zeros.new_full((batch_size, slots, tables), -1),
        buckets=zeros.new_zeros(batch_size, (tables << bits) * places + 1),
        entered=zeros,
    )


def enter(index: HashIndex, slots: Tensor, codes: Tensor, put: Callable[[Tensor, Tensor, Tensor], Tensor]) -> HashIndex:
    """The index after the content of some slots changed.

    :param slots: int64 (B, M); one named twice has the same code twice
    :param codes: of their new content, (B, M, L)
    :param put: :func:`memagents.memory.sparse.put` or its equal in place
    """
    tables = codes.shape[2]
    width = index.entered.shape[1] // tables
    places = (index.buckets.shape[1] - 1) // index.entered.shape[1]
    bucket = (codes + width * torch.arange(tables, device=codes.device)).transpose(1, 2)  # (B, L, M)
    enters = ((codes != take(index.codes, slots)) & ~repeated(slots).unsqueeze(2)).transpose(1, 2)
    joining = (bucket.unsqueeze(3) == bucket.unsqueeze(2)) & enters.unsqueeze(2)  # (B, L, M, M): m enters with m'
    rank, joined = joining.tril(-1).sum(3), joining.sum(3)
    flat = bucket.flatten(1)
    before = index.entered.gather(1, flat).view_as(bucket)
    enters &= joined - rank <= places
    place = torch.where(enters, bucket * places + (before + rank) % places, index.buckets.shape[1] - 1)
    return HashIndex(
        codes=put(index.codes, slots, codes),
        buckets=put(index.buckets, place.flatten(1), torch.where(enters, slots.unsqueeze(1), 0).flatten(1)),
        entered=put(index.entered, flat, (before + joined).flatten(1)),
    )


def candidates(index: HashIndex, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The slots in the buckets of some queries.

    :param codes: of the queries, (B, R, L)
    :return: slots (B, R, L S), and booleans, false where a place is empty or its slot has moved
    """
    tables = codes.shape[2]
    width = index.entered.shape[1] // tables
    places = (index.buckets.shape[1] - 1) // index.entered.shape[1]
    bucket = codes + width * torch.arange(tables, device=codes.device)
    cells = bucket.unsqueeze(3) * places + torch.arange(places, device=codes.device)  # (B, R, L, S)
    slots = index.buckets.gather(1, cells.flatten(1)).view_as(cells)
    of_table = slots * tables + torch.arange(tables, device=codes.device).unsqueeze(1)  # in the flat codes
    its_own = index.codes.flatten(1).gather(1, of_table.flatten(1)).view_as(slots)
    return slots.flatten(2), (its_own == codes.unsqueeze(3)).flatten(2)


def nearest_candidates(
    memory: Tensor, written: Tensor, candidates: Tensor, known: Tensor, queries: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Search as :func:`memagents.memory.sparse.nearest` does, among some slots for each query.

    :param memory: (B, N, W)
    :param written: booleans (B, N)
    :param candidates: (B, R, C), at least ``count``; one may be named twice
    :param known: booleans (B, R, C), false for what is no candidate
    :param queries: (B, R, W)
    :param count: K
    :return: indices (B, R, K), and booleans (B, R, K), false where there were fewer
    """
    with torch.no_grad():
        candidates = torch.where(known, candidates, -1).sort(dim=2).values
        fresh = candidates.diff(dim=2, prepend=candidates.new_full((*candidates.shape[:2], 1), -1)) > 0
        slots = candidates.clamp(min=0)
        fresh &= written.gather(1, slots.flatten(1)).view_as(fresh)
        rows = take(memory, slots.flatten(1)).unflatten(1, slots.shape[1:])
        similarity = cosine_similarity(rows.flatten(0, 1), queries.flatten(0, 1).unsqueeze(1)).view(slots.shape)
        values, places = similarity.masked_fill(~fresh, -torch.inf).topk(count, dim=2)
        found = values > -torch.inf
        return torch.where(found, slots.gather(2, places), 0), found
