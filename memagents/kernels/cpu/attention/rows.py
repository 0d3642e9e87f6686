"""A gate in place of a residual, between its matrix products, forward and backward: for some rows, W numbers each.

Of the stream x and an update's sums (r_y, z_y, h_y): r = σ(r_y + r_x), z = σ(z_y + z_x − b), ĥ = tanh(h_y + U (r ∘ x)),
g = x + z ∘ (ĥ − x). Arrays are flat and C-contiguous, (rows, W) unless said; W is a multiple of a vector's lanes.
"""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.functions import sigmoid, tanh
from memagents.kernels.cpu.vector.simd import fma, lanes_of, load, next_ticket, store

ROWS = 128
"""Rows of a tile."""


@njit
def squash(
    rows, of_update, of_stream, stream, bias, resets, openings, given, tickets, thread, sources=SOURCES
):  # fmt: skip
    """The gates r and z, and r ∘ x, which the recurrent product is given.

    :param of_update: (rows, 3W), first of r, then of z and ĥ
    :param of_stream: (rows, 2W), first of r, then of z
    """
    width = len(bias) // lanes_of(bias)
    while True:
        first = next_ticket(tickets) * ROWS
        if first >= rows:
            break
        for row in range(first, min(first + ROWS, rows)):
            at, update, own = row * width, 3 * row * width, 2 * row * width
            for k in range(width):
                reset = sigmoid(load(of_update, update + k) + load(of_stream, own + k))
                opening = load(of_update, update + width + k) + load(of_stream, own + width + k) - load(bias, k)
                store(resets, at + k, reset)
                store(openings, at + k, sigmoid(opening))
                store(given, at + k, reset * load(stream, at + k))


@njit
def mix(rows, of_update, of_reset, stream, bias, openings, candidates, out, tickets, thread, sources=SOURCES):
    """ĥ, in the place of U (r ∘ x), and the gated stream.

    :param of_reset: U (r ∘ x)
    :param candidates: ĥ; may be ``of_reset`` itself
    """
    width = len(bias) // lanes_of(bias)
    while True:
        first = next_ticket(tickets) * ROWS
        if first >= rows:
            break
        for row in range(first, min(first + ROWS, rows)):
            at, update = row * width, (3 * row + 2) * width
            for k in range(width):
                x, candidate = load(stream, at + k), tanh(load(of_update, update + k) + load(of_reset, at + k))
                store(candidates, at + k, candidate)
                store(out, at + k, fma(load(openings, at + k), candidate - x, x))


@njit
def mix_back(rows, grads, stream, bias, openings, candidates, d_update, d_stream, tickets, thread, sources=SOURCES):
    """Backward of :func:`mix`: gradients of the sums of z and ĥ, and of the stream beside the product.

    :param grads: of the gated stream
    :param d_update: (rows, 3W)
    """
    width = len(bias) // lanes_of(bias)
    while True:
        first = next_ticket(tickets) * ROWS
        if first >= rows:
            break
        for row in range(first, min(first + ROWS, rows)):
            at, update = row * width, 3 * row * width
            for k in range(width):
                grad, opening, candidate = load(grads, at + k), load(openings, at + k), load(candidates, at + k)
                through = grad * opening
                of_opening = through * (1.0 - opening) * (candidate - load(stream, at + k))
                store(d_update, update + width + k, of_opening)
                store(d_update, update + 2 * width + k, through * (1.0 - candidate * candidate))
                store(d_stream, at + k, grad - through)


@njit
def squash_back(rows, d_given, stream, bias, resets, d_update, d_stream, given, tickets, thread, sources=SOURCES):
    """Backward of :func:`squash`: gradients of the sum of r, and the stream's, added to; and r ∘ x once more.

    :param d_given: of r ∘ x
    :param d_update: (rows, 3W)
    """
    width = len(bias) // lanes_of(bias)
    while True:
        first = next_ticket(tickets) * ROWS
        if first >= rows:
            break
        for row in range(first, min(first + ROWS, rows)):
            at, update = row * width, 3 * row * width
            for k in range(width):
                grad, reset, x = load(d_given, at + k), load(resets, at + k), load(stream, at + k)
                store(d_update, update + k, grad * x * reset * (1.0 - reset))
                store(d_stream, at + k, fma(grad, reset, load(d_stream, at + k)))
                store(given, at + k, reset * x)
