"""SAMs and SDNCs for the tests of their kernels."""

import torch

from memagents import make_core
from memagents.cores.core import map_state, state_leaves, unroll_by_steps

PLAIN = ["sam", "sdnc"]
NAMES = [*PLAIN, "sharp sdnc"]  # with sharpened links


def make(name, slots, width, heads, reads, hidden, links=3, dtype=torch.float64, noise=0.5):
    """Weights away from their initial values, so that gates open and shut and each part matters."""
    torch.manual_seed(slots * 1000 + width * 100 + heads * 10 + hidden)
    sizes = {"slots": slots, "width": width, "read_heads": heads, "reads": reads, "controller_size": hidden}
    more = {} if name == "sam" else {"links": links, "sharpen_links": name == "sharp sdnc"}
    core = make_core(name.split()[-1], 3, **sizes, **more, ready_to_record=False, write_penalty=0.5).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return core


def used_state(core, batch, steps=9):
    """A state as in the middle of an episode."""
    like = core.output.weight
    inputs = torch.randn(steps, batch, 3, dtype=like.dtype)
    with torch.no_grad():
        starts = torch.zeros(steps, batch, dtype=torch.bool)
        return unroll_by_steps(core, inputs, core.initial_state(batch), starts).state


def values_and_gradients(unroll, core, inputs, state, starts):
    """Results of a window, by name, and the gradients of a random sum of them and of the losses."""
    inputs = inputs.clone().requires_grad_()
    state = map_state(lambda leaf: leaf.clone().requires_grad_(leaf.is_floating_point()), state)
    core.zero_grad()
    unrolled = unroll(core, inputs, state, starts)
    generator = torch.Generator().manual_seed(0)
    results = [unrolled.outputs, unrolled.losses["write"], *state_leaves(unrolled.state)]
    weights = [torch.randn(r.shape, generator=generator, dtype=r.dtype) for r in results if r.requires_grad]
    sum((r * w).sum() for r, w in zip((r for r in results if r.requires_grad), weights, strict=True)).backward()
    found = {f"result {i}": result.detach() for i, result in enumerate(results)}
    found |= {f"d {name}": weight.grad for name, weight in core.named_parameters()}
    found |= {f"d state {i}": leaf.grad for i, leaf in enumerate(state_leaves(state)) if leaf.grad is not None}
    return found | {"d inputs": inputs.grad}


def assert_equal_unrolls(core, inputs, state, starts, tolerance=1e-11):
    """The core's own unroll gives the plain loop's values and gradients, and chooses the same slots."""
    expected = values_and_gradients(unroll_by_steps, core, inputs, state, starts)
    found = values_and_gradients(type(core).unroll, core, inputs, state, starts)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.is_floating_point():
            absolute = tolerance * (1 + value.abs().max().item())
            torch.testing.assert_close(found[name], value, rtol=0, atol=absolute, msg=lambda m, n=name: f"{n}: {m}")
        else:
            assert torch.equal(found[name], value), name


def detached(state):
    return map_state(lambda leaf: leaf.detach(), state)


def learned(core, inputs, state, starts):
    """Outputs, the gradient of the inputs, and the state after a window that is learned from."""
    inputs = inputs.clone().requires_grad_()
    unrolled = core.unroll(inputs, state, starts)
    unrolled.outputs.square().sum().backward()
    return [unrolled.outputs.detach(), inputs.grad, *state_leaves(detached(unrolled.state))]
