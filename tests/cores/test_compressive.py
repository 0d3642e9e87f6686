"""The Compressive Transformer against plain loops, and who trains what."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import detach_state, unroll_by_steps
from tests.cores.support import arrays, attention_weights, norm_weights, perceptron_weights
from tests.reference.compressive import compressive_step

T, B, SIZE = 12, 3, 5
VARIANTS = {
    "two layers": {},
    "one layer": {"layers": 1},
    "one head": {"heads": 1},
    "rate of one": {"rate": 1},
    "rate of four": {"rate": 4},
    "one row of each": {"length": 1, "compressed": 1},
    "never full": {"length": 20},
    "other perceptron": {"feedforward": 3, "reconstruction_weight": 0.3},
    "an output size": {"output_size": 2},
}


def make(**changes):
    """Weights (LayerNorms', u and v too) away from their initial values, so that each matters."""
    torch.manual_seed(0)
    small = {"length": 2, "compressed": 2, "rate": 2, "layers": 2, "width": 6, "heads": 2}
    core = make_core("compressive", SIZE, **(small | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return core


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


def numpy_weights(core):
    layers = []
    for layer in core.layers:
        taps = layer.compressor.weight.unflatten(1, (core.rate, -1)).transpose(0, 1)  # (rate, W, W)
        layers.append(
            {
                "attention": attention_weights(layer.attention),
                "attention_norm": norm_weights(layer.attention_norm),
                "mlp": perceptron_weights(layer.feedforward),
                "mlp_norm": norm_weights(layer.feedforward_norm),
            }
            | arrays(taps=taps, b_c=layer.compressor.bias)
        )
    return arrays(W_x=core.embedding.weight, b_x=core.embedding.bias) | {"layers": layers}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core = make(**changes)
    weights, layers = numpy_weights(core), len(core.layers)
    sizes = {"length": core.length, "slots": core.compressed, "rate": core.rate, "heads": changes.get("heads", 2)}
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[4, 0] = starts[9, 0] = starts[11, 2] = True
    outputs, state, losses, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    for b in range(B):
        memories = squeezed = [[]] * layers
        for t in range(T):
            if starts[t, b]:
                memories = squeezed = [[]] * layers
            before = len(squeezed[0]), len(memories[0]) + 1
            output, memories, squeezed, error, shares = compressive_step(
                weights, inputs[t, b].numpy(), memories, squeezed, **sizes
            )
            if "output_size" in changes:
                output = core.output.weight.detach().numpy() @ output + core.output.bias.detach().numpy()
            np.testing.assert_allclose(outputs[t, b].detach(), output, rtol=1e-9, atol=1e-9)
            expected = changes.get("reconstruction_weight", 1.0) * error
            np.testing.assert_allclose(losses["reconstruction"][t, b].detach(), expected, rtol=1e-9, atol=0)
            for number, of_layer in enumerate(shares, start=1):
                shown = trace[f"layer_{number}_weights"][t, b].detach().numpy()
                of_compressed, of_rows = shown[:, : core.compressed], shown[:, core.compressed :]
                parts = of_compressed[:, core.compressed - before[0] :], of_rows[:, of_rows.shape[1] - before[1] :]
                np.testing.assert_allclose(np.concatenate(parts, axis=1), of_layer, rtol=1e-9, atol=1e-9)
        for kept, count, lists in (
            (state.rows, state.filled, memories),
            (state.compressed, state.compressed_filled, squeezed),
        ):
            assert count[b] == len(lists[0])
            for layer, of_layer in enumerate(lists):
                if of_layer:
                    np.testing.assert_allclose(
                        kept[b, layer, -len(of_layer) :].detach(), of_layer, rtol=1e-9, atol=1e-9
                    )


@pytest.mark.parametrize("rate", [1, 3])
def test_the_loss_is_zero_where_nothing_was_compressed(rate):
    core, starts = make(length=3, rate=rate), no_starts()
    starts[2, 1] = True
    losses = core.unroll(inputs_of(), core.initial_state(B), starts).losses
    assert losses.keys() == {"reconstruction"}
    for b, begin in ((0, 0), (1, 2)):
        events = [t for t in range(begin, T) if t - begin + 1 > 3 and (t - begin + 1 - 3) % rate == 0]
        if b == 0:
            assert 0 < len(events) < T
        assert (losses["reconstruction"][:, b] > 0).nonzero().flatten().tolist() == events


def test_rows_wait_in_the_memory_and_are_never_lost():
    """Every step of the episode has a share in the output, though the memory is long over, until C is over too."""
    core = make(layers=1, rate=3, compressed=2)
    counts = []
    state = core.initial_state(B)
    for x in inputs_of():
        state = core(x, state).state
        counts.append((int(state.filled[0]), int(state.compressed_filled[0])))
    assert counts == [(1, 0), (2, 0), (3, 0), (4, 0), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (4, 2), (2, 2), (3, 2)]
    inputs, changed = inputs_of(9), inputs_of(9)
    changed[0] += 1
    last = [core.unroll(x, core.initial_state(B), no_starts(9)).outputs[-1] for x in (inputs, changed)]
    assert (last[0] - last[1]).abs().max() > 1e-6
    inputs, changed = inputs_of(), inputs_of()
    changed[:3] += 1
    last = [core.unroll(x, core.initial_state(B), no_starts()).outputs[-1] for x in (inputs, changed)]
    assert torch.equal(*last)


# --- who trains what --------------------------------------------------------------------------------------------------


def is_compressor(name):
    return ".compressor." in name


def gradients_of(total, core, *more):
    names, parameters = zip(*core.named_parameters(), strict=True)
    found = torch.autograd.grad(total, [*parameters, *more], allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=False)), found[len(names) :]


@pytest.fixture(params=["unroll", "steps"])
def window(request):
    """Both ways through a window, after which groups have left before and inside it."""

    def run(core, inputs, state, starts):
        unroll = core.unroll if request.param == "unroll" else lambda *a: unroll_by_steps(core, *a)
        return unroll(inputs, state, starts)

    return run


def some_state(core, steps=8):
    state = detach_state(core.unroll(inputs_of(steps), core.initial_state(B), no_starts(steps)).state)
    return state._replace(rows=state.rows.requires_grad_(), compressed=state.compressed.requires_grad_())


def test_the_task_trains_all_but_the_compressor(window):
    core = make()
    inputs, state = inputs_of().requires_grad_(), some_state(core)
    outputs, after, _, _ = window(core, inputs, state, no_starts())
    total = outputs.square().sum() + after.rows.square().sum() + after.compressed.square().sum()
    of_parameters, others = gradients_of(total, core, inputs, state.rows, state.compressed)
    for name, gradient in of_parameters.items():
        assert (gradient == 0).all() == is_compressor(name), name
    assert all((gradient != 0).any() for gradient in others)


def test_the_reconstruction_trains_the_compressor_alone(window):
    core = make()
    inputs, state = inputs_of().requires_grad_(), some_state(core)
    total = window(core, inputs, state, no_starts()).losses["reconstruction"].sum()
    of_parameters, others = gradients_of(total, core, inputs, state.rows, state.compressed)
    for name, gradient in of_parameters.items():
        assert (gradient != 0).any() == is_compressor(name), name
    assert all((gradient == 0).all() for gradient in others)


def test_projections_of_compressed_rows_stay_trained():
    """The attention to compressed rows is trained by the task, as if these were constants."""
    core, steps = make(), 5
    with torch.no_grad():
        for name, parameter in core.named_parameters():
            if name.endswith("compressor.weight"):
                parameter.zero_()  # what a convolution gives is then its bias: constants indeed
    state = some_state(core)
    projections = [getattr(layer.attention, name) for layer in core.layers for name in ("queries", "keys", "values")]
    weights = [projection.weight.detach().clone().requires_grad_() for projection in projections]
    for projection, weight in zip(projections, weights, strict=True):
        del projection.weight
        projection.weight = weight  # a plain tensor, through which finite differences go

    def outputs(inputs, rows, compressed, *changed):
        for projection, weight in zip(projections, changed, strict=True):
            projection.weight = weight
        return core.unroll(inputs, state._replace(rows=rows, compressed=compressed), no_starts(steps)).outputs

    arguments = (inputs_of(steps).requires_grad_(), state.rows, state.compressed, *weights)
    assert torch.autograd.gradcheck(outputs, arguments, fast_mode=True)
    only_compressed = core.unroll(inputs_of(1), state._replace(rows=0 * state.rows), no_starts(1)).outputs.sum()
    assert all((g != 0).any() for g in torch.autograd.grad(only_compressed, [*weights, state.compressed]))


def test_the_compressors_gradient():
    core = make(layers=1)
    compressor, steps = core.layers[0].compressor, 6
    weight, bias = (parameter.detach().clone().requires_grad_() for parameter in compressor.parameters())
    del compressor.weight, compressor.bias

    def loss(weight, bias):
        compressor.weight, compressor.bias = weight, bias
        return core.unroll(inputs_of(steps), core.initial_state(B), no_starts(steps)).losses["reconstruction"]

    assert torch.autograd.gradcheck(loss, (weight, bias))


def test_the_compressor_learns():
    core = make_core("compressive", SIZE, length=4, rate=2, compressed=4, width=16)
    inputs = inputs_of(20).float()
    optimiser = torch.optim.Adam([p for name, p in core.named_parameters() if is_compressor(name)], lr=0.01)
    errors = []
    for _ in range(50):
        error = core.unroll(inputs, core.initial_state(B), no_starts(20)).losses["reconstruction"].sum()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.2 * errors[0]


def test_without_a_weight_there_is_no_loss():
    core = make(reconstruction_weight=0)
    assert core.unroll(inputs_of(), core.initial_state(B), no_starts()).losses == {}
    assert core(inputs_of()[0], core.initial_state(B)).losses == {}


def test_longer_memories_take_the_same_weights():
    short, long = make(), make(length=5, compressed=7)
    long.load_state_dict(short.state_dict())
    few = [core.unroll(inputs_of(3), core.initial_state(B), no_starts(3)).outputs for core in (short, long)]
    torch.testing.assert_close(*few, rtol=1e-10, atol=1e-12)


def test_bad_parameters():
    for wrong, message in [
        ({"width": 7}, "width must be a multiple of heads"),
        ({"heads": 0}, "heads must be a positive integer"),
        ({"rate": 0}, "rate must be a positive integer"),
        ({"compressed": 0}, "compressed must be a positive integer"),
        ({"layers": 2.5}, "layers must be a positive integer"),
        ({"feedforward": 0}, "feedforward must be a positive integer"),
        ({"reconstruction_weight": -0.1}, "reconstruction_weight must be a number in"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
