"""The RMC against plain loops, and against the errors that other RMCs make."""

import numpy as np
import pytest
import torch

from memagents import make_core
from tests.reference import rmc

T, B = 6, 2
VARIANTS = {
    "unit gates": {},
    "a gate for each slot": {"gate_style": "memory"},
    "no gates": {"gate_style": None},
    "keys of their own size": {"key_size": 3},
    "three blocks": {"blocks": 3},
    "one layer": {"mlp_layers": 1},
    "three layers": {"mlp_layers": 3},
    "more slots than width": {"slots": 6, "width": 4},
    "other biases": {"forget_bias": -0.5, "input_bias": 2.0},
}


def make(**changes):
    """Weights (LayerNorms' too) away from their initial values, so that each matters."""
    torch.manual_seed(0)
    core = make_core("rmc", 5, **({"slots": 3, "width": 4, "heads": 2} | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return core


def inputs_of(steps=T):
    return torch.randn(steps, B, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


def numpy_weights(core):
    def pair(layer):
        return layer.weight.detach().numpy(), layer.bias.detach().numpy()

    weights = dict(zip(("W_x", "b_x"), pair(core.input_row), strict=True))
    weights["blocks"] = [
        dict(zip(("W", "b"), pair(block.qkv), strict=True))
        | {name: pair(getattr(block, name)) for name in ("qkv_norm", "attention_norm", "mlp_norm")}
        for block in core.blocks
    ]
    weights["mlp"] = [pair(layer) for layer in core.mlp if isinstance(layer, torch.nn.Linear)]
    if core.gated:
        weights |= dict(zip(("gate_W_x", "gate_b_x"), pair(core.input_gates), strict=True))
        weights["gate_W_m"] = core.memory_gates.weight.detach().numpy()
    return weights


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core = make(**changes)
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[3, 0] = True
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B), starts)
    slots, width = state.memory.shape[1:]
    sizes = {
        "heads": 2,
        "key_size": changes.get("key_size", width // 2),
        "gate_style": changes.get("gate_style", "unit"),
    }
    biases = {name: changes[name] for name in ("forget_bias", "input_bias") if name in changes}
    for b in range(B):
        memory = rmc.rmc_initial(slots, width)
        for t in range(T):
            if starts[t, b]:
                memory = rmc.rmc_initial(slots, width)
            memory = rmc.rmc_step(numpy_weights(core), inputs[t, b].numpy(), memory, **sizes, **biases)
            np.testing.assert_allclose(outputs[t, b].detach(), memory.ravel(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.memory[b].detach(), memory, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("slots, width", [(3, 6), (4, 4), (6, 2)])
def test_the_memory_begins_as_the_identity(slots, width):
    memory = make(slots=slots, width=width).initial_state(B).memory
    assert memory.shape == (B, slots, width)
    for n in range(slots):
        for w in range(width):
            assert (memory[:, n, w] == (n == w)).all()


def test_slots_do_not_stay_alike():
    core = make()
    memory = core.unroll(inputs_of(), core.initial_state(B), no_starts()).state.memory
    assert (memory[:, 0] - memory[:, 1]).abs().max() > 0.01


def test_the_output_is_the_memory_unless_a_size_is_asked_for():
    core = make()
    outputs, state, _, _ = core.unroll(inputs_of(), core.initial_state(B), no_starts())
    assert core.output_size == 12
    assert torch.equal(outputs[-1], state.memory.flatten(1))
    projected = make(output_size=7)
    outputs, state, _, _ = projected.unroll(inputs_of(), projected.initial_state(B), no_starts())
    assert outputs.shape == (T, B, 7)
    torch.testing.assert_close(outputs[-1], projected.output(state.memory.flatten(1)))


def test_a_row_is_normalised_by_itself():
    """A LayerNorm over slots × features would tie the slots together even where nothing attends."""
    core = make()
    with torch.no_grad():
        for norm in (core.blocks[0].qkv_norm.weight, core.blocks[0].qkv_norm.bias):
            norm.zero_()
    memory = torch.randn(B, 3, 4, dtype=torch.float64, requires_grad=True)
    after = core(inputs_of()[0], core.initial_state(B)._replace(memory=memory)).state.memory
    (grad,) = torch.autograd.grad(after[:, 0].sum(), memory)
    assert (grad[:, 1:] == 0).all()
    assert (grad[:, 0] != 0).any()


def test_what_blocks_and_layers_share():
    """The perceptron's layers are distinct; blocks share it and nothing else."""
    one, three = make(mlp_layers=2), make(mlp_layers=3, blocks=2)
    layers = [module for module in three.mlp if isinstance(module, torch.nn.Linear)]
    assert len(layers) == 3
    assert len({layer.weight.data_ptr() for layer in layers}) == 3
    count = [sum(p.numel() for p in core.parameters()) for core in (one, three)]
    block = sum(p.numel() for p in one.blocks[0].parameters())
    assert count[1] - count[0] == block + (4 * 4 + 4)


@pytest.mark.parametrize("style, size", [("unit", 4), ("memory", 1)])
def test_the_gates_biases_are_constants(style, size):
    """Weights of zero make the gates σ(0) and σ(1), and M' = σ(0) tanh(M̃) + σ(1) M; nothing scalar is trained."""
    core = make(gate_style=style)
    with torch.no_grad():
        for parameter in (*core.input_gates.parameters(), *core.memory_gates.parameters()):
            parameter.zero_()
    step = core(inputs_of()[0], core.initial_state(B))
    assert step.trace["input_gate"].shape == step.trace["forget_gate"].shape == (B, 3, size)
    assert (step.trace["input_gate"] == 0.5).all()
    torch.testing.assert_close(
        step.trace["forget_gate"], torch.full_like(step.trace["forget_gate"], 0.7310585786300049)
    )
    assert all(parameter.dim() >= 1 and parameter.numel() > 1 for parameter in core.parameters())


def test_the_last_layer_has_no_relu():
    """The perceptron's update reaches the memory even where its bias is far below zero."""
    core = make(gate_style=None)
    last = core.mlp[-1]
    with torch.no_grad():
        last.bias.copy_(torch.tensor([-5.0, -6.0, -7.0, -8.0]))
    core(inputs_of()[0], core.initial_state(B)).outputs.square().sum().backward()
    assert (last.bias.grad != 0).all()


def test_nothing_is_detached():
    core = make()
    inputs = inputs_of().requires_grad_()
    core.unroll(inputs, core.initial_state(B), no_starts()).outputs[-1].sum().backward()
    assert (inputs.grad[0] != 0).any()


def test_bad_parameters():
    for wrong, message in [
        ({"width": 5}, "width must be a multiple of heads"),
        ({"gate_style": "cell"}, "gate_style must be one of .*unit.*memory.*None"),
        ({"key_size": 0}, "key_size must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
