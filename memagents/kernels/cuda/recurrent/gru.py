"""The pointwise part of a GRU, forward and backward: :meth:`memagents.cores.gru.GRU.step` with resets.

One program works on BLOCK units of the batch, H units a row. Of gates there are four here, in this order: the recurrent
product of the candidate, the reset gate, the update gate, and the inputs' share of the candidate. One product then adds
to the first three in place, and the last three are as the inputs gave them.
"""

from __future__ import annotations

import triton
import triton.language as tl

from memagents.kernels.cuda.recurrent.lstm import unit_of
from memagents.kernels.cuda.slots import sigmoid, tanh


@triton.jit
def _load_gates(gates, inside, H: tl.constexpr):
    """The candidate's recurrent product, and the gates squashed: reset, update, candidate."""
    product = tl.load(gates, mask=inside, other=0.0)
    r = sigmoid(tl.load(gates + H, mask=inside, other=0.0))
    z = sigmoid(tl.load(gates + 2 * H, mask=inside, other=0.0))
    n = tanh(tl.load(gates + 3 * H, mask=inside, other=0.0) + r * product)
    return product, r, z, n


@triton.jit(do_not_specialize=["t", "batch"])
def gru(starts, gates, features, previous, t, batch, H: tl.constexpr, BLOCK: tl.constexpr):
    """Step t.

    :param starts: (T + 1, B) bytes, the last row zeros
    :param gates: (T, B, 4H) before their squashing
    :param features: (T, B, H); writes the hidden state
    :param previous: (T + 1, B, H); reads at t, writes at t + 1 the hidden state as the next step gets it
    """
    row, unit, inside = unit_of(batch, H, BLOCK)
    at = t * batch + row
    goes_on = tl.load(starts + at + batch, mask=inside, other=1) == 0
    _, _, z, n = _load_gates(gates + at * (4 * H) + unit, inside, H)
    before = tl.load(previous + at * H + unit, mask=inside, other=0.0)
    hidden = n + z * (before - n)
    tl.store(features + at * H + unit, hidden, mask=inside)
    tl.store(previous + (at + batch) * H + unit, tl.where(goes_on, hidden, 0.0), mask=inside)


@triton.jit(do_not_specialize=["t", "batch"])
def gru_backward(
    starts, gates, previous, grad_features, d_hidden, d_gates, t, batch, H: tl.constexpr, BLOCK: tl.constexpr
):
    """The derivative of :func:`gru`, from after step t to before it.

    :param previous: (T + 1, B, H), the hidden states as the steps got them
    :param grad_features: (T, B, H), from outside
    :param d_hidden: (2, B, H), halves; step t reads the gradient of the hidden state as the next step got it, and
        writes to half t % 2 that of the one before, but for what goes through the product
    :param d_gates: (T, B, 4H), before their squashing; written
    """
    row, unit, inside = unit_of(batch, H, BLOCK)
    at = t * batch + row
    here, there = (t % 2) * batch + row, (1 - t % 2) * batch + row
    goes_on = tl.load(starts + at + batch, mask=inside, other=1) == 0
    product, r, z, n = _load_gates(gates + at * (4 * H) + unit, inside, H)
    before = tl.load(previous + at * H + unit, mask=inside, other=0.0)
    d_h = tl.load(grad_features + at * H + unit, mask=inside, other=0.0)
    d_h += tl.load(d_hidden + there * H + unit, mask=inside & goes_on, other=0.0)
    d_new = d_h * (1.0 - z) * (1.0 - n * n)
    out = d_gates + at * (4 * H) + unit
    tl.store(out, d_new * r, mask=inside)
    tl.store(out + H, d_new * product * r * (1.0 - r), mask=inside)
    tl.store(out + 2 * H, d_h * (before - n) * z * (1.0 - z), mask=inside)
    tl.store(out + 3 * H, d_new, mask=inside)
    tl.store(d_hidden + here * H + unit, d_h * z, mask=inside)
