"""One step of the RMC between its matrix products, forward and backward: attention, LayerNorms, gates.

A function does so for the batch rows from ``first`` to before ``last``. Arrays are flat and C-contiguous, and
(T, B, N, ·) unless said: T steps, B batch rows, N slots, W width, H heads, Q = H (2 K + W / H) the queries, keys and
values of all heads, P the N + 1 rows that a slot looks at, padded to whole vectors. A wide vector holds neighbours in a
row, so that W and Q must be multiples of its lanes, and K and W / H of those of a narrow one, see
:mod:`memagents.kernels.cpu.rmc.attention`.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from numba.extending import register_jitable

from memagents.kernels.cpu.rmc.attention import look, look_back
from memagents.kernels.cpu.rmc.rows import add_row, copy_row, normalise, normalise_back, scale_row
from memagents.kernels.cpu.slots import take
from memagents.kernels.cpu.vector import simd
from memagents.kernels.cpu.vector.functions import sigmoid, tanh
from memagents.kernels.cpu.vector.simd import fma, part, select_less
from memagents.kernels.cpu.vector.wide import full, lanes_of, load, store

A = TypeVar("A")  # tensors, or flat arrays of their numbers


class RMCSizes(NamedTuple):
    """The sizes of a window."""

    batch: int
    slots: int
    heads: int
    key: int  # K
    value: int  # W / H
    layers: int  # L, of the perceptron


@register_jitable
def padded(slots, lanes):
    """P, the rows that a slot looks at, padded to whole vectors."""
    return (slots // lanes + 1) * lanes


@register_jitable
def packed_width(sizes):
    """Q, the width of all heads' queries, keys and values."""
    return sizes.heads * (2 * sizes.key + sizes.value)


class Norms(NamedTuple, Generic[A]):
    """The vectors of a step that are added to rows or scale them."""

    qkv_bias: A  # Q, of the linear layer
    qkv_gain: A  # Q, of the LayerNorm, as the next
    qkv_shift: A  # Q
    attention_gain: A  # W
    attention_shift: A  # W
    update_gain: A  # W
    update_shift: A  # W
    biases: A  # (L, W), of the perceptron's layers


class Tape(NamedTuple, Generic[A]):
    """Tape of all steps for their backward; or, without one, room for a single step of each thread's rows."""

    memory: A  # N W, before the step, new where an episode begins
    squashed: A  # N W, tanh of it
    qkv: A  # N Q, normalised, before gain and shift
    qkv_scale: A  # N, 1 / σ of the LayerNorm
    weights: A  # (T, B, H, N, P), of the attention
    attended: A  # N W, normalised
    attended_scale: A  # N
    rows: A  # N W, what the perceptron is given
    update: A  # N W, what it gives and its residual, normalised
    update_scale: A  # N
    candidate: A  # N W, tanh(M̃)
    gates: A  # N 2W, first the memory's share of the sums, then input gates and forget gates
    hidden: A  # (L - 1, T, B, N, W), of the perceptron


class Gradients(NamedTuple, Generic[A]):
    """Gradients that the backward of a step leaves, and that it carries from step to step.

    Those of vectors are sums over the G groups of batch rows that take their way together.
    """

    memory: A  # (B, N, W): of the memory after a step, then before it
    squashed: A  # (B, N, W), of one step
    rows: A  # (B, N, W), of one step, what the perceptron was given
    qkv: A  # (C, B, N, Q), of the linear layer's result; C steps, as the next
    update: A  # (C, B, N, W), of the perceptron's result
    gates: A  # (C, B, N, 2W), of the gates' sums
    hidden: A  # (L - 1, C, B, N, W), of the sums of the perceptron's hidden layers
    x_qkv: A  # (T, B, Q)
    x_gates: A  # (T, B, 2W), added to, as all that follow
    qkv_bias: A  # (G, Q), as the next
    qkv_gain: A
    qkv_shift: A
    attention_gain: A  # (G, W), as the others
    attention_shift: A
    update_gain: A
    update_shift: A
    biases: A  # (G, L, W)


class Room(NamedTuple, Generic[A]):
    """Scratch memory for one batch row; all of it begins as zero."""

    qkv: A  # (P, Q): queries, keys and values of its slots and, after them, of its input
    d_qkv: A  # (P, Q)
    columns: A  # the greater of K and W / H, times P: keys or values of a head, P columns
    weights: A  # (P, P): a head's attention
    scores: A  # (P, P): a head's scores, or the gradients of its weights, then of its scores
    rows: A  # (P, W): what is found, or its gradients
    valid: A  # P: one for the N + 1 that there are
    nothing: A  # 2W, zeros


@register_jitable
def sizes_of(numbers):
    """The sizes that such a tuple of integers holds."""
    return RMCSizes(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])


@register_jitable
def room_size(sizes, lanes):
    """Numbers of a :class:`Room`."""
    lines, width, packed = padded(sizes.slots, lanes), sizes.heads * sizes.value, packed_width(sizes)
    return lines * (2 * packed + max(sizes.key, sizes.value) + 2 * lines + width + 1) + 2 * width


