"""The RMC over a window on the CPU: a fused forward and a hand-derived backward, compiled by Numba.

:func:`rmc_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of a
:class:`memagents.cores.rmc.RMC` of one block with gates, values and gradients. A thread takes a group of batch rows
through the whole window, with neighbours in a row in the lanes of its vectors, so that what a step makes of them is in
the cache where the next product needs it; a row's results do not depend on the rows beside it, on where the window was
cut or on the number of threads. The backward goes through the steps only for what is recurrent; the gradients of all
weights are torch's products over some steps at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, flat, scratch
from memagents.kernels.cpu.rmc.backward import backward
from memagents.kernels.cpu.rmc.forward import Inputs, Weights, forward
from memagents.kernels.cpu.rmc.step import Gradients, Norms, RMCSizes, Tape, packed_width, padded, room_size
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.simd import lanes
from memagents.kernels.cpu.vector.wide import wide_lanes


class RMCOperands(NamedTuple):
    """Operands of a window, but for its perceptron.

    T steps, B batch rows, N slots, W width, H heads, Q = H (2 K + W / H).
    """

    x_qkv: Tensor  # (T, B, Q): the inputs' queries (which nobody asks), keys and values
    x_gates: Tensor  # (T, B, 2W): the inputs' share of the gates' sums
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
_GROUP = 32  # slots that are taken through a step together: enough for the products, few enough for the second cache
_STEP = 1 << 20  # multiplications that are worth as much as a step of a tile to thread_count


def fits(dtype: torch.dtype, heads: int, key_size: int, value_size: int) -> bool:
    """Whether the kernel can take so many heads of these sizes, K and W / H.

    Both must be multiples of a vector's lanes, and W and Q, which are those of all heads, of twice as many.
    """
    width, packed = heads * value_size, heads * (2 * key_size + value_size)
    apart, together = (key_size, value_size), (width, packed)
    return not any(size % lanes(dtype) for size in apart) and not any(size % wide_lanes(dtype) for size in together)


def rmc_window(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    starts: Tensor,
    initial: Tensor,
    heads: int,
    gate_biases: tuple[float, float],
    **operands: Tensor,
) -> Tensor:
    """The recurrence of an RMC over a window. Not differentiable twice.

    :param weights: of the perceptron's layers, (W, W) each
    :param biases: of these, (W,) each
    :param starts: (T, B) booleans, where the memory becomes the initial one before the step
    :param initial: the memory that an episode begins with, (N, W), a constant
    :param heads: number of heads H
    :param gate_biases: constants added to the sums of input gates and of forget gates
    :param operands: those of :class:`RMCOperands`, by name
    :return: the memory after every step, (T, B, N, W)
    :raises ValueError: if the shapes do not belong together
    """
    given = RMCOperands(**operands)
    sizes = _check_shapes(given, weights, biases, starts, initial, heads)
    tensors = (*given, *weights, *biases)
    if learning(tensors):
        return _Window.apply(starts, initial, sizes, gate_biases, *tensors)
    return _run_forward(starts, initial, sizes, gate_biases, tensors, keep=False)[0]


class _Context(Context):
    sizes: RMCSizes
    count: int  # of the tensors that are operands, weights and biases


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        starts: Tensor,
        initial: Tensor,
        sizes: RMCSizes,
        gate_biases: tuple[float, float],
        *tensors: Tensor,
    ) -> Tensor:
        after, tape = _run_forward(starts, initial, sizes, gate_biases, tensors, keep=True)
        ctx.sizes, ctx.count = sizes, len(tensors)
        ctx.save_for_backward(starts, *tensors, *(torch.from_numpy(part) for part in tape))
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, None, *_run_backward(ctx, grad))


def _run_forward(
    starts: Tensor,
    initial: Tensor,
    sizes: RMCSizes,
    gate_biases: tuple[float, float],
    tensors: Sequence[Tensor],
    keep: bool,
) -> tuple[Tensor, Tape[np.ndarray]]:
    """The memory after every step, and the tape."""
    operands, weights, biases = _parts(tensors)
    steps, like, (rows, threads) = len(starts), operands.memory, _shares(starts, sizes)
    tape = _new_tape(like, sizes, *((steps, sizes.batch) if keep else (threads, rows)))
    after = like.new_empty(steps, *like.shape)
    arguments = (
        tuple(sizes),
        rows,
        array(starts),
        Inputs(*(flat(t) for t in (operands.x_qkv, operands.x_gates, like, initial))),
        gate_biases,
        _weights(operands, weights),
        _norms(operands, biases),
        tape,
        keep,
        _new_rooms(like, sizes, threads),
        _new_work(like, sizes, threads),
        after.view(-1).numpy(),
    )
    run(partial(forward, *arguments), threads)
    return after, tape


def _run_backward(ctx: _Context, grad_after: Tensor) -> list[Tensor | None]:
    starts, *saved = ctx.saved_tensors
    operands, weights, biases = _parts(saved[: ctx.count])
    sizes, tape = ctx.sizes, Tape(*saved[ctx.count :])
    steps, like, (rows, threads) = len(starts), operands.memory, _shares(starts, sizes)
    chunk = min(steps, -(-_CHUNK // (sizes.batch * sizes.slots)))
    grads = _new_gradients(like, sizes, steps, chunk, -(-sizes.batch // rows))
    of_operands = (flat(operands.x_qkv), _weights(operands, weights), _norms(operands, biases))
    arguments = (
        *of_operands,
        Tape(*(part.numpy() for part in tape)),
        flat(grad_after),
        Gradients(*(grad.view(-1).numpy() for grad in grads)),
        _new_rooms(like, sizes, threads),
        _new_work(like, sizes, threads),
    )
    resets = array(starts)
    made, slots = [grads.qkv, grads.gates, *grads.hidden, grads.update], sizes.batch * sizes.slots
    rows_given = [part.view(steps, slots, -1) for part in (tape.memory, tape.squashed, tape.rows)]
    given = [*rows_given, *tape.hidden.view(len(weights) - 1, *rows_given[0].shape)]
    # By their columns, since the product of the transposed gradients would be up to twice as slow.
    d_columns = [like.new_zeros(w.shape[::-1]) for w in (operands.qkv_weight, operands.gate_weight, *weights)]
    for begin in range((steps - 1) // chunk * chunk, -1, -chunk):
        end = min(begin + chunk, steps)
        run(partial(backward, tuple(sizes), rows, resets, begin, end, chunk, *arguments), threads)
        for d_column, d_y, x in zip(d_columns, made, given, strict=True):
            d_column.addmm_(x[begin:end].flatten(0, 1).t(), d_y[: end - begin].flatten(0, 1))
    d_memory = grads.memory.view_as(like).masked_fill_(starts[0].view(-1, 1, 1), 0)
    of_x = (grads.x_qkv.view(steps, sizes.batch, -1), grads.x_gates.view(steps, sizes.batch, -1))
    sums = Norms(*(grad.sum(0) for grad in grads[-len(Norms._fields) :]))
    d_qkv_weight, d_gate_weight, *d_layers = (d_column.t() for d_column in d_columns)
    own = (sums.attention_gain, sums.attention_shift, sums.update_gain, sums.update_shift)
    d_operands = RMCOperands(
        *of_x, d_memory, d_qkv_weight, sums.qkv_bias, sums.qkv_gain, sums.qkv_shift, *own, d_gate_weight
    )
    return [*d_operands, *d_layers, *sums.biases]


def _shares(starts: Tensor, sizes: RMCSizes) -> tuple[int, int]:
    """Return the batch rows of a group, and how many threads are worth their while."""
    rows, width = max(1, _GROUP // sizes.slots), sizes.heads * sizes.value
    products = sizes.slots * width * (packed_width(sizes) + (2 + sizes.layers) * width)
    return rows, thread_count(-(-sizes.batch // rows), len(starts) * rows * products // _STEP)


# --- buffers --------------------------------------------------------------------------------------------------------


def _parts(tensors: Sequence[Tensor]) -> tuple[RMCOperands, list[Tensor], list[Tensor]]:
    """Operands, and weights and biases of the perceptron, contiguous and without history."""
    tensors = [tensor.detach().contiguous() for tensor in tensors]
    layers = (len(tensors) - _COUNT) // 2
    return RMCOperands(*tensors[:_COUNT]), tensors[_COUNT : _COUNT + layers], tensors[_COUNT + layers :]


def _norms(operands: RMCOperands, biases: Sequence[Tensor]) -> Norms[np.ndarray]:
    o = operands
    own = (o.qkv_bias, o.qkv_gain, o.qkv_shift, o.attention_gain, o.attention_shift, o.update_gain, o.update_shift)
    return Norms(*(vector.numpy() for vector in (*own, torch.cat(list(biases)))))


def _weights(operands: RMCOperands, weights: Sequence[Tensor]) -> Weights[np.ndarray]:
    """The matrices as vectors."""
    across = wide_lanes(operands.memory.dtype)
    given = (operands.qkv_weight, operands.gate_weight, torch.cat(list(weights)))
    return Weights(*(weight.view(-1, across).numpy() for weight in given))


def _carve(like: Tensor, counts: Sequence[int]) -> list[np.ndarray]:
    """Empty arrays of one piece of memory, each from a cache line on."""
    line = 64 // like.itemsize
    ends = list(accumulate(-(-count // line) * line for count in counts))
    whole = scratch(like, ends[-1])
    return [whole[begin : begin + count] for begin, count in zip([0, *ends[:-1]], counts, strict=True)]


def _new_tape(like: Tensor, sizes: RMCSizes, steps: int, batch: int) -> Tape[np.ndarray]:
    rows, width = steps * batch * sizes.slots, sizes.heads * sizes.value
    row, weights = rows * width, rows * sizes.heads * padded(sizes.slots, lanes(like.dtype))
    kept = (row, row, rows * packed_width(sizes), rows, weights, row, rows, row, row, rows, row, 2 * row)
    return Tape(*_carve(like, (*kept, (sizes.layers - 1) * row)))


def _new_gradients(like: Tensor, sizes: RMCSizes, steps: int, chunk: int, groups: int) -> Gradients[Tensor]:
    """Gradients, zero where they are added to."""
    rows, width, packed = sizes.batch * sizes.slots, sizes.heads * sizes.value, packed_width(sizes)
    row, now, hidden = (chunk, rows, width), (rows, width), (sizes.layers - 1, chunk, rows, width)
    kept = [(chunk, rows, packed), row, (chunk, rows, 2 * width), hidden]
    of_x = [(steps, sizes.batch, packed), (steps, sizes.batch, 2 * width)]
    vectors = [(groups, packed)] * 3 + [(groups, width)] * 4 + [(groups, sizes.layers, width)]
    shapes = [now, now, now, *kept, *of_x, *vectors]
    flat = _carve(like, [math.prod(shape) for shape in shapes])
    grads = Gradients(*(torch.from_numpy(part).view(shape) for part, shape in zip(flat, shapes, strict=True)))
    for grad in (grads.memory, grads.x_gates, *grads[-len(vectors) :]):
        grad.zero_()
    return grads


def _new_rooms(like: Tensor, sizes: RMCSizes, threads: int) -> np.ndarray:
    return scratch(like, threads, room_size(sizes, lanes(like.dtype)))


def _new_work(like: Tensor, sizes: RMCSizes, threads: int) -> np.ndarray:
    """Room for the packed matrices of every thread."""
    width, across = sizes.heads * sizes.value, wide_lanes(like.dtype)
    return scratch(like, threads, (packed_width(sizes) + (2 + sizes.layers) * width) * width // across, across)


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
    sizes = RMCSizes(batch, n, heads, (packed - w) // (2 * heads), w // heads, len(weights))
    if not fits(initial.dtype, heads, sizes.key, sizes.value) or (packed_width(sizes), heads * sizes.value) != (
        packed,
        w,
    ):
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
