"""Comparing a core's fused window with the plain loop of its steps."""

import torch

from memagents.cores.core import map_state, state_leaves, unroll_by_steps


def values_and_gradients(unroll, core, inputs, state, starts, by_state):
    """Results of a window, by name, and the gradients of a random sum of them.

    :param by_state: the final state is part of both
    """
    inputs = inputs.clone().requires_grad_()
    state = map_state(lambda leaf: leaf.clone().requires_grad_(leaf.is_floating_point()), state)
    core.zero_grad()
    unrolled = unroll(core, inputs, state, starts)
    generator = torch.Generator().manual_seed(0)
    results = [unrolled.outputs, *(state_leaves(unrolled.state) if by_state else [])]
    learned = [result for result in results if result.is_floating_point()]
    sum((r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in learned).backward()
    found = {f"result {i}": result.detach() for i, result in enumerate(results)}
    found |= {f"d {name}": weight.grad for name, weight in core.named_parameters() if weight.grad is not None}
    found |= {f"d state {i}": leaf.grad for i, leaf in enumerate(state_leaves(state)) if leaf.is_floating_point()}
    return found | {"d inputs": inputs.grad}


def assert_equal_unrolls(core, inputs, state, starts, tolerance=1e-10, by_state=True):
    """The core's own unroll gives the plain loop's values and gradients.

    :param by_state: as in :func:`values_and_gradients`
    """
    expected = values_and_gradients(unroll_by_steps, core, inputs, state, starts, by_state)
    found = values_and_gradients(type(core).unroll, core, inputs, state, starts, by_state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        absolute = tolerance * (1 + value.abs().max().item())
        torch.testing.assert_close(found[name], value, rtol=0, atol=absolute, msg=lambda m, n=name: f"{n}: {m}")


def assert_weights_learn_alike(core, inputs, state, starts):
    """The gradients of the weights, of a state that wants none, are those of the plain loop."""
    gradients = []
    for unroll in (unroll_by_steps, type(core).unroll):
        core.zero_grad()
        unroll(core, inputs, state, starts).outputs.square().sum().backward()
        gradients.append([parameter.grad for parameter in core.parameters()])
    torch.testing.assert_close(*gradients)


def assert_same_bits(found, expected):
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def on_threads(call):
    """Results of the call on one, two and three of torch's threads."""
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(call())
    finally:
        torch.set_num_threads(before)
    return results
