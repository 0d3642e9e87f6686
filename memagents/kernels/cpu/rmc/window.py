"""The RMC over a window on the CPU: matrix products by torch, all between them by Numba, and a hand-derived backward.

:func:`rmc_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of a
:class:`memagents.cores.rmc.RMC` of one block with gates, values and gradients. The backward goes through the steps only
for what is recurrent; the gradients of all weights are products over the whole window after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, scratch
from memagents.kernels.cpu.rmc import step
from memagents.kernels.cpu.rmc.step import Gradients, Norms, RMCSizes, Room, Tape, padded
from memagents.kernels.cpu.vector.simd import lanes


class RMCOperands(NamedTuple):
    """Operands of a window, but for its perceptron.

    T steps, B batch rows, N slots, W width, H heads, Q = H (2 K + W / H).
    """

    x_qkv: Tensor  # (T, B, Q): the inputs' queries (which nobody asks), keys and values
    x_gates: Tensor  # (T, B, 2W): the inputs' share of the gates' sums, the constants among it
    memory: Tensor  # (B, N, W), before the window
    qkv_weight: Tensor  # (Q, W)
    qkv_bias: Tensor  # (Q,)
    qkv_gain: Tensor  # (Q,), of the LayerNorm, as the next
    qkv_shift: Tensor  # (Q,)
    attention_gain: Tensor  # (W,)
    attention_shift: Tensor  # (W,)
    update_gain: Tensor  # (W,)
    update_shift: Tensor  # (W,)
    gate_weight: Tensor  # (2W, W)


_COUNT = len(RMCOperands._fields)
_CHUNK = 512  # rows whose gradients are kept for one product: enough for its speed, few enough for the cache


def fits(dtype: torch.dtype, key_size: int, value_size: int) -> bool:
    """Whether the kernel can take heads of these sizes, K and W / H: multiples of a vector's lanes."""
    return key_size % lanes(dtype) == 0 and value_size % lanes(dtype) == 0


def rmc_window(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    starts: Tensor,
    initial: Tensor,
    heads: int,
    **operands: Tensor,
) -> Tensor:
    """The recurrence of an RMC over a window. Not differentiable twice.

    :param weights: of the perceptron's layers, (W, W) each
    :param biases: of these, (W,) each
    :param starts: (T, B) booleans, where the memory becomes the initial one before the step
    :param initial: the memory that an episode begins with, (N, W), a constant
    :param heads: number of heads H
    :param operands: those of :class:`RMCOperands`, by name
    :return: the memory after every step, (T, B, N, W)
    :raises ValueError: if the shapes do not belong together
    """
    given = RMCOperands(**operands)
    sizes = _check_shapes(given, weights, biases, starts, initial, heads)
    tensors = (*given, *weights, *biases)
    if learning(tensors):
        return _Window.apply(starts, initial, sizes, *tensors)
    return _run_forward(starts, initial, sizes, tensors, keep=False)[0]


class _Context(Context):
    sizes: RMCSizes
    count: int  # of the tensors that are operands, weights and biases


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, starts: Tensor, initial: Tensor, sizes: RMCSizes, *tensors: Tensor) -> Tensor:
        after, tape, hidden = _run_forward(starts, initial, sizes, tensors, keep=True)
        ctx.sizes, ctx.count = sizes, len(tensors)
        ctx.save_for_backward(starts, *tensors, *tape, *hidden)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, *_run_backward(ctx, grad))


def _run_forward(
    starts: Tensor, initial: Tensor, sizes: RMCSizes, tensors: Sequence[Tensor], keep: bool
) -> tuple[Tensor, Tape[Tensor], list[Tensor]]:
    """The memory after every step, the tape, and the perceptron's hidden layers, (T, B N, W) each."""
    operands, weights, biases = _parts(tensors)
    steps, like, numbers = len(starts), operands.memory, tuple(sizes)
    tape, hidden = _new_tape(like, sizes, steps if keep else 1, len(weights) - 1)
    after = like.new_empty(steps, *like.shape)
    flat, norms, room = Tape(*_flat(tape)), _norms(operands, biases), Room(*_flat(_new_room(like, sizes)))
    x_qkv, x_gates, first, flat_after = (_flat_array(t) for t in (operands.x_qkv, operands.x_gates, initial, after))
    # A product with a transposed view is up to twice as slow.
    of_qkv, of_gates, *columns = (w.t().contiguous() for w in (operands.qkv_weight, operands.gate_weight, *weights))
    resets = array(starts)
    step.begin(numbers, _flat_array(like), resets, first, flat)
    for t in range(steps):
        now, following = (t, t + 1) if keep else (0, 0)
        torch.mm(tape.memory[now], of_qkv, out=tape.qkv[now])
        torch.mm(tape.squashed[now], of_gates, out=tape.gates[now])
        step.attend(numbers, flat, norms, x_qkv, t, now, room)
        x = tape.rows[now]
        for of_layer, bias, layer in zip(columns, biases, hidden, strict=False):
            torch.mm(x, of_layer, out=layer[now])
            x = layer[now]
            step.rectify(_flat_array(x), bias.numpy())
        torch.mm(x, columns[-1], out=tape.update[now])
        step.finish(numbers, flat, norms, x_gates, resets, first, t, now, following, flat_after)
    return after, tape, hidden


