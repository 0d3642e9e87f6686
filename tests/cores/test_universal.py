"""The Universal Transformer against plain loops, and its halting against the errors that others make."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from tests.reference import universal

T, B, SIZE = 10, 2, 5
VARIANTS = {
    "as it is": {},
    "a memory longer than the window": {"length": 12},
    "a memory of one step": {"length": 1},
    "one depth": {"max_depth": 1},
    "one head": {"heads": 1},
    "halts early": {"threshold": 0.4},
    "an output of its own size": {"output_size": 3},
}


def make(spread=True, **changes):
    """Weights (LayerNorms' too) away from their initial values, so that each matters, and ``spread`` depths."""
    torch.manual_seed(0)
    core = make_core("universal", SIZE, **({"length": 4, "max_depth": 4, "width": 8, "heads": 2} | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        core.halting.bias.fill_(-20)
        if spread:
            spread_depths(core)
    return core


def spread_depths(core):
    """Give the h_n a mean of about 0.4 and a wide range, so that steps halt at different depths."""
    found = []
    hook = core.block.register_forward_hook(lambda module, arguments, result: found.append(result[0]))
    unrolled(core, trace=True)  # so that it goes through the plain block
    hook.remove()
    logits = torch.stack(found) @ core.halting.weight[0]
    core.halting.weight.mul_(2 / logits.std())
    core.halting.bias.fill_(-0.5 - 2 * logits.mean() / logits.std())


def inputs_of(steps=T):
    return torch.randn(steps, B, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def no_starts(steps=T):
    return torch.zeros(steps, B, dtype=torch.bool)


def unrolled(core, inputs=None, **kwargs):
    inputs = inputs_of() if inputs is None else inputs
    return core.unroll(inputs, core.initial_state(B), no_starts(len(inputs)), **kwargs)


def numpy_weights(core):
    block, attention = core.block, core.block.attention
    tensors = {
        "Q": attention.queries.weight,
        "K": attention.keys.weight,
        "V": attention.values.weight,
        "R": attention.ages.weight,
        "O": attention.output.weight,
        "u": attention.content_bias,
        "v": attention.position_bias,
        "W_1": block.transition[0].weight,
        "b_1": block.transition[0].bias,
        "W_2": block.transition[2].weight,
        "b_2": block.transition[2].bias,
    }
    norms = {"norm_1": block.attention_norm, "norm_2": block.transition_norm}
    outer = {
        "E": core.embedding.weight,
        "e": core.embedding.bias,
        "halt": core.halting.weight[0],
        "halt_bias": core.halting.bias[0],
    }
    assert len(list(core.block.parameters())) == len(tensors) + 2 * len(norms)
    of_block = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    of_block |= {name: (norm.weight.detach().numpy(), norm.bias.detach().numpy()) for name, norm in norms.items()}
    return {name: tensor.detach().numpy() for name, tensor in outer.items()} | {"block": of_block}


def by_loops(core, inputs, starts):
    """Outputs, weights of the updates and ponder costs as lists [b][t], and the past of each row after the window."""
    weights, outputs, updates, costs, pasts = numpy_weights(core), [], [], [], []
    sizes = {
        "heads": core.block.attention.heads,
        "length": core.length,
        "max_depth": core.max_depth,
        "threshold": core.threshold,
    }
    for b in range(B):
        past, of_row = [], []
        for t in range(len(inputs)):
            past = [] if starts[t, b] else past
            y, past, update, cost = universal.universal_step(weights, inputs[t, b].detach().numpy(), past, **sizes)
            of_row.append((y, update, cost))
        for collected, values in zip((outputs, updates, costs), zip(*of_row, strict=True), strict=True):
            collected.append(values)
        pasts.append(past)
    return outputs, updates, costs, pasts


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core = make(**changes, ponder_cost=0.1)
    inputs, starts = inputs_of(), no_starts()
    starts[0, 1] = starts[3, 0] = starts[8, 1] = True
    result = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    outputs, updates, costs, pasts = by_loops(core, inputs, starts)
    close = {"rtol": 1e-9, "atol": 1e-9}
    depths = set()
    for b in range(B):
        for t in range(T):
            y = torch.from_numpy(outputs[b][t])
            np.testing.assert_allclose(result.outputs[t, b].detach(), core.readout(y).detach(), **close)
            depth = int(result.trace["depth"][t, b])
            assert depth == len(updates[b][t])
            np.testing.assert_allclose(result.trace["update_weights"][t, b, :depth].detach(), updates[b][t], **close)
            assert (result.trace["update_weights"][t, b, depth:] == 0).all()
            np.testing.assert_allclose(result.losses["ponder"][t, b].detach(), 0.1 * costs[b][t], **close)
            depths.add(depth)
        filled = min(len(pasts[b][0]), core.length)
        assert result.state.filled[b] == filled
        for depth, rows in enumerate(pasts[b]):
            kept = result.state.rows[b, depth].detach()
            np.testing.assert_allclose(kept[core.length - filled :], rows[-filled:], **close)
            assert (kept[: core.length - filled] == 0).all()
    assert len(depths) >= min(2, core.max_depth), "steps halt each at its own depth"


def test_gradients_equal_those_of_the_loops():
    """Finite differences of the NumPy loops, at a generic point: the depths are the same all around it."""
    core = make(ponder_cost=0.1)
    inputs, starts = inputs_of(5).requires_grad_(), no_starts(5)
    starts[2, 0] = True
    weights = torch.randn(5, B, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    result = core.unroll(inputs, core.initial_state(B), starts)
    sources = [
        inputs,
        core.halting.weight,
        core.block.attention.ages.weight,
        core.block.attention.queries.weight,
        core.embedding.bias,
    ]
    total = (weights * result.outputs).sum() + result.losses["ponder"].sum()
    grads = torch.autograd.grad(total, sources)

    def outcome():
        outputs, _, costs, _ = by_loops(core, inputs, starts)
        return (np.array(outputs).swapaxes(0, 1) * weights.numpy()).sum() + 0.1 * np.array(costs).sum()

    for number, (source, grad) in enumerate(zip(sources, grads, strict=True)):
        generator = torch.Generator().manual_seed(number)
        direction = torch.randn(source.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            source.add_(1e-5 * direction)
            above = outcome()
            source.sub_(2e-5 * direction)
            below = outcome()
            source.add_(1e-5 * direction)
        slope = (above - below) / 2e-5
        assert (grad * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_one_depth_is_one_block():
    core = make(max_depth=1)
    result = unrolled(core, trace=True)
    assert (result.trace["depth"] == 1).all()
    assert (result.trace["update_weights"] == 1).all()
    weights, inputs = numpy_weights(core), inputs_of()
    for b in range(B):
        embedded = core.embedding(inputs[:, b]).detach().numpy()
        for t in range(T):
            rows = [row + universal.code(1, 8) for row in embedded[max(0, t - 4) : t + 1]]
            expected = universal.apply_block(weights["block"], rows, heads=2)
            np.testing.assert_allclose(result.outputs[t, b].detach(), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(result.losses["ponder"], torch.full((T, B), 2e-3, dtype=torch.float64))


def test_weights_of_updates_sum_to_one():
    """Also of the steps that are cut off at the greatest depth, where no remainder would be 0.01 or less."""
    for bias in (-6.0, -1.0, 3.0):
        core = make()
        with torch.no_grad():
            core.halting.bias.fill_(bias)
        trace = unrolled(core, trace=True).trace
        torch.testing.assert_close(trace["update_weights"].sum(-1), torch.ones(T, B).double())
        if bias == -6:
            assert (trace["depth"] == 4).all()
            assert (trace["update_weights"][..., -1] > 0.5).all()


def test_a_new_core_halts_after_a_few_steps():
    core = make_core("universal", SIZE)
    assert core.halting.bias.item() == 1
    depth = unrolled(core, inputs_of().float(), trace=True).trace["depth"]
    assert depth.min() >= 2
    assert depth.max() <= 4


def test_each_step_halts_by_itself():
    """Not when the mean over positions does, nor when all have: what the other row is makes no difference."""
    core, inputs = make(), inputs_of()
    trace = unrolled(core, inputs, trace=True).trace
    assert len(trace["depth"].unique()) > 1
    other = inputs.clone()
    other[:, 1] = 7 * inputs[:, 1].flip(0)
    again = unrolled(core, other, trace=True).trace
    assert torch.equal(again["depth"][:, 0], trace["depth"][:, 0])
    torch.testing.assert_close(again["update_weights"][:, 0], trace["update_weights"][:, 0], rtol=1e-12, atol=1e-12)


def test_a_halted_step_stays_as_it_was():
    core = make(length=T)
    result = unrolled(core, trace=True)
    early = 0
    for t in range(T):
        for b in range(B):
            depth = int(result.trace["depth"][t, b])
            rows = result.state.rows[b, :, t]
            for later in range(depth + 1, 4):
                assert torch.equal(rows[later], rows[depth])
                early += 1
            for earlier in range(1, min(depth, 3) + 1):
                assert not torch.equal(rows[earlier], rows[earlier - 1])
    assert early > 0


def test_halted_steps_are_seen_and_do_not_look():
    core = make(length=T)
    trace = unrolled(core, trace=True).trace
    for depth in range(1, 5):
        weights = trace[f"depth_{depth}_weights"]
        running = trace["depth"] >= depth
        torch.testing.assert_close(weights.sum(-1), running.double().unsqueeze(-1).expand(T, B, 2))
    pairs = [
        (t, b, past)
        for t in range(T)
        for b in range(B)
        for past in range(t)
        if trace["depth"][past, b] < trace["depth"][t, b]
    ]
    assert pairs
    for t, b, past in pairs:
        last = trace[f"depth_{int(trace['depth'][t, b])}_weights"][t, b]
        assert (last[:, T - (t - past)] > 0).all(), "a past step that had halted at a smaller depth"


def test_the_count_has_no_gradient_and_the_remainder_has():
    """d(N + R) = −Σ_{n<N} dh_n. A step that halts at once, R = 1, has a gradient of zero."""
    core = make(ponder_cost=1.0, threshold=0.6)
    result = unrolled(core, trace=True)
    with_respect_to = core.halting.bias
    updates, depth = result.trace["update_weights"], result.trace["depth"]
    assert set(depth.unique().tolist()) >= {1, 2}
    for t in range(T):
        for b in range(B):
            before = [updates[t, b, n] for n in range(int(depth[t, b]) - 1)]
            expected = -sum(before, torch.zeros((), dtype=torch.float64, requires_grad=True))
            pair = [result.losses["ponder"][t, b], expected]
            found, wanted = (
                torch.autograd.grad(x, with_respect_to, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
                for x in pair
            )
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
            assert (found != 0).all() == (depth[t, b] > 1)


def test_the_ponder_cost_lowers_the_depth():
    core = make(spread=False, ponder_cost=1.0, max_depth=6)
    with torch.no_grad():
        core.halting.bias.fill_(-2)
    optimiser = torch.optim.Adam(core.parameters(), lr=0.1)
    depths = []
    for _ in range(20):
        result = unrolled(core, trace=True)
        depths.append(float(result.trace["depth"].double().mean()))
        optimiser.zero_grad()
        result.losses["ponder"].mean().backward()
        optimiser.step()
    assert depths[0] > 3
    assert depths[-1] < 0.6 * depths[0]


def test_the_ponder_cost_scales_and_can_be_absent():
    assert unrolled(make(ponder_cost=0)).losses == {}
    once, twice = (unrolled(make(ponder_cost=cost)).losses["ponder"] for cost in (0.5, 1.0))
    assert once.shape == (T, B)
    torch.testing.assert_close(twice, 2 * once)


def test_a_trace_of_a_window_is_that_of_its_steps():
    core = make()
    starts = no_starts()
    starts[4, 0] = starts[6, 1] = True
    ours = core.unroll(inputs_of(), core.initial_state(B), starts, trace=True).trace
    default = unroll_by_steps(core, inputs_of(), core.initial_state(B), starts, trace=True).trace
    torch.testing.assert_close(ours, default, rtol=1e-9, atol=1e-12)


def test_only_the_last_steps_are_seen():
    """Through depths one can see further back than L: here D L = 2."""
    core = make(length=1, max_depth=2)
    inputs = inputs_of().requires_grad_()
    (grad,) = torch.autograd.grad(unrolled(core, inputs).outputs[5, 0].sum(), inputs)
    assert (grad[:3] == 0).all()
    assert (grad[6:] == 0).all()
    assert (grad[4:6, 0] != 0).all()


def test_no_weight_depends_on_length_or_depth():
    small, large = make(), make(length=9, max_depth=7)
    large.load_state_dict(small.state_dict())
    assert unrolled(large).outputs.isfinite().all()


def test_bad_parameters():
    for wrong, message in [
        ({"heads": 3}, "width must be a multiple of heads"),
        ({"heads": 0}, "heads must be a positive integer"),
        ({"length": 0}, "length must be a positive integer"),
        ({"max_depth": 0}, "max_depth must be a positive integer"),
        ({"threshold": 1.1}, "threshold must be a number in"),
        ({"ponder_cost": -1e-3}, "ponder_cost must be a number in"),
        ({"output_size": 0}, "output_size must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
