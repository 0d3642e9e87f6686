"""The pointwise part of an LSTM, forward and backward: :func:`memagents.cores.lstm.lstm_cell` with resets.

One program works on BLOCK units of the batch, H units a row.
"""

from __future__ import annotations

import triton
import triton.language as tl

from memagents.kernels.cuda.slots import sigmoid, tanh

UNITS = 128
"""Units that one program works on."""


@triton.jit
def unit_of(batch, H: tl.constexpr, BLOCK: tl.constexpr):
    """Row and number of each unit of a program, and whether there is such a row."""
    unit = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return unit // H, unit % H, unit < batch * H


@triton.jit
def _load_gates(gates, inside, H: tl.constexpr):
    i = sigmoid(tl.load(gates, mask=inside, other=0.0))
    f = sigmoid(tl.load(gates + H, mask=inside, other=0.0))
    g = tanh(tl.load(gates + 2 * H, mask=inside, other=0.0))
    o = sigmoid(tl.load(gates + 3 * H, mask=inside, other=0.0))
    return i, f, g, o


@triton.jit(do_not_specialize=["t", "batch"])
def lstm(
    starts, gates, cell, features, previous, t, batch, H: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr
):
    """Step t.

    :param starts: (T + 1, B) bytes, the last row zeros
    :param gates: (T, B, 4H) before their squashing
    :param cell: (T + 1, B, H); reads t, writes t + 1
    :param features: (T, B, FEATURES); writes the hidden state
    :param previous: (T + 1, B, FEATURES); writes at t + 1 what the next step's controller gets of it
    """
    row, unit, inside = unit_of(batch, H, BLOCK)
    at = t * batch + row
    keep = tl.load(starts + at, mask=inside, other=1) == 0
    goes_on = tl.load(starts + at + batch, mask=inside, other=1) == 0
    i, f, g, o = _load_gates(gates + at * (4 * H) + unit, inside, H)
    c = f * tl.load(cell + at * H + unit, mask=inside & keep, other=0.0) + i * g
    hidden = o * tanh(c)
    tl.store(cell + (at + batch) * H + unit, c, mask=inside)
    tl.store(features + at * FEATURES + unit, hidden, mask=inside)
    tl.store(previous + (at + batch) * FEATURES + unit, tl.where(goes_on, hidden, 0.0), mask=inside)


@triton.jit(do_not_specialize=["t", "batch"])
def lstm_backward(
    starts, gates, cell, grad_features, d_recurrent, d_cell, d_gates, t, batch, d_hidden,
    H: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The derivative of :func:`lstm`, from after step t to before it.

    :param grad_features: (T, B, FEATURES), from outside
    :param d_recurrent: (B, FEATURES), of the features as the next step's controller got them
    :param d_cell: (2, B, H), halves; step t writes half t % 2
    :param d_gates: (T, B, 4H), before their squashing; written
    :param d_hidden: (B, H), of the hidden state as an interface got it; None without one
    """
    row, unit, inside = unit_of(batch, H, BLOCK)
    at = t * batch + row
    keep = tl.load(starts + at, mask=inside, other=1) == 0
    goes_on = tl.load(starts + at + batch, mask=inside, other=1) == 0
    i, f, g, o = _load_gates(gates + at * (4 * H) + unit, inside, H)
    before = tl.load(cell + at * H + unit, mask=inside & keep, other=0.0)
    s = tanh(tl.load(cell + (at + batch) * H + unit, mask=inside, other=0.0))
    d_h = tl.load(grad_features + at * FEATURES + unit, mask=inside, other=0.0)
    d_h += tl.load(d_recurrent + row * FEATURES + unit, mask=inside & goes_on, other=0.0)
    if d_hidden is not None:
        d_h += tl.load(d_hidden + row * H + unit, mask=inside, other=0.0)
    here, there = (t % 2) * batch + row, (1 - t % 2) * batch + row
    d_c = tl.load(d_cell + there * H + unit, mask=inside, other=0.0) + d_h * o * (1.0 - s * s)
    out = d_gates + at * (4 * H) + unit
    tl.store(out, d_c * g * i * (1.0 - i), mask=inside)
    tl.store(out + H, d_c * before * f * (1.0 - f), mask=inside)
    tl.store(out + 2 * H, d_c * i * (1.0 - g * g), mask=inside)
    tl.store(out + 3 * H, d_h * s * o * (1.0 - o), mask=inside)
    tl.store(d_cell + here * H + unit, tl.where(keep, d_c * f, 0.0), mask=inside)