def _run_backward(ctx: _Context, grad_after: Tensor) -> list[Tensor | None]:
    starts, *saved = ctx.saved_tensors
    tensors, kept = saved[: ctx.count], saved[ctx.count :]
    operands, weights, biases = _parts(tensors)
    sizes, tape, hidden = ctx.sizes, Tape(*kept[: len(Tape._fields)]), kept[len(Tape._fields) :]
    steps, like, numbers = len(starts), operands.memory, tuple(sizes)
    chunk = min(steps, -(-_CHUNK // (sizes.batch * sizes.slots)))
    grads, d_hidden, d_biases = _new_gradients(like, sizes, steps, chunk, len(hidden))
    flat, flat_grads, norms = Tape(*_flat(tape)), Gradients(*_flat(grads)), _norms(operands, biases)
    room, x_qkv = Room(*_flat(_new_room(like, sizes))), _flat_array(operands.x_qkv)
    flat_after = _flat_array(grad_after)
    resets = array(starts)
    made, given = [grads.qkv, grads.gates, *d_hidden, grads.update], [tape.memory, tape.squashed, tape.rows, *hidden]
    # By their columns, since the product of the transposed gradients would be up to twice as slow.
    d_columns = [like.new_zeros(w.shape[::-1]) for w in (operands.qkv_weight, operands.gate_weight, *weights)]
    for t in range(steps - 1, -1, -1):
        now = t % chunk
        step.finish_back(numbers, flat, norms, resets, t, now, flat_after, flat_grads)
        d_x = grads.update[now]
        for layer in range(len(hidden) - 1, -1, -1):
            d_x = torch.mm(d_x, weights[layer + 1], out=d_hidden[layer][now])
            step.rectify_back(_flat_array(hidden[layer][t]), _flat_array(d_x), d_biases[layer][t].numpy())
        torch.mm(d_x, weights[0], out=grads.rows)
        torch.mm(grads.gates[now], operands.gate_weight, out=grads.squashed)
        step.attend_back(numbers, flat, norms, x_qkv, t, now, flat_grads, room)
        grads.memory.addmm_(grads.qkv[now], operands.qkv_weight)
        if now == 0:
            for d_column, d_y, x in zip(d_columns, made, given, strict=True):
                of_chunk = x[t : t + chunk].flatten(0, 1)
                d_column.addmm_(of_chunk.t(), d_y.flatten(0, 1)[: len(of_chunk)])
    d_memory = grads.memory.view_as(like).masked_fill_(starts[0].view(-1, 1, 1), 0)
    of_x = (grads.x_qkv.view(steps, sizes.batch, -1), grads.x_gates.view(steps, sizes.batch, -1))
    sums = Norms(*(grad.sum(0) for grad in grads[-len(Norms._fields) :]))
    d_qkv_weight, d_gate_weight, *d_layers = (d_column.t() for d_column in d_columns)
    own = (sums.attention_gain, sums.attention_shift, sums.update_gain, sums.update_shift)
    d_operands = RMCOperands(
        *of_x, d_memory, d_qkv_weight, sums.qkv_bias, sums.qkv_gain, sums.qkv_shift, *own, d_gate_weight
    )
    return [*d_operands, *d_layers, *(d_bias.sum(0) for d_bias in d_biases), sums.update_bias]


# --- buffers --------------------------------------------------------------------------------------------------------


def _parts(tensors: Sequence[Tensor]) -> tuple[RMCOperands, list[Tensor], list[Tensor]]:
    """Operands, and weights and biases of the perceptron, contiguous and without history."""
    tensors = [tensor.detach().contiguous() for tensor in tensors]
    layers = (len(tensors) - _COUNT) // 2
    return RMCOperands(*tensors[:_COUNT]), tensors[_COUNT : _COUNT + layers], tensors[_COUNT + layers :]


def _norms(operands: RMCOperands, biases: Sequence[Tensor]) -> Norms[np.ndarray]:
    o = operands
    own = (o.qkv_bias, o.qkv_gain, o.qkv_shift, o.attention_gain, o.attention_shift)
    return Norms(*(vector.numpy() for vector in (*own, biases[-1], o.update_gain, o.update_shift)))


def _carve(like: Tensor, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Empty tensors of one piece of memory, each from a cache line on."""
    line = 64 // like.itemsize
    ends = list(accumulate(-(-math.prod(shape) // line) * line for shape in shapes))
    whole = torch.from_numpy(scratch(like, ends[-1]))
    begins = [0, *ends[:-1]]
    return [whole[begin : begin + math.prod(shape)].view(shape) for begin, shape in zip(begins, shapes, strict=True)]


def _new_tape(like: Tensor, sizes: RMCSizes, steps: int, layers: int) -> tuple[Tape[Tensor], list[Tensor]]:
    """The tape, and the perceptron's hidden layers."""
    rows, width = sizes.batch * sizes.slots, sizes.heads * sizes.value
    row, scale, qkv = (steps, rows, width), (steps, rows), (steps, rows, _packed(sizes))
    weights = (steps, rows * sizes.heads, padded(sizes.slots, lanes(like.dtype)))
    gates = (steps, rows, 2 * width)
    shapes = Tape(row, row, qkv, scale, weights, row, scale, row, row, scale, row, gates)
    made = _carve(like, *shapes, *[row] * layers)
    return Tape(*made[: len(shapes)]), made[len(shapes) :]


def _new_gradients(
    like: Tensor, sizes: RMCSizes, steps: int, chunk: int, layers: int
) -> tuple[Gradients[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of the steps, of the perceptron's hidden layers and of its biases; zero where they are added to."""
    rows, width, packed = sizes.batch * sizes.slots, sizes.heads * sizes.value, _packed(sizes)
    row, now, bias = (chunk, rows, width), (rows, width), (steps, width)
    kept = [(chunk, rows, packed), row, (chunk, rows, 2 * width)]
    of_x = [(steps, sizes.batch, packed), (steps, sizes.batch, 2 * width)]
    vectors = [(steps, packed)] * 3 + [bias] * 5
    shapes = Gradients(now, now, now, *kept, *of_x, *vectors)
    made = _carve(like, *shapes, *[row] * layers, *[bias] * layers)
    grads, of_layers = Gradients(*made[: len(shapes)]), made[len(shapes) :]
    for grad in (grads.memory, *grads[len(kept) + 3 :], *of_layers[layers:]):
        grad.zero_()
    return grads, of_layers[:layers], of_layers[layers:]


def _new_room(like: Tensor, sizes: RMCSizes) -> Room[Tensor]:
    """Scratch memory, all zero but for ``valid``."""
    lines, packed = padded(sizes.slots, lanes(like.dtype)), _packed(sizes)
    columns = (max(sizes.key, sizes.value), lines)
    square, rows = (lines, lines), (lines, sizes.heads * sizes.value)
    room = Room(*_carve(like, (lines, packed), (lines, packed), columns, square, square, rows, (lines,)))
    for tensor in room:
        tensor.zero_()
    room.valid[: sizes.slots + 1] = 1
    return room


def _packed(sizes: RMCSizes) -> int:
    """Q, the width of all heads' queries, keys and values."""
    return sizes.heads * (2 * sizes.key + sizes.value)


def _flat_array(tensor: Tensor) -> np.ndarray:
    return array(tensor).reshape(-1)


def _flat(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Flat arrays that share the tensors' memory."""
    return [tensor.view(-1).numpy() for tensor in tensors]


def _check_shapes(
    operands: RMCOperands,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    starts: Tensor,
    initial: Tensor,
    heads: int,
) -> RMCSizes:
    """The kernels trust the shapes; a wrong one would have them read and write anywhere."""
    (steps, batch), (n, w), packed = starts.shape, initial.shape, len(operands.qkv_bias)
    sizes = RMCSizes(batch, n, heads, (packed - w) // (2 * heads), w // heads)
    if not fits(initial.dtype, sizes.key, sizes.value) or (_packed(sizes), heads * sizes.value) != (packed, w):
        raise ValueError(f"initial and qkv_bias must be of heads that the kernel takes, not {w} and {packed} wide")
    expected: dict[str, tuple[int, ...]] = {
        "x_qkv": (steps, batch, packed), "x_gates": (steps, batch, 2 * w), "memory": (batch, n, w),
        "qkv_weight": (packed, w), "gate_weight": (2 * w, w),
    }  # fmt: skip
    for name, operand in operands._asdict().items():
        shape = expected.get(name, (packed,) if name.startswith("qkv") else (w,))
        if operand.shape != shape:
            raise ValueError(f"{name} must be {shape} beside the others, not {tuple(operand.shape)}")
    for weight, bias in zip(weights, biases, strict=True):
        if weight.shape != (w, w) or bias.shape != (w,):
            raise ValueError(f"weights and biases must be {(w, w)} and {(w,)}, not {weight.shape} and {bias.shape}")
    return sizes
