"""The Hierarchical Chunk Attention Memory against plain loops, and against the errors that others make."""

import numpy as np
import pytest
import torch

from memagents.cores.core import unroll_by_steps
from memagents.kernels import choice
from tests.cores.support import arrays, attention_weights, norm_weights, perceptron_weights, perturbed, random_inputs
from tests.reference import hcam

T, B, SIZE = 20, 3, 5
SMALL = {"chunks": 2, "chunk_size": 3, "top_k": 2, "width": 6, "heads": 2, "feedforward": 5}
VARIANTS = {
    "all chunks": {},
    "the best of three": {"chunks": 3, "top_k": 1},
    "more asked for than there are": {"chunks": 4, "top_k": 9},
    "chunks of one step": {"chunk_size": 1, "chunks": 5},
    "whole episodes": {"chunks": 9, "top_k": 3},
    "by a kernel": {"width": 16},
    "one head": {"heads": 1, "stop_gradient": False},
}


def make(dtype=torch.float64, noise=0.3, **changes):
    return perturbed("hcam", SIZE, dtype, noise, **(SMALL | changes))


def inputs_of(steps=T, rows=B, dtype=torch.float64):
    return random_inputs(steps, rows, SIZE, dtype)


def no_starts(steps=T, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def numpy_weights(core):
    return {
        **arrays(W_e=core.embedding.weight, b_e=core.embedding.bias, W_q=core.queries.weight, W_k=core.keys.weight),
        **arrays(W_mq=core.row_queries.weight, W_mk=core.row_keys.weight),
        **arrays(W_mv=core.row_values.weight, W_mo=core.found.weight),
        **perceptron_weights(core.feedforward),
        "recent": attention_weights(core.recent),
        **{name: norm_weights(getattr(core, name)) for name in ("recent_norm", "memory_norm", "feedforward_norm")},
    }


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core = make(**changes)
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[5, 0] = starts[12, 0] = starts[13, 2] = starts[14, 2] = True
    outputs, _, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    silent = core.unroll(inputs, core.initial_state(B), starts).outputs
    sizes = {name: getattr(core, name) for name in ("chunks", "chunk_size", "top_k", "heads")}
    for b in range(B):
        stored = []
        for t in range(T):
            stored = [] if starts[t, b] else stored
            y, stored, shares = hcam.hcam_step(numpy_weights(core), stored, inputs[t, b].numpy(), **sizes)
            np.testing.assert_allclose(outputs[t, b].detach(), y, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(silent[t, b].detach(), y, rtol=1e-10, atol=1e-10)
            expected = [0.0] * (core.chunks - len(shares)) + shares
            np.testing.assert_allclose(trace["chunk_weights"][t, b].detach(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("changes", [{"width": 16}, {"chunks": 3, "top_k": 1}], ids=str)
@pytest.mark.parametrize("stop", [True, False])
def test_a_window_is_its_steps(changes, stop):
    """Values and gradients, with a kernel and without, starts at every position and a state carried in."""
    core = make(stop_gradient=stop, **changes)
    with torch.no_grad():
        carried = core.unroll(-inputs_of(10), core.initial_state(B), no_starts(10)).state
    for start in range(10):
        starts, found = no_starts(10), []
        starts[start, start % B] = starts[8, 0] = True
        for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
            inputs, rows = inputs_of(10).requires_grad_(), carried.rows.clone().requires_grad_()
            outputs, state, _, _ = unroll(inputs, carried._replace(rows=rows), starts)
            loss = outputs.square().sum() + state.rows.square().sum()
            found.append([outputs, *state, *torch.autograd.grad(loss, [inputs, rows, *core.parameters()])])
        torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
    sizes = {"key_size": core.recent.key_size}
    assert (choice.window_for("attention", [core.keys.weight], **sizes) is not None) == ("width" in changes)


def test_float32_is_float64_over_4096_steps():
    """But where two chunks are almost as good, and rounding decides which is looked into."""
    found, starts = [], torch.rand(4096, 1, generator=torch.Generator().manual_seed(2)) < 0.01
    for dtype in (torch.float32, torch.float64):
        core = make(torch.float32, noise=0.0, width=8, chunks=6).to(dtype)
        with torch.no_grad():
            inputs = inputs_of(4096, 1, torch.float32).to(dtype)
            found.append(core.unroll(inputs, core.initial_state(1), starts).outputs.double())
    off = (found[0] - found[1]).abs().amax(dim=(1, 2))
    assert off.quantile(0.99) < 1e-5


def test_untrained_it_remembers_as_long_as_there_are_chunks_and_no_longer():
    """No decay: a step of the oldest chunk counts as much as one of the newest complete chunk."""
    core = make(noise=0.0, chunks=4, chunk_size=4, top_k=4, width=16, stop_gradient=False)
    inputs = inputs_of(33, 64).requires_grad_()  # eight chunks are complete, of which four are left
    outputs = core.unroll(inputs, core.initial_state(64), no_starts(33, 64)).outputs
    (grad,) = torch.autograd.grad(outputs[-1].square().sum(), inputs)
    of_chunks = grad[:32].square().mean(dim=(1, 2)).sqrt().view(8, 4).mean(1)
    assert (of_chunks[:4] == 0).all()
    assert of_chunks[4] > 0.5 * of_chunks[6]


# --- errors seen elsewhere --------------------------------------------------------------------------------------------


def of_memory(core, steps, starts=None):
    """What the memory adds to the stream: the outputs less those of a core whose memory gives nothing."""
    starts = no_starts(steps) if starts is None else starts
    inputs, state = inputs_of(steps), core.initial_state(B)
    full = core.unroll(inputs, state, starts)
    with torch.no_grad():
        kept = core.found.weight.clone()
        core.found.weight.zero_()
        empty = core.unroll(inputs, state, starts).outputs
        core.found.weight.copy_(kept)
    return (full.outputs - empty).abs().amax(dim=2)


def test_no_chunk_gives_exactly_zero_and_fewer_than_k_are_a_softmax_of_those():
    """Masked chunks come out of a top-k where there are too few: they must not be looked into."""
    core, starts = make(chunks=4, top_k=3), no_starts(16)
    starts[8, 0] = True
    added = of_memory(core, 16, starts)
    there = torch.arange(16) // 3
    assert (added[there == 0] == 0).all() and (added[there > 0][:, 1:] > 0).all()
    assert (added[8:11, 0] == 0).all() and (added[11:, 0] > 0).all()
    weights = core.unroll(inputs_of(16), core.initial_state(B), starts, trace=True).trace["chunk_weights"]
    torch.testing.assert_close(weights[3:, 1].sum(1), torch.ones(13, dtype=torch.float64))
    assert torch.equal((weights[:, 1] > 0).sum(1), there.clamp(max=3))
    assert (weights[8:11, 0] == 0).all()


def test_nothing_is_chosen_from_an_empty_memory_however_low_the_scores():
    """A mask of -1e6 loses against scores below it."""
    core = make(noise=0.0)
    with torch.no_grad():
        core.queries.weight.mul_(-1e9)
        core.keys.weight.mul_(1e9)
    outputs, _, _, trace = core.unroll(inputs_of(), core.initial_state(B), no_starts(), trace=True)
    assert outputs.isfinite().all()
    torch.testing.assert_close(trace["chunk_weights"][3:6, :, 1], torch.ones(3, B, dtype=torch.float64))


def test_the_chunk_being_filled_reaches_the_policy():
    """All of the last C steps do, though none of their chunk can be read yet."""
    core = make(chunk_size=5)
    inputs = inputs_of(5).requires_grad_()
    outputs = core.unroll(inputs, core.initial_state(B), no_starts(5)).outputs
    (grad,) = torch.autograd.grad(outputs[-1].square().sum(), inputs)
    assert (grad.abs().amax(dim=2) > 1e-6).all()


@pytest.mark.parametrize("stop", [True, False])
def test_keys_and_contents_stop_gradients_if_asked_to(stop):
    core = make(stop_gradient=stop)
    inputs = inputs_of().requires_grad_()
    outputs = core.unroll(inputs, core.initial_state(B), no_starts()).outputs
    (grad,) = torch.autograd.grad(outputs[-1].square().sum(), inputs, retain_graph=True)
    recent = T - core.chunk_size
    assert (grad[recent:] != 0).any(dim=2).all()
    assert (grad[:recent] == 0).all() == stop
    grads = torch.autograd.grad(outputs[-1].square().sum(), [core.keys.weight, core.row_keys.weight, core.found.weight])
    assert all(grad.any() for grad in grads)  # what looks learns all the same


def test_a_chunk_is_a_mean_and_order_within_it_counts():
    """The same steps in another order have the same key, and another content."""
    core = make(chunks=1, top_k=1)
    inputs = inputs_of(4)
    turned = torch.cat([inputs[[2, 1, 0]], inputs[3:]])
    state = core.initial_state(B)
    keys, outputs = [], []
    for walk in (inputs, turned):
        window = core.unroll(walk, state, no_starts(4), trace=True)
        keys.append(window.state.rows[:, -4:-1].mean(1))
        outputs.append(window.outputs[-1])
    torch.testing.assert_close(*keys)
    assert not torch.allclose(*outputs)


def test_the_residual_is_the_stream_itself():
    """A public version adds its result to the normalised query."""
    core = make()
    with torch.no_grad():
        for matrix in (core.found, core.recent.output, core.feedforward[2]):
            matrix.weight.zero_()
        core.feedforward[2].bias.zero_()
    outputs = core.unroll(inputs_of(), core.initial_state(B), no_starts()).outputs
    torch.testing.assert_close(outputs, core.embedding(inputs_of()))


def test_the_memory_begins_with_variance_two_over_fan_in():
    core = make(torch.float32, noise=0.0, width=128)
    for matrix in (core.queries, core.keys, core.row_queries, core.row_keys, core.row_values, core.found):
        assert float(matrix.weight.detach().std()) == pytest.approx((2 / 128) ** 0.5, rel=0.05)


def test_bad_parameters():
    for wrong, message in [
        ({"chunks": 0}, "chunks must be a positive integer"),
        ({"chunk_size": 2.5}, "chunk_size must be a positive integer"),
        ({"top_k": 0}, "top_k must be a positive integer"),
        ({"width": 0}, "width must be a positive integer"),
        ({"heads": 4}, r"width must be a multiple of heads \(4\), not 6"),
        ({"feedforward": 0}, "feedforward must be a positive integer"),
        ({"stop_gradient": 1}, "stop_gradient must be true or false"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
