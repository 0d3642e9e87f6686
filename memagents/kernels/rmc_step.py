"""One step of the RMC between its matrix products, forward and backward: LayerNorms, attention, gates.

Arrays are flat and C-contiguous, their shapes are (T, B, N, ·) unless said; T steps, B batch rows, N slots, W width, H
heads, Q = H (2 K + W / H) the queries, keys and values of all heads. A :class:`~memagents.kernels.simd.Vector` holds
neighbours in a row here, not a number of each batch row, so W / H and K must be multiples of :func:`lanes_of`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit
from numba.core import cgutils

from memagents.kernels.simd import (
    Vector,
    exp,
    fma,
    full,
    intrinsic,
    lanes_of,
    load,
    part,
    select_less,
    sigmoid,
    splat,
    store,
    tanh,
)
from memagents.kernels.window import SOURCES

EPSILON = 1e-5
"""The constant of torch's LayerNorm."""


class Sizes(NamedTuple):
    """The sizes of a window."""

    batch: int
    slots: int
    heads: int
    key: int  # K
    value: int  # W / H


class Norms(NamedTuple):
    """The vectors of a step that are added to rows or scale them."""

    qkv_bias: Any  # Q, of the linear layer
    qkv_gain: Any  # Q, of the LayerNorm, as the next
    qkv_shift: Any  # Q
    attention_gain: Any  # W
    attention_shift: Any  # W
    update_bias: Any  # W, of the perceptron's last layer
    update_gain: Any  # W
    update_shift: Any  # W


class Tape(NamedTuple):
    """What every step leaves for its backward; or, without one, room for a single step."""

    memory: Any  # N W, before the step, new where an episode begins
    squashed: Any  # N W, tanh of it
    qkv: Any  # N Q, normalised, before gain and shift
    qkv_scale: Any  # N, 1 / σ of the LayerNorm
    weights: Any  # (T, B, H, N, N + 1), of the attention
    attended: Any  # N W, normalised
    attended_scale: Any  # N
    rows: Any  # N W, what the perceptron is given
    update: Any  # N W, what it gives; then that and its residual, normalised
    update_scale: Any  # N
    candidate: Any  # N W, tanh(M̃)
    gates: Any  # N 2W, first the memory's share of the sums, then input gates and forget gates


class Gradients(NamedTuple):
    """What the backward of every step leaves, and what it carries from step to step."""

    memory: Any  # (B, N, W): of the memory after a step, then before it
    squashed: Any  # (B, N, W), of one step
    rows: Any  # (B, N, W), of one step, by way of the perceptron
    qkv: Any  # N Q, of the linear layer's result
    update: Any  # N W, of the perceptron's result
    gates: Any  # N 2W, of the gates' sums
    x_qkv: Any  # (T, B, Q)
    qkv_gain: Any  # (T, Q), as the next
    qkv_shift: Any
    attention_gain: Any  # (T, W), as the others
    attention_shift: Any
    update_gain: Any
    update_shift: Any


@intrinsic
def sum_lanes(typingctx, vector):
    """The sum of a vector's lanes."""
    if not isinstance(vector, Vector):
        return None

    def codegen(context, builder, signature, args):
        shape = args[0].type
        suffix = f"v{shape.count}f{32 if isinstance(shape.element, ir.FloatType) else 64}"
        kind = ir.FunctionType(shape.element, [shape.element, shape])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.{suffix}")
        return builder.call(function, [ir.Constant(shape.element, -0.0), args[0]], fastmath=("reassoc",))

    return vector.dtype(vector), codegen


# --- LayerNorm ------------------------------------------------------------------------------------------------------


@part
def normalise(values, at, count):
    """A row of ``count`` vectors from x to (x − mean) / σ, in place; 1 / σ."""
    size = count * lanes_of(values)
    total = full(values, 0.0)
    for k in range(at, at + count):
        total = total + load(values, k)
    mean = full(values, sum_lanes(total) / size)
    squares = full(values, 0.0)
    for k in range(at, at + count):
        centred = load(values, k) - mean
        squares = fma(centred, centred, squares)
    scale = 1.0 / math.sqrt(sum_lanes(squares) / size + EPSILON)
    factor = full(values, scale)
    for k in range(at, at + count):
        store(values, k, (load(values, k) - mean) * factor)
    return scale