@part
def room_of(flat, sizes):
    """A thread's room, cleared."""
    lines, width, packed = padded(sizes.slots, simd.lanes_of(flat)), sizes.heads * sizes.value, packed_width(sizes)
    for i in range(len(flat)):
        flat[i] = 0.0
    qkv, at = take(flat, 0, lines * packed)
    d_qkv, at = take(flat, at, lines * packed)
    columns, at = take(flat, at, lines * max(sizes.key, sizes.value))
    weights, at = take(flat, at, lines * lines)
    scores, at = take(flat, at, lines * lines)
    rows, at = take(flat, at, lines * width)
    valid, at = take(flat, at, lines)
    nothing, at = take(flat, at, 2 * width)
    for i in range(sizes.slots + 1):
        valid[i] = 1.0
    return Room(qkv, d_qkv, columns, weights, scores, rows, valid, nothing)


# --- attention ------------------------------------------------------------------------------------------------------


@part
def attend(first, last, sizes, tape, norms, x_qkv, t, place, room):
    """Attend: from the memory's share of queries, keys and values, ``tape.qkv``, to the perceptron's rows.

    :param x_qkv: queries, keys and values of the inputs, (T, B, Q)
    :param place: of the first of the rows on the tape in this step, in slots
    """
    lanes, n = lanes_of(room.qkv), sizes.slots
    apart, width = sizes.heads * (2 * sizes.key + sizes.value) // lanes, sizes.heads * sizes.value // lanes
    for b in range(first, last):
        row = place + (b - first) * n
        for i in range(n):
            at = (row + i) * apart
            tape.qkv_scale[row + i] = normalise(
                tape.qkv, at, apart, norms.qkv_gain, norms.qkv_shift, room.qkv, i * apart
            )
        copy_row(x_qkv, (t * sizes.batch + b) * apart, apart, room.qkv, n * apart)
        look(sizes, tape, row, room)
        for i in range(n):
            at = (row + i) * width
            for k in range(width):
                store(tape.attended, at + k, load(room.rows, i * width + k) + load(tape.memory, at + k))
            tape.attended_scale[row + i] = normalise(
                tape.attended, at, width, norms.attention_gain, norms.attention_shift, tape.rows, at
            )


@part
def attend_back(first, last, group, sizes, tape, norms, x_qkv, t, chunk, grads, room):
    """Backward of :func:`attend` and of tanh(M).

    To ``grads.memory`` comes what reaches the memory before the step but for its queries, keys and values.

    :param chunk: the step's place in the chunk of gradients
    """
    lanes, n, heads = lanes_of(room.qkv), sizes.slots, sizes.heads
    apart, width = heads * (2 * sizes.key + sizes.value) // lanes, heads * sizes.value // lanes
    for b in range(first, last):
        row, kept = (t * sizes.batch + b) * n, (chunk * sizes.batch + b) * n
        inputs = (t * sizes.batch + b) * apart
        copy_row(x_qkv, inputs, apart, room.qkv, n * apart)
        for i in range(n):
            scale_row(tape.qkv, (row + i) * apart, apart, norms.qkv_gain, norms.qkv_shift, room.qkv, i * apart)
            at, now, own = (row + i) * width, (b * n + i) * width, i * width
            for k in range(width):
                store(room.rows, own + k, load(grads.rows, now + k))
            normalise_back(
                tape.attended, at, width, tape.attended_scale[row + i], norms.attention_gain, room.rows, own,
                grads.attention_gain, grads.attention_shift, group * width,
            )  # fmt: skip
            for k in range(width):
                squashed = load(tape.squashed, at + k)
                more = fma(load(grads.squashed, now + k), 1.0 - squashed * squashed, load(room.rows, own + k))
                store(grads.memory, now + k, load(grads.memory, now + k) + more)
        look_back(sizes, tape, row, room)
        for i in range(n):
            normalise_back(
                tape.qkv, (row + i) * apart, apart, tape.qkv_scale[row + i], norms.qkv_gain, room.d_qkv, i * apart,
                grads.qkv_gain, grads.qkv_shift, group * apart,
            )  # fmt: skip
            add_row(room.d_qkv, i * apart, apart, grads.qkv_bias, group * apart)
            copy_row(room.d_qkv, i * apart, apart, grads.qkv, (kept + i) * apart)
        copy_row(room.d_qkv, n * apart, apart, grads.x_qkv, inputs)


# --- gates ----------------------------------------------------------------------------------------------------------


