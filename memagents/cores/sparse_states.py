"""States of the sparse memories, SAM and SDNC."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from memagents.cores.lstm import LSTMState
from memagents.memory.hashing import HashIndex
from memagents.memory.sparse_linkage import SparseLinks


class NoIndex(NamedTuple):
    """The index of the exact search: nothing."""


class SAMState(NamedTuple):
    """All that a SAM remembers. B rows, N slots, W width, R read heads, K reads of a head, H controller units."""

    memory: Tensor  # (B, N, W)
    last_access: Tensor  # int64 (B, N): the step of the episode, from 0; negative where there was none
    clock: Tensor  # int64 (B,): the number of the next step
    read_indices: Tensor  # int64 (B, R, K)
    read_weights: Tensor  # (B, R, K)
    read_vectors: Tensor  # (B, R, W)
    hashes: HashIndex | NoIndex  # the index of the approximate search
    controller: LSTMState  # hidden and cell, (B, H)


class SDNCState(NamedTuple):
    """All that an SDNC remembers. B rows, N slots, W width, R read heads, K reads of a head by each mode."""

    memory: Tensor  # (B, N, W)
    last_access: Tensor  # int64 (B, N): the step of the episode, from 0; negative where there was none
    clock: Tensor  # int64 (B,): the number of the next step
    read_indices: Tensor  # int64 (B, R, 3 K): backward, content, forward
    read_weights: Tensor  # (B, R, 3 K)
    read_vectors: Tensor  # (B, R, W)
    hashes: HashIndex | NoIndex  # the index of the approximate search
    controller: LSTMState  # hidden and cell, (B, H)
    links: SparseLinks