@part
def normalise_back(normal, at, count, scale, gain, grads, grads_at, d_gain, d_shift, d_at):
    """A row of gradients from those of gain ∘ (x − mean) / σ + shift to those of x, in place.

    Adds those of gain and shift to ``d_gain`` and ``d_shift``, from ``d_at`` on.
    """
    size = count * lanes_of(normal)
    mean, along = full(normal, 0.0), full(normal, 0.0)
    for k in range(count):
        grad, x = load(grads, grads_at + k), load(normal, at + k)
        store(d_gain, d_at + k, fma(grad, x, load(d_gain, d_at + k)))
        store(d_shift, d_at + k, load(d_shift, d_at + k) + grad)
        grad = grad * load(gain, k)
        store(grads, grads_at + k, grad)
        mean = mean + grad
        along = fma(grad, x, along)
    factor = full(normal, scale)
    mean, along = full(normal, sum_lanes(mean) / size), full(normal, sum_lanes(along) / size)
    for k in range(count):
        grad = load(grads, grads_at + k) - fma(load(normal, at + k), along, mean)
        store(grads, grads_at + k, grad * factor)


@part
def scale_row(normal, at, count, gain, shift, out, out_at):
    """gain ∘ x + shift."""
    for k in range(count):
        store(out, out_at + k, fma(load(normal, at + k), load(gain, k), load(shift, k)))


# --- attention ------------------------------------------------------------------------------------------------------


@part
def dot(a, a_at, b, b_at, count):
    """The scalar product of two rows of ``count`` vectors."""
    total = full(a, 0.0)
    for k in range(count):
        total = fma(load(a, a_at + k), load(b, b_at + k), total)
    return sum_lanes(total)


@part
def mix(weights, first, stride, count, rows, at, apart, k):
    """Vector k of Σ_j w_j row_j: w_j every ``stride`` numbers, the rows every ``apart`` vectors."""
    total = full(rows, 0.0)
    for j in range(count):
        total = fma(splat(weights, first + j * stride), load(rows, at + j * apart + k), total)
    return total


