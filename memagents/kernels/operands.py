"""Sizes of the cores and checks of the shapes of a window's operands, shared by the kernels of all devices.

Kernels trust the shapes: a wrong one would have them read and write anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_CONTROLLER = ("x", "recurrent_weight", "weight", "bias")
_DNC_STATE = (
    "memory", "usage", "link", "precedence", "write_weights", "read_weights", "read_vectors", "hidden", "cell"
)  # fmt: skip
_NTM_INITIAL = ("initial_memory", "initial_weights", "initial_read_vectors")
_NTM_STATE = ("memory", "weights", "read_vectors", "hidden", "cell")
_SPARSE_STATE = (
    "memory", "read_weights", "read_vectors", "hidden", "cell", "last_access", "clock", "read_indices"
)  # fmt: skip
_LINKS = (
    "before", "before_weights", "after", "after_weights", "after_kept", "kept", "precedence", "precedence_weights"
)  # fmt: skip


class DNCOptions(NamedTuple):
    """What a DNC does beside the plain one's steps."""

    masked_lookup: bool = False
    deallocate: bool = False
    sharpen_links: bool = False


class DNCSizes(NamedTuple):
    """Sizes of a DNC, and its :class:`DNCOptions` as 0 and 1."""

    slots: int  # N
    width: int  # W
    heads: int  # R
    hidden: int  # H
    masked: int
    deallocates: int
    sharpened: int


PLAIN = DNCOptions()


class NTMSizes(NamedTuple):
    """Sizes of an NTM with one write head."""

    slots: int  # N
    width: int  # W
    heads: int  # R, read heads
    hidden: int  # H
    shifts: int  # 2 S + 1


def dnc_interface_size(sizes: DNCSizes) -> int:
    """Length I of a DNC's interface vector."""
    plain = (sizes.heads + 3) * sizes.width + 5 * sizes.heads + 3
    return plain + sizes.masked * (sizes.heads + 1) * sizes.width + sizes.sharpened * 2 * sizes.heads


def ntm_interface_size(sizes: NTMSizes) -> int:
    """Length I of an NTM's interface vector."""
    heads = sizes.heads + 1
    return (heads + 2) * sizes.width + (3 + sizes.shifts) * heads


def sparse_interface_size(width: int, heads: int, linked: bool, sharpened: bool) -> int:
    """Length I of the interface vector of a SAM or, linked, of an SDNC, whose read modes are a part of it here, and the
    sharpness of its links, if it has one.
    """
    return (heads + 1) * width + (2 + 3 * linked + 2 * sharpened) * heads + 2


