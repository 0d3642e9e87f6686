"""The DNC over a window on a CUDA GPU: :func:`dnc_window` equals that of :mod:`memagents.kernels.cpu.dnc.window`.

:mod:`memagents.kernels.cuda.memory` describes how a window on a GPU is made up; the kernel of the memory is in
:mod:`memagents.kernels.cuda.dnc.forward`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from memagents.kernels.cuda.dnc.backward import access_backward, scratch_rows
from memagents.kernels.cuda.dnc.forward import access, rebuild
from memagents.kernels.cuda.dnc.parts import carry_rows, record_rows
from memagents.kernels.cuda.graph import Workspaces
from memagents.kernels.cuda.memory import Kernels, MemoryWorkspace, Rows, matrix_fits
from memagents.kernels.cuda.workspace import Key, run_window
from memagents.kernels.operands import DNCSizes, check_dnc_operands, dnc_interface_size

_LARGEST_SLOTS = 1 << 10
_TILE = 1 << 12  # numbers of a matrix of slots by slots that a program works on at once


def fits(dtype: torch.dtype, slots: int, width: int) -> bool:
    """Whether the kernels can hold a memory of so many slots of this width.

    :param dtype: any
    """
    return triton.next_power_of_2(slots) <= _LARGEST_SLOTS and matrix_fits(slots, width)


def dnc_window(
    x: Tensor, starts: Tensor, recurrent_weight: Tensor, weight: Tensor, bias: Tensor, leaves: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The recurrence of a DNC over a window. Not differentiable twice.

    :param x: the inputs' share of the controller's gates, (T, B, 4H), float32 or float64
    :param starts: (T, B) booleans, where the state becomes zero before the step
    :param recurrent_weight: of hidden state and read vectors in the gates, (4H, H + R W)
    :param weight: of the interface, (I, H)
    :param bias: of the interface, (I,)
    :param leaves: the nine tensors of a :class:`~memagents.cores.dnc.DNCState`, in order
    :return: features (T, B, H + R W) and the leaves after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, weight, bias, *leaves)
    return run_window(_workspaces, check_dnc_operands(starts, *operands), starts, operands)


class DNCWorkspace(MemoryWorkspace[DNCSizes]):
    """The buffers of a window of one shape, and its forward and backward on them.

    :param key: what it is made for
    """

    kernels = Kernels(access, rebuild, access_backward)

    def __init__(self, key: Key[DNCSizes]):
        n, w, r, *_ = key.sizes
        rows = Rows(dnc_interface_size(key.sizes), record_rows(n, r), carry_rows(n, r), scratch_rows(n, r))
        super().__init__(key, rows, [(n, w), (n, n)])
        slots = triton.next_power_of_2(n)
        self.constants |= {"PR": triton.next_power_of_2(r), "ROWS": max(1, min(slots, _TILE // slots))}

    def _arrange(
        self, matrices: Sequence[Tensor], carry: Tensor, vectors: Tensor, hidden: Tensor, cell: Tensor
    ) -> list[Tensor]:
        n, _, r, *_ = self._key.sizes
        memory, link = matrices
        usage, write_weights, precedence, reads = carry.split([n, n, n, r * n], dim=1)
        return [memory, usage, link, precedence, write_weights, reads.unflatten(1, (r, n)), vectors, hidden, cell]


_workspaces: Workspaces[DNCWorkspace] = Workspaces(DNCWorkspace)