@part
def softmax_lines(scores, lines, count, weights, first):
    """The softmax of so many lines of scores, which begin ``scores`` and may be overwritten."""
    lanes = lanes_of(scores)
    for line in range(lines):
        at = line * count
        most = scores[at]
        for j in range(at + 1, at + count):
            most = max(most, scores[j])
        for j in range(at, at + count):
            scores[j] -= most
    for k in range((lines * count + lanes - 1) // lanes):
        store(scores, k, exp(load(scores, k)))
    for line in range(lines):
        at = line * count
        total = scores[at]
        for j in range(at + 1, at + count):
            total += scores[j]
        for j in range(at, at + count):
            weights[first + j] = scores[j] / total


@part
def unpack(sizes, tape, norms, x_qkv, t, slot, b, out):
    """Queries, keys and values of a batch row's slots and, last, of its input: (N + 1, Q)."""
    count = sizes.heads * (2 * sizes.key + sizes.value) // lanes_of(out)
    first = (slot * sizes.batch + b) * sizes.slots
    for i in range(sizes.slots):
        scale_row(tape.qkv, (first + i) * count, count, norms.qkv_gain, norms.qkv_shift, out, i * count)
    at = (t * sizes.batch + b) * count
    for k in range(count):
        store(out, sizes.slots * count + k, load(x_qkv, at + k))


@njit(nogil=True, cache=True)
def attend(sizes, tape, norms, x_qkv, t, slot, qkv, scores, sources=SOURCES):
    """From the memory's share of queries, keys and values, ``tape.qkv``, to the perceptron's rows.

    :param x_qkv: queries, keys and values of the inputs, (T, B, Q)
    :param slot: the step's place on the tape
    :param qkv: room for (N + 1, Q)
    :param scores: room for (H, N, N + 1) and a vector
    """
    sizes = Sizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
    lanes, n, heads = lanes_of(qkv), sizes.slots, sizes.heads
    key, value = sizes.key // lanes, sizes.value // lanes
    apart, width, head = heads * (2 * key + value), heads * value, 2 * key + value
    factor = 1.0 / math.sqrt(sizes.key)
    for b in range(sizes.batch):
        row = (slot * sizes.batch + b) * n
        for i in range(row, row + n):
            for k in range(apart):
                store(tape.qkv, i * apart + k, load(tape.qkv, i * apart + k) + load(norms.qkv_bias, k))
            tape.qkv_scale[i] = normalise(tape.qkv, i * apart, apart)
        unpack(sizes, tape, norms, x_qkv, t, slot, b, qkv)
        for h in range(heads):
            for i in range(n):
                for j in range(n + 1):
                    product = dot(qkv, i * apart + h * head, qkv, j * apart + h * head + key, key)
                    scores[(h * n + i) * (n + 1) + j] = product * factor
        first = row * heads * (n + 1)
        softmax_lines(scores, heads * n, n + 1, tape.weights, first)
        for i in range(n):
            at = (row + i) * width
            for h in range(heads):
                line = first + (h * n + i) * (n + 1)
                for k in range(value):
                    found = mix(tape.weights, line, 1, n + 1, qkv, h * head + 2 * key, apart, k)
                    store(tape.attended, at + h * value + k, found + load(tape.memory, at + h * value + k))
            tape.attended_scale[row + i] = normalise(tape.attended, at, width)
            scale_row(tape.attended, at, width, norms.attention_gain, norms.attention_shift, tape.rows, at)


@njit(nogil=True, cache=True)
def attend_back(sizes, tape, norms, x_qkv, t, grads, qkv, d_qkv, d_weights, d_row, sources=SOURCES):
    """Backward of :func:`attend` and of tanh(M).

    To ``grads.memory`` comes what reaches the memory before the step but for its queries, keys and values.

    :param qkv, d_qkv: room for (N + 1, Q)
    :param d_weights: room for (H, N, N + 1)
    :param d_row: room for (N, W)
    """
    sizes = Sizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
    lanes, n, heads = lanes_of(qkv), sizes.slots, sizes.heads
    key, value = sizes.key // lanes, sizes.value // lanes
    apart, width, head = heads * (2 * key + value), heads * value, 2 * key + value
    factor = 1.0 / math.sqrt(sizes.key)
    for b in range(sizes.batch):
        row = (t * sizes.batch + b) * n
        first = row * heads * (n + 1)
        unpack(sizes, tape, norms, x_qkv, t, t, b, qkv)
        for i in range(n):
            at, now = (row + i) * width, (b * n + i) * width
            for k in range(width):
                store(d_row, i * width + k, load(grads.update, at + k) + load(grads.rows, now + k))
            normalise_back(
                tape.attended, at, width, tape.attended_scale[row + i], norms.attention_gain, d_row, i * width,
                grads.attention_gain, grads.attention_shift, t * width,
            )  # fmt: skip
            for k in range(width):
                squashed = load(tape.squashed, at + k)
                more = fma(load(grads.squashed, now + k), 1.0 - squashed * squashed, load(d_row, i * width + k))
                store(grads.memory, now + k, load(grads.memory, now + k) + more)
        for h in range(heads):
            scores_back(sizes, tape.weights, first + h * n * (n + 1), qkv, h, d_row, d_weights)
            for i in range(n + 1):
                to = i * apart + h * head
                for k in range(key):
                    if i < n:
                        found = mix(d_weights, i * (n + 1), 1, n + 1, qkv, h * head + key, apart, k)
                        store(d_qkv, to + k, found * factor)
                    found = mix(d_weights, i, n + 1, n, qkv, h * head, apart, k)
                    store(d_qkv, to + key + k, found * factor)
                for k in range(value):
                    line = first + h * n * (n + 1) + i
                    store(d_qkv, to + 2 * key + k, mix(tape.weights, line, n + 1, n, d_row, h * value, width, k))
        for i in range(n):
            normalise_back(
                tape.qkv, (row + i) * apart, apart, tape.qkv_scale[row + i], norms.qkv_gain, d_qkv, i * apart,
                grads.qkv_gain, grads.qkv_shift, t * apart,
            )  # fmt: skip
            for k in range(apart):
                store(grads.qkv, (row + i) * apart + k, load(d_qkv, i * apart + k))
        for h in range(heads):
            for k in range(h * head + key, (h + 1) * head):  # no one asks the input's queries
                store(grads.x_qkv, (t * sizes.batch + b) * apart + k, load(d_qkv, n * apart + k))


@part
def scores_back(sizes, weights, first, qkv, h, d_row, d_scores):
    """One head's gradients of its scores before the softmax, (N, N + 1)."""
    lanes, n = lanes_of(qkv), sizes.slots
    key, value = sizes.key // lanes, sizes.value // lanes
    head, width = 2 * key + value, sizes.heads * value
    apart = sizes.heads * head
    for i in range(n):
        line = i * (n + 1)
        mean = 0.0
        for j in range(n + 1):
            grad = dot(d_row, i * width + h * value, qkv, j * apart + h * head + 2 * key, value)
            d_scores[line + j] = grad
            mean += grad * weights[first + line + j]
        for j in range(n + 1):
            d_scores[line + j] = (d_scores[line + j] - mean) * weights[first + line + j]


# --- gates ----------------------------------------------------------------------------------------------------------


@part
def begin_step(sizes, memory, source, fresh, initial, b, tape, slot):
    """The memory of a batch row before a step, that of ``memory`` from vector ``source`` on or the initial one."""
    count = sizes.slots * sizes.heads * sizes.value // lanes_of(memory)
    at = (slot * sizes.batch + b) * count
    for k in range(count):
        value = load(initial, k) if fresh else load(memory, source + k)
        store(tape.memory, at + k, value)
        store(tape.squashed, at + k, tanh(value))


@njit(nogil=True, cache=True)
def begin(sizes, memory, starts, initial, tape, sources=SOURCES):
    """The memory before the window, (B, N, W), to before its first step."""
    sizes = Sizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
    count = sizes.slots * sizes.heads * sizes.value // lanes_of(memory)
    for b in range(sizes.batch):
        begin_step(sizes, memory, b * count, starts[0, b], initial, b, tape, 0)


@njit(nogil=True, cache=True)
def finish(sizes, tape, norms, x_gates, starts, initial, t, slot, following, after, sources=SOURCES):
    """From the perceptron's result, ``tape.update``, to the memory after the step, and to that before the next.

    :param x_gates: the inputs' share of the gates' sums, (T, B, 2W)
    :param initial: the memory that an episode begins with, (N, W)
    :param following: the next step's place on the tape
    :param after: the memory after every step
    """
    sizes = Sizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
    n, width = sizes.slots, sizes.heads * sizes.value // lanes_of(after)
    for b in range(sizes.batch):
        row, x_at = (slot * sizes.batch + b) * n, (t * sizes.batch + b) * 2 * width
        out = (t * sizes.batch + b) * n * width
        for i in range(n):
            at = (row + i) * width
            for k in range(width):
                update = load(tape.update, at + k) + load(norms.update_bias, k)
                store(tape.update, at + k, load(tape.rows, at + k) + update)
            tape.update_scale[row + i] = normalise(tape.update, at, width)
            for k in range(width):
                normal = fma(load(tape.update, at + k), load(norms.update_gain, k), load(norms.update_shift, k))
                candidate = tanh(normal)
                store(tape.candidate, at + k, candidate)
                input_gate = sigmoid(load(tape.gates, 2 * at + k) + load(x_gates, x_at + k))
                forget_gate = sigmoid(load(tape.gates, 2 * at + width + k) + load(x_gates, x_at + width + k))
                store(tape.gates, 2 * at + k, input_gate)
                store(tape.gates, 2 * at + width + k, forget_gate)
                kept = forget_gate * load(tape.memory, at + k)
                store(after, out + i * width + k, fma(input_gate, candidate, kept))
        if t + 1 < starts.shape[0]:
            begin_step(sizes, after, out, starts[t + 1, b], initial, b, tape, following)


@njit(nogil=True, cache=True)
def finish_back(sizes, tape, norms, starts, t, grad_after, grads, sources=SOURCES):
    """Backward of :func:`finish`.

    ``grads.memory`` is that of the memory before the next step, and becomes what reaches the one before this step
    directly, through the forget gate.

    :param grad_after: of the memory after every step, from outside
    """
    sizes = Sizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
    n, width = sizes.slots, sizes.heads * sizes.value // lanes_of(grad_after)
    for b in range(sizes.batch):
        cut = t + 1 < starts.shape[0] and starts[t + 1, b]
        for i in range(n):
            row = (t * sizes.batch + b) * n + i
            at, now = row * width, (b * n + i) * width
            for k in range(width):
                grad = load(grad_after, at + k)
                if not cut:
                    grad = grad + load(grads.memory, now + k)
                input_gate, forget_gate = load(tape.gates, 2 * at + k), load(tape.gates, 2 * at + width + k)
                candidate = load(tape.candidate, at + k)
                of_input, of_forget = input_gate * (1.0 - input_gate), forget_gate * (1.0 - forget_gate)
                store(grads.gates, 2 * at + k, grad * candidate * of_input)
                store(grads.gates, 2 * at + width + k, grad * load(tape.memory, at + k) * of_forget)
                store(grads.update, at + k, grad * input_gate * (1.0 - candidate * candidate))
                store(grads.memory, now + k, grad * forget_gate)
            normalise_back(
                tape.update, at, width, tape.update_scale[row], norms.update_gain, grads.update, at,
                grads.update_gain, grads.update_shift, t * width,
            )  # fmt: skip


# --- perceptron -----------------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def rectify(values, bias, first, rows, sources=SOURCES):
    """Row by row max(x + bias, 0), in place, for so many rows of which vector ``first`` begins the first."""
    width = bias.shape[0] // lanes_of(bias)
    zero = full(values, 0.0)
    for i in range(rows):
        for k in range(width):
            at = first + i * width + k
            value = load(values, at) + load(bias, k)
            store(values, at, select_less(value, zero, zero, value))


@njit(nogil=True, cache=True)
def rectify_back(values, grads, first, count, sources=SOURCES):
    """Zero for the gradients where the values are, in place, ``count`` vectors from ``first`` on."""
    zero = full(values, 0.0)
    for at in range(first, first + count):
        store(grads, at, select_less(zero, load(values, at), load(grads, at), zero))
