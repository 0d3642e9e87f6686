"""The core's weights in the order in which :mod:`memagents.kernels.cpu.vector.row_products` needs them.

The core has the hidden state before the read vectors, the kernels have it behind them; for the interface see
:func:`memagents.kernels.cpu.sparse.tape.source_row`. Weights are flat, as they lie.
"""

from __future__ import annotations

from memagents.kernels.cpu.sparse.tape import source_row
from memagents.kernels.cpu.vector.simd import part
from memagents.kernels.cpu.vector.wide import full, lanes_of, load, store, transpose


@part
def pack_gates(weight, sizes, packed):
    """The recurrent weight, (4H, H + R W)."""
    lanes = lanes_of(packed)
    hidden, vectors = sizes.hidden // lanes, sizes.vectors // lanes
    inputs = hidden + vectors
    for block in range(4 * hidden):
        for k in range(inputs):
            source = k + hidden if k < vectors else k - vectors
            at = (block * inputs * lanes + source) * lanes
            transpose(weight, at, inputs * lanes, packed, (block * inputs + k) * lanes)


@part
def pack_gate_columns(weight, sizes, packed):
    """The transpose of the recurrent weight."""
    lanes = lanes_of(packed)
    hidden, vectors = sizes.hidden // lanes, sizes.vectors // lanes
    inputs, outputs = 4 * sizes.hidden, hidden + vectors
    for column in range(outputs):
        source = column + hidden if column < vectors else column - vectors
        for k in range(inputs):
            store(packed, column * inputs + k, load(weight, k * outputs + source))


@part
def pack_face(weight, bias, sizes, packed, packed_bias):
    """The interface's weight, (I, H), and its bias."""
    lanes, hidden = lanes_of(packed), sizes.hidden
    for entry in range(sizes.face):
        block, lane, source = entry // lanes, entry % lanes, source_row(sizes, entry) * hidden
        for k in range(hidden):
            at = (block * hidden + k) * lanes + lane
            packed[at] = weight[source + k] if entry < sizes.rows else 0.0
        packed_bias[entry] = bias[source // hidden] if entry < sizes.rows else 0.0


@part
def pack_face_columns(weight, sizes, packed):
    """The transpose of the interface's weight."""
    outputs = sizes.hidden // lanes_of(packed)
    for k in range(sizes.face):
        source = source_row(sizes, k) * outputs
        for column in range(outputs):
            row = load(weight, source + column) if k < sizes.rows else full(packed, 0.0)
            store(packed, column * sizes.face + k, row)