@part
def begin_step(sizes, memory, source, fresh, initial, tape, row):
    """The memory of a batch row before a step, that of ``memory`` from vector ``source`` on or the initial one.

    :param row: its place on the tape, in slots
    """
    count = sizes.slots * sizes.heads * sizes.value // lanes_of(memory)
    at = row * (count // sizes.slots)
    for k in range(count):
        value = load(initial, k) if fresh else load(memory, source + k)
        store(tape.memory, at + k, value)
        store(tape.squashed, at + k, tanh(value))


@part
def begin(first, last, sizes, memory, starts, initial, tape, place):
    """The memory before the window, (B, N, W), to before its first step."""
    count = sizes.slots * sizes.heads * sizes.value // lanes_of(memory)
    for b in range(first, last):
        begin_step(sizes, memory, b * count, starts[0, b], initial, tape, place + (b - first) * sizes.slots)


@part
def finish(first, last, sizes, tape, norms, x_gates, gate_biases, starts, initial, t, place, following, after):
    """Apply the gates: from the perceptron's result, ``tape.update``, to the memory after the step and before the next.

    :param x_gates: the inputs' share of the gates' sums, (T, B, 2W)
    :param gate_biases: constants among the sums of input gates and of forget gates
    :param initial: the memory that an episode begins with, (N, W)
    :param following: as ``place``, in the next step
    :param after: the memory after every step
    """
    n, width = sizes.slots, sizes.heads * sizes.value // lanes_of(after)
    last_bias = (sizes.layers - 1) * width
    of_input, of_forget = full(after, gate_biases[0]), full(after, gate_biases[1])
    for b in range(first, last):
        row, x_at = place + (b - first) * n, (t * sizes.batch + b) * 2 * width
        out = (t * sizes.batch + b) * n * width
        for i in range(n):
            at = (row + i) * width
            for k in range(width):
                store(tape.update, at + k, load(tape.update, at + k) + load(norms.biases, last_bias + k))
            tape.update_scale[row + i] = normalise(
                tape.update, at, width, norms.update_gain, norms.update_shift, tape.candidate, at
            )
            for k in range(width):
                candidate = tanh(load(tape.candidate, at + k))
                store(tape.candidate, at + k, candidate)
                input_gate = sigmoid(load(tape.gates, 2 * at + k) + load(x_gates, x_at + k) + of_input)
                forget_gate = sigmoid(
                    load(tape.gates, 2 * at + width + k) + load(x_gates, x_at + width + k) + of_forget
                )
                store(tape.gates, 2 * at + k, input_gate)
                store(tape.gates, 2 * at + width + k, forget_gate)
                kept = forget_gate * load(tape.memory, at + k)
                store(after, out + i * width + k, fma(input_gate, candidate, kept))
        if t + 1 < starts.shape[0]:
            begin_step(sizes, after, out, starts[t + 1, b], initial, tape, following + (b - first) * n)


@part
def finish_back(first, last, group, sizes, tape, norms, starts, t, chunk, grad_after, grads):
    """Backward of :func:`finish`.

    ``grads.memory`` is that of the memory before the next step, and becomes what reaches the one before this step
    directly, through the forget gate.

    :param chunk: the step's place in the chunk of gradients
    :param grad_after: of the memory after every step, from outside
    """
    n, width = sizes.slots, sizes.heads * sizes.value // lanes_of(grad_after)
    for b in range(first, last):
        cut = t + 1 < starts.shape[0] and starts[t + 1, b]
        inputs = (t * sizes.batch + b) * 2 * width
        for i in range(n):
            row, kept, now = (t * sizes.batch + b) * n + i, (chunk * sizes.batch + b) * n + i, (b * n + i) * width
            at, to = row * width, kept * width
            for k in range(width):
                grad = load(grad_after, at + k)
                if not cut:
                    grad = grad + load(grads.memory, now + k)
                input_gate, forget_gate = load(tape.gates, 2 * at + k), load(tape.gates, 2 * at + width + k)
                candidate = load(tape.candidate, at + k)
                of_input, of_forget = input_gate * (1.0 - input_gate), forget_gate * (1.0 - forget_gate)
                store(grads.gates, 2 * to + k, grad * candidate * of_input)
                store(grads.gates, 2 * to + width + k, grad * load(tape.memory, at + k) * of_forget)
                store(grads.update, to + k, grad * input_gate * (1.0 - candidate * candidate))
                store(grads.memory, now + k, grad * forget_gate)
            add_row(grads.gates, 2 * to, 2 * width, grads.x_gates, inputs)
            normalise_back(
                tape.update, at, width, tape.update_scale[row], norms.update_gain, grads.update, to,
                grads.update_gain, grads.update_shift, group * width,
            )  # fmt: skip
            add_row(grads.update, to, width, grads.biases, (group * sizes.layers + sizes.layers - 1) * width)


# --- perceptron -----------------------------------------------------------------------------------------------------


@part
def rectify(values, at, count):
    """max(x, 0) for ``count`` vectors, in place."""
    zero = full(values, 0.0)
    for k in range(at, at + count):
        value = load(values, k)
        store(values, k, select_less(value, zero, zero, value))


@part
def rectify_back(values, at, grads, grads_at, rows, width, d_bias, d_at):
    """Zero for the gradients where the values are, in place; adds the rest to those of the bias."""
    zero = full(values, 0.0)
    for row in range(0, rows * width, width):
        for k in range(width):
            grad = select_less(zero, load(values, at + row + k), load(grads, grads_at + row + k), zero)
            store(grads, grads_at + row + k, grad)
            store(d_bias, d_at + k, load(d_bias, d_at + k) + grad)
