"""What the tests of cores made of matrix memories in chunks ask of all of them."""

import numpy as np
import torch
from torch import Tensor

from memagents.cores.core import map_state, unroll_by_steps
from memagents.memory.linear import linear_window
from tests.cores.linear import B, inputs_of, no_starts, some_starts, used
from tests.reference.basics import layer_norm


def array(tensor):
    return tensor.detach().numpy()


def of_layer(leaf, row, layer, layers=2):
    """What a leaf of a state has of one row and layer."""
    return array(leaf[row].chunk(layers)[layer])


def against_the_equations(core, weights, step, memories_of, steps=12):
    """Hold outputs and the state of a window with starts against a loop, block after block.

    :param weights: of each block, for ``step``
    :param memories_of: those of a state's row and layer, for ``step``
    """
    inputs, starts, before = inputs_of(steps), some_starts(steps), used(core)
    outputs, state, _, _ = core.unroll(inputs, before, starts)
    fresh = core.initial_state(1)
    for b in range(B):
        layers = range(count := len(core.blocks))
        memories = [memories_of(before, b, n) for n in layers]
        recent = [list(of_layer(before.recent, b, n, count)) for n in layers]
        for t in range(steps):
            x = array(core.encoder(inputs[t, b]))
            for n, block in enumerate(core.blocks):
                if starts[t, b]:
                    memories[n], recent[n] = memories_of(fresh, 0, n), list(np.zeros_like(recent[n]))
                u = layer_norm(x, array(block.norm.weight), array(block.norm.bias))
                added, memories[n], recent[n] = step(weights[n], u, memories[n], recent[n])
                x = x + added
            np.testing.assert_allclose(array(outputs[t, b]), x, rtol=1e-10, atol=1e-10)
        for n in layers:
            np.testing.assert_allclose(of_layer(state.recent, b, n, count), recent[n], rtol=1e-10, atol=1e-10)
            for seen, expected in zip(memories_of(state, b, n), memories[n], strict=True):
                for one, other in zip(_parts(seen), _parts(expected), strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def _parts(memory):
    return memory if isinstance(memory, tuple) else (memory,)


def one_by_one(core, inputs, state, starts):
    """Windows of one step each, as acting has them."""
    outputs = []
    for x, begun in zip(inputs.split(1), starts.split(1), strict=True):
        output, state, _, _ = core.unroll(x, state, begun)
        outputs.append(output)
    return torch.cat(outputs), state, {}, {}


def window_equals_steps(core, steps=20):
    """Values, the state and all gradients, with a state that is carried in and starts; acting sees the same."""
    inputs, starts = inputs_of(steps), some_starts(steps)
    starts[5, 0] = starts[6, 0] = True
    before = map_state(lambda leaf: leaf.detach().requires_grad_(), used(core))
    asked = [inputs.requires_grad_(), *core.parameters()]
    constant = map_state(Tensor.detach, before)  # the first state of a training, in no history
    results = []
    for way in (type(core).unroll, unroll_by_steps, one_by_one):
        found = []
        for state, leaves in ((before, [*before, *asked]), (constant, asked)):
            outputs, state, _, _ = way(core, inputs, state, starts)
            total = sum(
                (x * torch.linspace(-1, 2, x.numel(), dtype=x.dtype).view_as(x)).sum() for x in (outputs, *state)
            )
            found += [outputs, *state, *torch.autograd.grad(total, leaves)]
        results.append(found)
    for window, *others in zip(*results, strict=True):
        for other in others:
            torch.testing.assert_close(window, other, rtol=1e-9, atol=1e-10)
    with torch.no_grad():  # where memories are changed in place
        kept = [leaf.clone() for leaf in before]
        outputs, state, _, _ = one_by_one(core, inputs, before, starts)
    for seen, right in zip((outputs, *state, *before), (*results[0][: 1 + len(state)], *kept), strict=True):
        torch.testing.assert_close(seen, right, rtol=1e-9, atol=1e-10)


@torch.no_grad()
def measured_half_lives(core, steps=20):
    """Of each number of the first layer's memory, from what is left of ones after so many steps of no input."""
    core.encoder.weight.zero_()
    core.encoder.bias.zero_()
    nothing = core.initial_state(B)
    ones = nothing._replace(memory=torch.ones_like(nothing.memory))
    empty, full = (core.unroll(inputs_of(steps), state, no_starts(steps)).state for state in (nothing, ones))
    left = full.memory - empty.memory
    if hasattr(full, "stabiliser"):
        left = left * full.stabiliser.exp()[..., None, None]
    return -steps / left[0].chunk(len(core.blocks))[0].log2()


def nothing_that_is_not_finite_outlives_a_start(core):
    broken = map_state(lambda leaf: torch.full_like(leaf, float("inf")), core.initial_state(B))
    for steps in (1, 6):
        starts = no_starts(steps)
        starts[0] = True
        with torch.no_grad():
            outputs, state, _, _ = core.unroll(inputs_of(steps), broken, starts)
            fresh = core.unroll(inputs_of(steps), core.initial_state(B), no_starts(steps))
        torch.testing.assert_close(outputs, fresh.outputs)
        for seen, expected in zip(state, fresh.state, strict=True):
            torch.testing.assert_close(seen, expected)


def recall(keys, values, decays, queries, beta=1.0):
    """What queries (N, K) find, (N, V), after values (T, V) were written at keys (T, K), by the delta rule."""
    steps, size = keys.shape
    erased, values = ((beta * x).view(steps, 1, 1, 1, -1) for x in (keys, values))
    reads, memory = linear_window(
        torch.zeros(steps, 1, 1, size, dtype=keys.dtype),
        keys.view(steps, 1, 1, 1, size),
        values,
        torch.as_tensor(decays, dtype=keys.dtype).log().expand(steps).view(steps, 1, 1, 1),
        torch.zeros(1, 1, size, values.shape[-1], dtype=keys.dtype),
        torch.zeros(steps, 1, dtype=torch.bool),
        erased,
    )
    assert not reads.any()
    return queries @ memory[0, 0]
