"""GTrXL against plain loops, and against the errors that other GTrXLs make."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import detach_state
from memagents.cores.transformer import GRUGate
from tests.cores.support import arrays, attention_weights, norm_weights, perceptron_weights
from tests.reference.gtrxl import gtrxl_step

T, B, SIZE, L = 10, 3, 5, 4
VARIANTS = {
    "two layers": {},
    "one layer": {"layers": 1},
    "one head": {"heads": 1},
    "one past step": {"length": 1},
    "longer than the episode": {"length": 12},
    "odd width": {"width": 5, "heads": 1},
    "other perceptron": {"feedforward": 3, "gate_bias": -1.0},
    "an output size": {"output_size": 2},
}


def make(**changes):
    """Weights (LayerNorms', u, v and b_g too) away from their initial values, so that each matters."""
    torch.manual_seed(0)
    core = make_core("gtrxl", SIZE, **({"length": L, "layers": 2, "width": 6, "heads": 2} | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return core


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


def gate_weights(gate):
    w_r, w_z, w_g = gate.of_update.weight.chunk(3)
    u_r, u_z = gate.of_stream.weight.chunk(2)
    return arrays(W_r=w_r, W_z=w_z, W_g=w_g, U_r=u_r, U_z=u_z, U_g=gate.of_reset.weight, b_g=gate.bias)


def numpy_weights(core):
    layers = [
        {
            "attention_norm": norm_weights(layer.attention_norm),
            "attention": attention_weights(layer.attention),
            "attention_gate": gate_weights(layer.attention_gate),
            "mlp_norm": norm_weights(layer.feedforward_norm),
            "mlp": perceptron_weights(layer.feedforward),
            "mlp_gate": gate_weights(layer.feedforward_gate),
        }
        for layer in core.layers
    ]
    return arrays(W_x=core.embedding.weight, b_x=core.embedding.bias) | {"layers": layers}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core = make(**changes)
    weights, layers = numpy_weights(core), len(core.layers)
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[3, 0] = starts[8, 0] = starts[9, 2] = True
    outputs, state, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    for b in range(B):
        pasts = [[]] * layers
        for t in range(T):
            pasts = [[]] * layers if starts[t, b] else pasts
            output, pasts, shares = gtrxl_step(
                weights, inputs[t, b].numpy(), pasts, core.length, changes.get("heads", 2)
            )
            if "output_size" in changes:
                output = core.output.weight.detach().numpy() @ output + core.output.bias.detach().numpy()
            np.testing.assert_allclose(outputs[t, b].detach(), output, rtol=1e-9, atol=1e-9)
            for number, of_layer in enumerate(shares, start=1):
                shown = trace[f"layer_{number}_weights"][t, b].detach().numpy()
                unseen = core.length + 1 - len(of_layer[0])
                np.testing.assert_allclose(shown[:, unseen:], of_layer, rtol=1e-9, atol=1e-9)
                assert (shown[:, :unseen] == 0).all()
        assert state.filled[b] == len(pasts[0])
        for layer, past in enumerate(pasts):
            np.testing.assert_allclose(
                state.rows[b, layer, core.length - len(past) :].detach(), past, rtol=1e-9, atol=1e-9
            )


def test_a_window_and_its_parts_are_one():
    """Whatever the window's length, more or less than L."""
    core, starts = make(), no_starts()
    starts[4, 1] = True
    whole = core.unroll(inputs_of(), core.initial_state(B), starts).outputs
    for parts in ([1] * T, [3, 7], [7, 3], [5, 5]):
        state, outputs = core.initial_state(B), []
        for inputs, begun in zip(inputs_of().split(parts), starts.split(parts), strict=True):
            result = core.unroll(inputs, state, begun)
            state = result.state
            outputs.append(result.outputs)
        torch.testing.assert_close(torch.cat(outputs), whole, rtol=1e-10, atol=1e-12)


def test_each_layer_sees_itself_and_length_rows():
    """So that ``layers`` × L inputs and the present one matter, and no more."""
    core, inputs = make(length=2, layers=2), inputs_of(7).requires_grad_()
    core.unroll(inputs, core.initial_state(B), no_starts(7)).outputs[-1].sum().backward()
    reached = inputs.grad.abs().sum((1, 2)) > 0
    assert reached.tolist() == [False, False, True, True, True, True, True]


def test_positions_are_relative():
    """The same rows give the same, however late in the episode; in another order, something else.

    Adding encodings of positions to what is stored would fail the first, no encodings at all the second.
    """
    core = make(layers=1)
    late = torch.cat([inputs_of(6), inputs_of(5)])
    early, later = (core.unroll(x, core.initial_state(B), no_starts(len(x))).outputs[-1] for x in (late[6:], late))
    torch.testing.assert_close(early, later, rtol=1e-10, atol=1e-12)
    turned = torch.cat([inputs_of(5)[:4].flip(0), inputs_of(5)[4:]])
    other = core.unroll(turned, core.initial_state(B), no_starts(5)).outputs[-1]
    assert (other - early).abs().max() > 1e-3


def test_the_memory_holds_the_layers_inputs():
    """Not their normalised form, nor their outputs: of the first, the embedded inputs themselves."""
    core = make()
    state = core.unroll(inputs_of(), core.initial_state(B), no_starts()).state
    torch.testing.assert_close(state.rows[:, 0], core.embedding(inputs_of()[-L:]).transpose(0, 1))


def test_a_gate_far_from_opening_is_the_identity():
    core = make(gate_bias=60.0)
    outputs = core.unroll(inputs_of(), core.initial_state(B), no_starts()).outputs
    torch.testing.assert_close(outputs, core.embedding(inputs_of()), rtol=1e-9, atol=1e-9)


def test_gates_begin_nearly_shut_with_a_trained_bias():
    core = make_core("gtrxl", SIZE)
    gates = [module for module in core.modules() if isinstance(module, GRUGate)]
    assert len(gates) == 2 * 3
    for gate in gates:
        assert isinstance(gate.bias, torch.nn.Parameter)
        assert (gate.bias == 2).all()
    x = torch.randn(200, 64, generator=torch.Generator().manual_seed(3))
    opened = ((gates[0](x, torch.zeros(200, 64)) - x).norm(dim=1) / x.norm(dim=1)).mean()
    assert 0.01 < opened < 0.3


def test_sublayers_pass_a_relu_before_the_gate():
    """The gate sees zero where a sublayer's output is negative: its weights for the update do not matter."""
    core = make(layers=1)
    with torch.no_grad():
        core.layers[0].feedforward[2].weight.zero_()
        core.layers[0].feedforward[2].bias.fill_(-3.0)
        core.layers[0].attention.output.weight.zero_()
    outputs = core.unroll(inputs_of(), core.initial_state(B), no_starts()).outputs
    outputs.square().sum().backward()
    for gate in (core.layers[0].attention_gate, core.layers[0].feedforward_gate):
        assert (gate.of_update.weight.grad == 0).all()
        assert (gate.of_stream.weight.grad != 0).any()


def test_perceptrons_are_four_times_as_wide_as_the_stream():
    assert [layer.feedforward[0].out_features for layer in make().layers] == [24, 24]


def test_the_cut_is_at_the_windows_edge_and_nowhere_else():
    core = make(layers=1)
    state = core.unroll(inputs_of(), core.initial_state(B), no_starts()).state
    inputs = inputs_of().requires_grad_()
    core.unroll(inputs[:3], core.initial_state(B), no_starts(3)).outputs[-1].sum().backward()
    assert (inputs.grad[0] != 0).any()
    rows = detach_state(state).rows.requires_grad_()
    core.unroll(inputs_of(2), state._replace(rows=rows), no_starts(2)).outputs[-1].sum().backward()
    assert (rows.grad[:, 0, 1:] != 0).any()


def test_a_longer_memory_takes_the_same_weights():
    short, long = make(), make(length=7)
    long.load_state_dict(short.state_dict())
    few = [core.unroll(inputs_of(4), core.initial_state(B), no_starts(4)).outputs for core in (short, long)]
    torch.testing.assert_close(*few, rtol=1e-10, atol=1e-12)


def test_bad_parameters():
    for wrong, message in [
        ({"width": 7}, "width must be a multiple of heads"),
        ({"heads": 0}, "heads must be a positive integer"),
        ({"layers": 0}, "layers must be a positive integer"),
        ({"length": 2.5}, "length must be a positive integer"),
        ({"feedforward": 0}, "feedforward must be a positive integer"),
        ({"gate_bias": float("nan")}, "gate_bias must be a number in"),
        ({"gate_bias": "shut"}, "gate_bias must be a number in"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
