"""One step of a Stable Hadamard Memory for one row of the batch, forward and, by hand, backward.

The equations are those of :class:`memagents.cores.shm.SHM`; C_t = 1 + tanh(θ_t ⊗ v_c) is nowhere stored but for a few
steps on the way back. A gradient is named ``d_`` and the name of what it belongs to.
"""

from __future__ import annotations

from memagents.kernels.cpu.vector.functions import tanh
from memagents.kernels.cpu.vector.reductions import sum_lanes
from memagents.kernels.cpu.vector.simd import fma, part, select_less
from memagents.kernels.cpu.vector.wide import full, lanes_of, load, load_at, splat, store, store_at


@part
def clip(value, bound):
    """The value within ± the bound, two vectors; what is not a number stays so."""
    value = select_less(bound, value, bound, value)
    return select_less(value, -bound, -bound, value)


@part
def step(width, given, row, memory, at, out, to, bound, features):
    """From the memory before the step to the one after it, which may take its place, and what is read.

    :param row: of x, t B + b
    :param at: vector from which on ``memory`` is read, as ``to`` is for ``out``
    """
    lanes, x, start, theta = lanes_of(memory), given.x, row * (5 * width + 1), given.drawn[row] * width
    most, units, gate = full(memory, bound), width // lanes, x[start + 4 * width]
    for i in range(width):
        factor, value = splat(given.thetas, theta + i), full(memory, gate * x[start + 2 * width + i])
        read, line = full(memory, 0.0), i * units
        for k in range(units):
            here = start + k * lanes
            calibration = 1.0 + tanh(factor * load_at(x, here + 3 * width))
            update = value * load_at(x, here + width)
            new = clip(fma(load(memory, at + line + k), calibration, update), most)
            store(out, to + line + k, new)
            read = fma(new, load_at(x, here), read)
        features[row * width + i] = sum_lanes(read) + x[start + 4 * width + 1 + i]


@part
def step_again(width, given, row, memory, at, to, squashed, to_squashed, bound):
    """Compute :func:`step` once more, within ``memory``, and keep tanh(θ ⊗ v_c) instead of what is read."""
    lanes, x, start, theta = lanes_of(memory), given.x, row * (5 * width + 1), given.drawn[row] * width
    most, units, gate = full(memory, bound), width // lanes, x[start + 4 * width]
    for i in range(width):
        factor, value = splat(given.thetas, theta + i), full(memory, gate * x[start + 2 * width + i])
        line = i * units
        for k in range(units):
            here = start + k * lanes
            tangent = tanh(factor * load_at(x, here + 3 * width))
            store(squashed, to_squashed + line + k, tangent)
            update = value * load_at(x, here + width)
            store(memory, to + line + k, clip(fma(load(memory, at + line + k), 1.0 + tangent, update), most))


@part
def step_back(width, given, row, memory, at, squashed, at_squashed, bound, grad, d, d_at):
    """Backward of :func:`step`; ``d.memory``, from vector ``d_at`` on, becomes that before the step.

    :param memory: before the step
    :param squashed: tanh(θ ⊗ v_c)
    :param grad: of what is read, (T, B, H)
    """
    lanes, x, start, theta = lanes_of(memory), given.x, row * (5 * width + 1), given.drawn[row] * width
    most, zero, units, gate = full(memory, bound), full(memory, 0.0), width // lanes, x[start + 4 * width]
    for k in range(4 * units):
        store_at(d.x, start + k * lanes, zero)
    d_gate = gate * 0.0
    for i in range(width):
        factor, line, number = splat(given.thetas, theta + i), i * units, gate * x[start + 2 * width + i]
        value, of_read = full(memory, number), splat(grad, row * width + i)
        d_value, d_theta = zero, zero
        for k in range(units):
            here = start + k * lanes
            query, key, coding = load_at(x, here), load_at(x, here + width), load_at(x, here + 3 * width)
            tangent, old = load(squashed, at_squashed + line + k), load(memory, at + line + k)
            free = fma(old, 1.0 + tangent, value * key)
            store_at(d.x, here, fma(of_read, clip(free, most), load_at(d.x, here)))
            grown = fma(of_read, query, load(d.memory, d_at + line + k))
            grown = select_less(most, free, zero, select_less(free, -most, zero, grown))
            d_value = fma(grown, key, d_value)
            store_at(d.x, here + width, fma(grown, value, load_at(d.x, here + width)))
            d_product = grown * old * (1.0 - tangent * tangent)
            d_theta = fma(d_product, coding, d_theta)
            store_at(d.x, here + 3 * width, fma(d_product, factor, load_at(d.x, here + 3 * width)))
            store(d.memory, d_at + line + k, grown * (1.0 + tangent))
        of_value = sum_lanes(d_value)
        d_gate += of_value * x[start + 2 * width + i]
        d.x[start + 2 * width + i] = of_value * gate
        d.x[start + 4 * width + 1 + i] = grad[row * width + i]
        d.thetas[row * width + i] = sum_lanes(d_theta)
    d.x[start + 4 * width] = d_gate
