"""The end-to-end memory network against plain loops, and its ways to choose a memory."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import draw_keys, state_leaves, unroll_by_steps
from memagents.memory.draws import uniform
from tests.reference.memn2n import memn2n_step

T, B, SIZE, L, H, K = 10, 3, 4, 4, 5, 3

every_selection = pytest.mark.parametrize("selection", ["soft", "hard", "sampled", "top_k"])


def make(**changes):
    """Weights large enough for looks that differ from uniform ones."""
    torch.manual_seed(0)
    core = make_core("memn2n", SIZE, **({"length": L, "hidden_size": H, "hops": K, "top_k": 2} | changes)).double()
    with torch.no_grad():
        core.embeddings.weight.normal_(std=0.4)
        core.ages.normal_(std=0.5)
    return core


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def some_starts():
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 1] = starts[3, 0] = starts[8, 0] = starts[9, 2] = True
    return starts


def initial_state(core):
    torch.manual_seed(3)
    return draw_keys(core.initial_state(B))


@every_selection
def test_some_steps_equal_loops(selection):
    core = make(selection=selection, output_size=2)
    weights = {
        "E": core.embeddings.weight.detach().numpy().reshape(K + 1, H, SIZE),
        "T": core.ages.detach().numpy()[:, ::-1],
        "W": core.output.weight.detach().numpy(),
        "b": core.output.bias.detach().numpy(),
    }
    inputs, starts, state = inputs_of(), some_starts(), initial_state(core)
    uniforms = torch.stack([uniform(state.key + t, K, torch.float64) for t in range(T)]).numpy()
    outputs, _, _, trace = core.unroll(inputs, state, starts, trace=True)
    for b in range(B):
        memories = []
        for t in range(T):
            memories = [] if starts[t, b] else memories
            y, memories, looks = memn2n_step(
                weights, memories, inputs[t, b].numpy(), L, selection, core.top_k, uniforms[t, b]
            )
            np.testing.assert_allclose(outputs[t, b].detach(), y, rtol=1e-9, atol=1e-9)
            for hop, p in enumerate(looks, start=1):
                shown = trace[f"hop_{hop}_weights"][t, b].detach().numpy()
                np.testing.assert_allclose(shown[L - len(p) :], p, rtol=1e-9, atol=1e-9)
                assert (shown[: L - len(p)] == 0).all()


@every_selection
def test_a_window_at_once_is_step_after_step(selection):
    core, results = make(selection=selection), []
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
        inputs = inputs_of().requires_grad_()
        outputs, state, _, _ = unroll(inputs, initial_state(core), some_starts())
        grads = torch.autograd.grad(outputs.square().sum(), [inputs, *core.parameters()])
        results.append([outputs, *state_leaves(state), *grads])
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("selection, gradient_flows", [("hard", True), ("sampled", True), ("top_k", False)])
def test_what_is_not_chosen_still_teaches(selection, gradient_flows):
    """Straight through: a memory whose weight is 0 has a gradient; not so beyond the K best."""
    core = make(selection=selection, hops=1)
    inputs = inputs_of().requires_grad_()
    outputs, _, _, trace = core.unroll(inputs, initial_state(core), torch.zeros(T, B, dtype=torch.bool), trace=True)
    weights = trace["hop_1_weights"][-1, 0]
    grads = torch.autograd.grad(outputs[-1, 0].sum(), inputs)[0][-L:, 0].abs().sum(-1)
    unchosen = (weights == 0).nonzero().squeeze(1)
    assert len(unchosen) >= 2
    assert all((grads[i] > 0) == gradient_flows for i in unchosen.tolist() if i != L - 1)


def test_draws_follow_the_softmax_and_the_key():
    soft, sampled = make(hops=1), make(hops=1, selection="sampled")
    rows = 4000
    inputs = inputs_of(L)[:, :1].expand(L, rows, SIZE)
    starts = torch.zeros(L, rows, dtype=torch.bool)
    torch.manual_seed(5)
    state = draw_keys(sampled.initial_state(rows))
    expected = soft.unroll(inputs, state, starts, trace=True).trace["hop_1_weights"][-1, 0]
    drawn = sampled.unroll(inputs, state, starts, trace=True).trace["hop_1_weights"][-1]
    torch.testing.assert_close(drawn.mean(0), expected, rtol=0, atol=4 * 0.5 / rows**0.5)
    sampled.eval()
    again = sampled.unroll(inputs, state, starts, trace=True).trace["hop_1_weights"][-1]
    assert torch.equal(again, drawn), "acting and learning draw alike"
    later = sampled.unroll(inputs, state._replace(key=state.key + 1), starts, trace=True).trace["hop_1_weights"][-1]
    assert not torch.equal(later, drawn)


def test_hops_draw_for_themselves():
    core = make(selection="sampled", hops=2)
    with torch.no_grad():
        core.embeddings.weight.zero_()
        core.ages.zero_()
    rows = 200
    state = draw_keys(core.initial_state(rows))._replace(filled=torch.full((rows,), L))
    trace = core(torch.zeros(rows, SIZE, dtype=torch.float64), state).trace
    same = (trace["hop_1_weights"] * trace["hop_2_weights"]).sum(-1).mean()
    assert 0.1 < same < 0.4


def test_the_key_counts_steps_and_outlives_starts():
    core = make(selection="sampled")
    state = initial_state(core)
    after = core.unroll(inputs_of(), state, some_starts()).state
    assert torch.equal(after.key, state.key + T)
    assert torch.equal(core(inputs_of()[0], state).state.key, state.key + 1)


def test_memories_are_embedded_anew():
    """Inputs stored before the window are seen through today's embeddings, with a gradient."""
    core = make()
    state = core.unroll(inputs_of(), core.initial_state(B), torch.zeros(T, B, dtype=torch.bool)).state
    assert torch.equal(state.rows, inputs_of()[-L:].transpose(0, 1))
    fresh = torch.zeros(B, SIZE, dtype=torch.float64)
    (grad,) = torch.autograd.grad(core(fresh, state).outputs.square().sum(), core.embeddings.weight)
    assert (grad != 0).any()


def test_embeddings_of_ages_are_trained_where_they_are_looked_for():
    """The first hop's T_A, which is in the scores alone, is trained too."""
    core = make()
    outputs = core.unroll(inputs_of(), core.initial_state(B), torch.zeros(T, B, dtype=torch.bool)).outputs
    (grad,) = torch.autograd.grad(outputs.square().sum(), core.ages)
    assert (grad.abs().sum(-1) > 0).all()


def test_the_present_is_in_the_memory():
    step = make()(inputs_of()[0], make().initial_state(B))
    for k in range(1, K + 1):
        assert torch.equal(step.trace[f"hop_{k}_weights"][:, -1], torch.ones(B, dtype=torch.float64))


def test_the_first_look_is_nearly_uniform():
    torch.manual_seed(0)
    for size in (8, 128):
        core = make_core("memn2n", size, length=8)
        trace = core.unroll(
            torch.randn(8, 20, size), core.initial_state(20), torch.zeros(8, 20, dtype=torch.bool), True
        )
        assert trace.trace["hop_1_weights"][-1].max() < 0.6


def test_bad_parameters():
    for wrong, message in [
        ({"selection": "best"}, "selection must be one of .*soft.*hard.*sampled.*top_k"),
        ({"top_k": 0}, "top_k must be a positive integer"),
        ({"length": 0}, "length must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
