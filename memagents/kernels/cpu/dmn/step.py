"""What lies between the matrix products of a DMN, forward and backward, for pairs of a fact and a step that sees it.

Arrays are flat and C-contiguous, rows of H numbers (a multiple of a vector's lanes) unless said. Pair number i is of
the fact ``facts[i]`` and the step ``owners[i]``.
"""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.functions import sigmoid, tanh
from memagents.kernels.cpu.vector.simd import fma, full, load, select_less, splat, store


@njit
def compare(width, rows, vectors, facts, owners, out, sources=SOURCES):
    """[f ∘ v; |f − v|] of every pair, (pairs, 2H).

    :param width: H in vectors
    :param rows: f by fact
    :param vectors: v by step
    """
    for i in range(len(facts)):
        fact, owner, to = facts[i] * width, owners[i] * width, 2 * i * width
        for k in range(width):
            f, v = load(rows, fact + k), load(vectors, owner + k)
            store(out, to + k, f * v)
            store(out, to + width + k, select_less(f, v, v - f, f - v))


@njit
def compare_back(width, rows, vectors, facts, owners, grads, d_rows, d_vectors, sources=SOURCES):
    """Backward of :func:`compare`; adds to ``d_rows`` and ``d_vectors``."""
    zero, one = full(rows, 0.0), full(rows, 1.0)
    for i in range(len(facts)):
        fact, owner, of = facts[i] * width, owners[i] * width, 2 * i * width
        for k in range(width):
            f, v = load(rows, fact + k), load(vectors, owner + k)
            product, distance = load(grads, of + k), load(grads, of + width + k)
            distance = distance * select_less(f, v, -one, select_less(v, f, one, zero))
            store(d_rows, fact + k, load(d_rows, fact + k) + fma(product, v, distance))
            store(d_vectors, owner + k, load(d_vectors, owner + k) + (product * f - distance))


@njit
def attend(width, begin, count, of_facts, facts, gates, sums, candidates, before, h, sources=SOURCES):
    """One step of the attention GRU, for pairs ``begin`` to before ``begin + count``, of states 0 to before ``count``.

    :param of_facts: share of reset gate and candidate by fact, 2H
    :param gates: g of every pair
    :param sums: U_r h and U h of every pair, (pairs, 2H); the first becomes r
    :param candidates: become h̃ of every pair
    :param before: becomes h before it
    :param h: states
    """
    for i in range(count):
        pair = begin + i
        fact, own, at, gate = 2 * facts[pair] * width, 2 * pair * width, pair * width, splat(gates, pair)
        for k in range(width):
            state = load(h, i * width + k)
            reset = sigmoid(load(of_facts, fact + k) + load(sums, own + k))
            new = tanh(fma(reset, load(sums, own + width + k), load(of_facts, fact + width + k)))
            store(sums, own + k, reset)
            store(candidates, at + k, new)
            store(before, at + k, state)
            store(h, i * width + k, fma(gate, new - state, state))


@njit
def attend_back(
    width, begin, count, facts, gates, sums, candidates, before, d_h, d_of_facts, d_gates, d_sums, sources=SOURCES
):
    """Backward of :func:`attend`.

    :param d_h: of the states after it, then before it but for the products
    :param d_of_facts: added to
    :param d_gates: of every pair, lanes numbers whose sum it is
    :param d_sums: of the products, (pairs, 2H)
    """
    for i in range(count):
        pair = begin + i
        fact, own, at, gate = 2 * facts[pair] * width, 2 * pair * width, pair * width, splat(gates, pair)
        total = full(gates, 0.0)
        for k in range(width):
            grad, reset, product = load(d_h, i * width + k), load(sums, own + k), load(sums, own + width + k)
            new = load(candidates, at + k)
            total = fma(grad, new - load(before, at + k), total)
            d_new = grad * gate * (1.0 - new * new)
            d_reset = d_new * product * reset * (1.0 - reset)
            store(d_h, i * width + k, grad - grad * gate)
            store(d_sums, own + k, d_reset)
            store(d_sums, own + width + k, d_new * reset)
            store(d_of_facts, fact + k, load(d_of_facts, fact + k) + d_reset)
            store(d_of_facts, fact + width + k, load(d_of_facts, fact + width + k) + d_new)
        store(d_gates, pair, total)