def check_shapes(names: Sequence[str], operands: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> None:
    """Compare the shapes of operands with those expected.

    :raises ValueError: naming the first operand that does not fit
    """
    for name, operand, shape in zip(names, operands, shapes, strict=True):
        if operand.shape != shape:
            raise ValueError(f"{name} must be {tuple(shape)} beside the others, not {tuple(operand.shape)}")


def dnc_sizes(state_shapes: Sequence[torch.Size], options: DNCOptions = PLAIN) -> DNCSizes:
    """Sizes of the DNC whose state has leaves of these shapes."""
    numbers = state_shapes[0][1], state_shapes[0][2], state_shapes[5][1], state_shapes[7][1]
    return DNCSizes(*numbers, *(int(option) for option in options))


def check_dnc_operands(starts: Tensor, *operands: Tensor, options: DNCOptions = PLAIN) -> DNCSizes:
    """Check x, the weights and the state of a DNC's window; return the sizes.

    :raises ValueError: if the shapes do not belong together
    """
    steps, batch = starts.shape
    sizes = dnc_sizes([operand.shape for operand in operands[4:]], options)
    (n, w, r, h, *_), interface = sizes, dnc_interface_size(sizes)
    weights = [(4 * h, h + r * w), (interface, h), (interface,)]
    state = [(n, w), (n,), (n, n), (n,), (n,), (r, n), (r, w), (h,), (h,)]
    expected = [(steps, batch, 4 * h), *weights, *((batch, *shape) for shape in state)]
    check_shapes((*_CONTROLLER, *_DNC_STATE), operands, expected)
    return sizes


def check_ntm_operands(starts: Tensor, *operands: Tensor) -> NTMSizes:
    """Check x, the weights, the initial state and the state of an NTM's window; return the sizes.

    :raises ValueError: if the shapes do not belong together
    """
    steps, batch = starts.shape
    (n, w), (k, _), hidden = operands[4].shape, operands[5].shape, operands[1].shape[0] // 4
    without_shifts = ntm_interface_size(NTMSizes(n, w, k - 1, hidden, 0))
    sizes = NTMSizes(n, w, k - 1, hidden, (len(operands[3]) - without_shifts) // k)
    interface = ntm_interface_size(sizes)
    initial = [(n, w), (k, n), (k - 1, w)]
    weights = [(4 * hidden, hidden + sizes.heads * w), (interface, hidden), (interface,)]
    state = [(batch, *shape) for shape in [*initial, (hidden,), (hidden,)]]
    expected = [(steps, batch, 4 * hidden), *weights, *initial, *state]
    check_shapes((*_CONTROLLER, *_NTM_INITIAL, *_NTM_STATE), operands, expected)
    return sizes


def check_sparse_operands(starts: Tensor, *operands: Tensor, reads: int, sharpened: bool) -> None:
    """Check x, the weights, the state and the tables of a SAM's window, or with the links those of an SDNC's.

    :param reads: K
    :param sharpened: whether the weightings that the links give are
    :raises ValueError: if the shapes do not belong together, or indices are not int64, or there is nothing to sharpen
    """
    (_, batch), (n, w) = starts.shape, operands[4].shape[1:]
    heads, hidden, links = operands[6].shape[1], operands[7].shape[1], operands[12:]
    size = links[0].shape[2] if links else 0
    if sharpened and not links:
        raise ValueError("sharpen_links must be False without links")
    entries, interface = (3 if links else 1) * reads, sparse_interface_size(w, heads, bool(links), sharpened)
    weights = [(4 * hidden, hidden + heads * w), (interface, hidden), (interface,)]
    state = [(n, w), (heads, entries), (heads, w), (hidden,), (hidden,), (n,), (), (heads, entries)]
    linked = [(n, size)] * 5 + [(n,), (size,), (size,)] if links else []
    expected = [(*starts.shape, 4 * hidden), *weights, *((batch, *shape) for shape in state + linked)]
    names = (*_CONTROLLER, *_SPARSE_STATE, *(_LINKS if links else ()))
    check_shapes(names, operands, expected)
    for name, operand in zip(names, operands, strict=True):
        if not operand.is_floating_point() and operand.dtype != torch.int64:
            raise ValueError(f"{name} must be int64, not {operand.dtype}")


def check_lstm_operands(starts: Tensor, x: Tensor, recurrent_weight: Tensor, hidden: Tensor, cell: Tensor) -> None:
    """Check the operands of an LSTM's window.

    :raises ValueError: if the shapes do not belong together
    """
    size, batch = hidden.shape[-1], starts.shape[1]
    shapes = [(*starts.shape, 4 * size), (4 * size, size), (batch, size), (batch, size)]
    check_shapes(("x", "recurrent_weight", "hidden", "cell"), (x, recurrent_weight, hidden, cell), shapes)


def check_gru_operands(
    starts: Tensor, x: Tensor, recurrent_weight: Tensor, recurrent_bias: Tensor, hidden: Tensor
) -> None:
    """Check the operands of a GRU's window.

    :raises ValueError: if the shapes do not belong together
    """
    size = hidden.shape[-1]
    shapes = [(*starts.shape, 3 * size), (3 * size, size), (3 * size,), (starts.shape[1], size)]
    names = ("x", "recurrent_weight", "recurrent_bias", "hidden")
    check_shapes(names, (x, recurrent_weight, recurrent_bias, hidden), shapes)


def check_entnet_operands(
    starts: Tensor, x: Tensor, keys: Tensor, key_rows: Tensor, weight: Tensor, slopes: Tensor, memory: Tensor
) -> None:
    """Check the operands of an EntNet's window.

    :raises ValueError: if the shapes do not belong together
    """
    (steps, batch), (slots, width) = starts.shape, memory.shape[1:]
    shapes = [(steps, batch, 3 * width), (slots, width), (slots, width), (width, width), (width,)]
    names = ("x", "keys", "key_rows", "weight", "slopes", "memory")
    operands = (x, keys, key_rows, weight, slopes, memory)
    check_shapes(names, operands, [*shapes, (batch, slots, width)])


def check_shm_operands(starts: Tensor, x: Tensor, thetas: Tensor, drawn: Tensor, memory: Tensor) -> None:
    """Check the operands of a Stable Hadamard Memory's window.

    :raises ValueError: if the shapes do not belong together, or what is drawn is none of the vectors θ
    """
    width, batch = memory.shape[-1], starts.shape[1]
    shapes = [(*starts.shape, 5 * width + 1), (len(thetas), width), tuple(starts.shape), (batch, width, width)]
    check_shapes(("x", "thetas", "drawn", "memory"), (x, thetas, drawn, memory), shapes)
    if drawn.dtype != torch.int64 or (drawn.numel() and not 0 <= drawn.min() <= drawn.max() < len(thetas)):
        raise ValueError(f"drawn must be int64 in [0, {len(thetas)}), not {drawn.dtype} {drawn.tolist()}")
