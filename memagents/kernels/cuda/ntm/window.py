"""The NTM over a window on a CUDA GPU: :func:`ntm_window` equals that of :mod:`memagents.kernels.cpu.ntm.window`.

:mod:`memagents.kernels.cuda.memory` describes how a window on a GPU is made up; the kernel of the memory is in
:mod:`memagents.kernels.cuda.ntm.forward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from memagents.kernels.cuda.graph import Workspaces
from memagents.kernels.cuda.memory import Kernels, MemoryWorkspace, Rows, matrix_fits
from memagents.kernels.cuda.ntm.backward import access_backward
from memagents.kernels.cuda.ntm.forward import access, rebuild
from memagents.kernels.cuda.workspace import Key, run_window
from memagents.kernels.operands import NTMSizes, check_ntm_operands, ntm_interface_size

_TILE = 1 << 12  # numbers of the memory that a program computes again


class ClippedNTMSizes(NamedTuple):
    """Sizes of an NTM, and the bound on its interface."""

    slots: int
    width: int
    heads: int  # those that read
    hidden: int
    shifts: int  # 2 S + 1
    clip: float


def fits(dtype: torch.dtype, slots: int, width: int, shifts: int) -> bool:
    """Whether the kernels can hold a memory of so many slots of this width, and all moves by up to so many slots.

    :param dtype: any
    """
    return matrix_fits(slots, max(width, 2 * shifts + 1))


def ntm_window(
    x: Tensor,
    starts: Tensor,
    recurrent_weight: Tensor,
    weight: Tensor,
    bias: Tensor,
    initial: Sequence[Tensor],
    leaves: Sequence[Tensor],
    clip: float | None,
) -> tuple[Tensor, list[Tensor]]:
    """The recurrence of an NTM over a window. Not differentiable twice.

    :param x: the inputs' share of the controller's gates, (T, B, 4H), float32 or float64
    :param starts: (T, B) booleans, where the state becomes the initial one before the step
    :param recurrent_weight: of hidden state and read vectors in the gates, (4H, H + R W)
    :param weight: of the interface, (I, H)
    :param bias: of the interface, (I,)
    :param initial: memory (N, W), weightings (R + 1, N) and read vectors (R, W) that an episode begins with; hidden
        state and cell are zero there
    :param leaves: memory (B, N, W), weightings (B, R + 1, N), read vectors (B, R, W), hidden state and cell, (B, H)
    :param clip: bound on the numbers of the interface, or None
    :return: features (T, B, H + R W) and the leaves after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, weight, bias, *initial, *leaves)
    largest = torch.finfo(x.dtype).max
    sizes = ClippedNTMSizes(*check_ntm_operands(starts, *operands), largest if clip is None else min(clip, largest))
    return run_window(_workspaces, sizes, starts, operands)


class NTMWorkspace(MemoryWorkspace[ClippedNTMSizes]):
    """The buffers of a window of one shape, and its forward and backward on them.

    :param key: what it is made for
    """

    kernels = Kernels(access, rebuild, access_backward)

    def __init__(self, key: Key[ClippedNTMSizes]):
        n, w, r, _, shifts, clip = key.sizes
        weights = (r + 1) * n
        super().__init__(
            key, Rows(ntm_interface_size(NTMSizes(*key.sizes[:5])), 2 * weights, weights, weights), [(n, w)]
        )
        self._beginning = [self._empty(n * w + weights + r * w)]
        self._d_beginning = [self._empty(key.batch if key.keep else 0, n * w + weights)]
        slots, width = triton.next_power_of_2(n), triton.next_power_of_2(w)
        self.constants |= {"K": r + 1, "SHIFTS": shifts, "PS": triton.next_power_of_2(shifts), "CLIP": clip}
        self.constants |= {"ROWS": max(1, min(slots, _TILE // width))}

    def _arrange(
        self, matrices: Sequence[Tensor], carry: Tensor, vectors: Tensor, hidden: Tensor, cell: Tensor
    ) -> list[Tensor]:
        return [*matrices, carry.unflatten(1, (-1, self._key.sizes.slots)), vectors, hidden, cell]

    def _beginning_leaves(self) -> list[Tensor]:
        n, w, r, *_ = self._key.sizes
        memory, weights, vectors = self._beginning[0].split([n * w, (r + 1) * n, r * w])
        return [memory.view(n, w), weights.view(r + 1, n), vectors.view(r, w)]

    def _begin(self) -> None:
        super()._begin()
        vectors, _ = self._split_features(self._previous[0])
        vectors += self._starts[0].view(-1, 1, 1) * self._beginning_leaves()[2]

    def _gradients_of_beginning(self) -> list[Tensor]:
        n, w, r, hidden, *_ = self._key.sizes
        memory, weights = self._d_beginning[0].sum(0).split([n * w, (r + 1) * n])
        begun = self._starts[:-1].flatten().to(self._key.dtype)
        vectors = (begun @ self._d.gates.flatten(0, 1)) @ self._recurrent_weight[:, hidden:]
        return [memory.view(n, w), weights.view(r + 1, n), vectors.view(r, w)]


_workspaces: Workspaces[NTMWorkspace] = Workspaces(NTMWorkspace)
