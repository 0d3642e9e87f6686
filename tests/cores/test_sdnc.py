"""The SDNC against plain loops, against dense links on the same support, and against the errors that others make."""

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import state_leaves, unroll_by_steps
from memagents.cores.sparse_memory import SparseInterface
from memagents.inspection.axes import axes_of
from memagents.memory import sparse, sparse_linkage
from memagents.memory.addressing import cosine_similarity
from tests.reference import sdnc

SIZE, B, SMALL = 3, 2, {"slots": 7, "width": 4, "read_heads": 2, "reads": 2, "links": 3, "controller_size": 5}
VARIANTS = {
    "two heads": {},
    "one head": {"read_heads": 1},
    "one link": {"links": 1},
    "more links than slots": {"links": 9},
    "one read of a head": {"reads": 1},
    "more slots than steps": {"slots": 13},
    "sharpened links": {"sharpen_links": True},
}


def make(noise=0.7, **changes):
    """Weights away from their initial values, so that gates open and shut and each part matters."""
    torch.manual_seed(0)
    core = make_core("sdnc", SIZE, **(SMALL | {"ready_to_record": False} | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return core


def inputs_of(steps, rows=B, seed=1):
    return torch.randn(steps, rows, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def no_starts(steps, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def biases(core):
    return dict(zip(SparseInterface._fields, core.interface.bias.split(core.interface_sizes), strict=True))


def numpy_weights(core):
    layers = {"x": core.input_gates, "p": core.interface, "m": core.read_modes, "y": core.output}
    layers |= {"s": core.sharpness} if core.sharpen_links else {}
    weights = {f"W_{name}": layer.weight for name, layer in layers.items()}
    weights |= {f"b_{name}": layer.bias for name, layer in layers.items()}
    weights["W_r"] = core.recurrent_gates.weight
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def dense_links(links, slots):
    """N, P (B, N, N) and p (B, N) as they are now."""
    every = torch.arange(slots).repeat(len(links.kept), 1)
    later, later_weights = sparse_linkage.links_after(links, every)
    n = sparse.dense(links.before, links.before_weights, slots)
    p = sparse.dense(later, later_weights, slots)
    return n, p, sparse.dense(links.precedence, links.precedence_weights, slots)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core, inputs, starts = make(**changes), inputs_of(14), no_starts(14)
    starts[0, 1] = starts[11, 0] = True
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B), starts)
    links = dense_links(state.links, core.slots)
    sizes = (core.slots, core.width, core.read_heads, core.controller_size)
    for b in range(B):
        after = sdnc.sdnc_initial(*sizes)
        for t in range(len(inputs)):
            if starts[t, b]:
                after = sdnc.sdnc_initial(*sizes)
            output, after = sdnc.sdnc_step(numpy_weights(core), inputs[t, b].numpy(), after, core.reads, core.links)
            np.testing.assert_allclose(outputs[t, b].detach(), output, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.memory[b].detach(), after["memory"], rtol=1e-9, atol=1e-9)
        assert state.last_access[b].tolist() == after["last_access"]
        reads = sparse.dense(state.read_indices, state.read_weights, core.slots)[b].detach()
        np.testing.assert_allclose(reads, after["read_weights"], rtol=1e-9, atol=1e-9)
        for found, name in zip(links, ("n", "p", "precedence"), strict=True):
            np.testing.assert_allclose(found[b], after[name], rtol=1e-9, atol=1e-12)


# --- gradients --------------------------------------------------------------------------------------------------------


def keep_largest(weights, count):
    """A mask of the ``count`` largest."""
    return weights.detach().argsort(-1, descending=True).argsort(-1) < count


def power(weights, sharpness):
    """Of those above 0, their shares in a sum of powers."""
    raised = torch.where(weights > 0, (weights + 1e-6) ** sharpness.unsqueeze(2), 0)
    return raised / raised.sum(2, keepdim=True).clamp(min=1e-300)


def dense_outputs(core, inputs):
    """The core from its beginning with weightings over all slots, by plain autograd; the links are constants."""
    rows, heads, slots = inputs.shape[1], core.read_heads, core.slots

    def zeros(*shape):
        return torch.zeros(rows, *shape, dtype=torch.float64)

    hidden, cell, vectors = zeros(core.controller_size), zeros(core.controller_size), zeros(heads, core.width)
    memory, reads, n, p, precedence = (
        zeros(slots, core.width),
        zeros(heads, slots),
        *[zeros(slots, slots)] * 2,
        zeros(slots),
    )
    last_access = torch.arange(-slots, 0).repeat(rows, 1)
    off_diagonal = 1 - torch.eye(slots, dtype=torch.float64)
    outputs = []
    for t, x in enumerate(inputs):
        gates = core.input_gates(x) + core.recurrent_gates(torch.cat([hidden, vectors.flatten(1)], 1))
        i, f, g, o = gates.chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        queries, strengths, word, alpha, gamma, shares = core.interface(hidden).split(core.interface_sizes, 1)
        modes = core.read_modes(hidden).view(rows, heads, 3).softmax(2)
        oldest = torch.nn.functional.one_hot(last_access.argmin(1), slots).double()
        previous = (shares.softmax(1).unsqueeze(2) * reads).sum(1)
        written = alpha.sigmoid() * (gamma.sigmoid() * previous + (1 - gamma.sigmoid()) * oldest)
        memory = memory * (1 - oldest).unsqueeze(2) + written.unsqueeze(2) * word.unsqueeze(1)
        last_access = torch.where(written > 0.005, t, last_access)
        w = written.detach()
        n = ((1 - w).unsqueeze(2) * n + w.unsqueeze(2) * precedence.unsqueeze(1)) * off_diagonal
        p = ((1 - w).unsqueeze(1) * p + w.unsqueeze(1) * precedence.unsqueeze(2)) * off_diagonal
        n, p = n * keep_largest(n, core.links), p * keep_largest(p, core.links)
        precedence = (1 - w.sum(1, keepdim=True)) * precedence + w
        precedence = precedence * keep_largest(precedence, core.links)
        similarity = cosine_similarity(memory, queries.view(rows, heads, -1))
        masked = similarity.masked_fill((last_access < 0).unsqueeze(1), -torch.inf)
        support = keep_largest(masked, core.reads) & masked.isfinite()
        scores = similarity * (1 + torch.nn.functional.softplus(strengths)).unsqueeze(2)
        content = scores.masked_fill(~support, -torch.inf).softmax(2)
        backward, forward = reads @ n, reads @ p
        backward, forward = backward * keep_largest(backward, core.reads), forward * keep_largest(forward, core.reads)
        forward = forward / forward.sum(2, keepdim=True).clamp(min=1)
        if core.sharpen_links:
            sharpness = 1 + torch.nn.functional.softplus(core.sharpness(hidden)).view(rows, 2, heads)
            backward, forward = power(backward, sharpness[:, 0]), power(forward, sharpness[:, 1])
        reads = (modes.unsqueeze(3) * torch.stack([backward, content, forward], 2)).sum(2)
        last_access = torch.where(written + reads.sum(1) > 0.005, t, last_access)
        vectors = reads @ memory
        outputs.append(core.output(torch.cat([hidden, vectors.flatten(1)], 1)))
    return torch.stack(outputs), memory


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_gradients_equal_those_of_dense_weightings_on_the_same_support(changes):
    core, found = make(**changes), []
    for dense in (False, True):
        inputs = inputs_of(14).requires_grad_()
        if dense:
            outputs, after = dense_outputs(core, inputs)
        else:
            outputs, state, _, _ = core.unroll(inputs, core.initial_state(B), no_starts(14))
            after = state.memory
        weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        loss = (weights * outputs).sum() + after.square().sum()
        found.append([outputs, after, *torch.autograd.grad(loss, [inputs, *core.parameters()])])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-10)


def test_no_gradient_goes_through_links_but_one_goes_through_what_follows_them():
    core = make()
    state = core.unroll(inputs_of(8), core.initial_state(B), no_starts(8)).state
    assert not any(leaf.requires_grad for leaf in state.links)
    links = type(state.links)(*(leaf.clone().requires_grad_(leaf.is_floating_point()) for leaf in state.links))
    reads = state.read_weights.detach().requires_grad_()
    state = state._replace(links=links, read_weights=reads)
    with torch.no_grad():
        biases(core)["interpolation"].fill_(-50.0)  # nothing goes from the reads to the writes
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
        outputs = unroll(inputs_of(1, seed=3), state, no_starts(1)).outputs
        floats = [leaf for leaf in links if leaf.requires_grad]
        to_reads, *to_links = torch.autograd.grad(outputs.sum(), [reads, *floats], allow_unused=True)
        assert (to_reads != 0).any()
        assert all(grad is None for grad in to_links)


# --- links ------------------------------------------------------------------------------------------------------------


def recorder(**changes):
    """Writes each step to a fresh slot, and nothing else."""
    core = make(0.0, ready_to_record=True, **changes)
    with torch.no_grad():
        biases(core)["write_gate"].fill_(30.0)
        biases(core)["interpolation"].fill_(-30.0)
    return core


def test_what_was_written_before_and_after_are_two_things():
    """The links of one direction are not overwritten by those of the other."""
    core = recorder()
    links = core.unroll(inputs_of(6), core.initial_state(B), no_starts(6)).state.links
    n, p, precedence = dense_links(links, core.slots)
    for slot in range(6):
        for other in range(core.slots):
            assert n[0, slot, other].round(decimals=6) == (other == slot - 1)
            assert p[0, slot, other].round(decimals=6) == (other == slot + 1 <= 5)
        assert precedence[0, slot].round(decimals=6) == (slot == 5)


@pytest.mark.parametrize("mode, follows", [(0, [3, 2, 1, 0]), (2, [2, 3, 4, 5])])
def test_a_head_follows_the_order_of_writing(mode, follows):
    """Backward or forward from where it read, one slot a step, while nothing more is written."""
    core = recorder(slots=9, read_heads=1)
    state = core.unroll(inputs_of(6), core.initial_state(B), no_starts(6)).state
    start = torch.zeros_like(state.read_weights)
    start[:, :, 0] = 1
    indices = torch.full_like(state.read_indices, follows[0])
    state = state._replace(read_weights=start, read_indices=indices)
    with torch.no_grad():
        biases(core)["write_gate"].fill_(-60.0)
        core.read_modes.bias.fill_(-30.0)
        core.read_modes.bias[mode] = 30.0
        core.read_modes.weight.zero_()
    for slot in follows[1:]:
        step = core(inputs_of(1)[0], state)
        assert step.trace["read_weights"][:, 0].argmax(1).tolist() == [slot] * B
        assert (step.trace["read_weights"][:, 0, slot] > 0.999).all()
        state = step.state


def links_of(writes, slots=6, links=3):
    """After one-hot writes to some slots, one after another."""
    state = sparse_linkage.no_links(1, slots, links, torch.zeros((), dtype=torch.float64))
    for slot in writes:
        state = sparse_linkage.update_links(
            state, torch.tensor([[slot]]), torch.ones(1, 1, dtype=torch.float64), sparse.put
        )
    return state


def test_several_that_were_written_after_one_are_followed_with_a_sum_of_1():
    links = links_of([0, 1, 0, 2, 0, 3])
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    indices, weights = sparse_linkage.forward_weighting(links, torch.tensor([[[0]]]), one, 3)
    assert set(indices.flatten().tolist()) == {1, 2, 3}
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 3))
    indices, weights = sparse_linkage.backward_weighting(links, torch.tensor([[[0]]]), one, 3)
    assert indices[0, 0, 0] == 2
    torch.testing.assert_close(weights[0, 0], torch.tensor([1.0, 0, 0], dtype=torch.float64))


def test_a_link_is_forgotten_as_its_later_slot_is_written_anew():
    """In both directions, though neither's row is touched by the write in one of them."""
    n, p, _ = dense_links(links_of([0, 1, 2, 1]), 6)
    assert n[0, 1].round(decimals=5).tolist() == [0, 0, 1, 0, 0, 0]
    assert p[0, 0].round(decimals=5).tolist() == [0, 0, 0, 0, 0, 0]
    assert p[0, 2].round(decimals=5).tolist() == [0, 1, 0, 0, 0, 0]


def test_links_are_bounded():
    core = make(slots=50, links=3)
    state = core.unroll(inputs_of(60), core.initial_state(B), no_starts(60)).state
    n, p, precedence = dense_links(state.links, 50)
    for weights in (n, p, precedence):
        assert ((weights > 0).sum(-1) <= 3).all()
        assert ((weights > 0).sum(-1) == 3).any()
    assert n.sum(-1).max() <= 1 + 1e-12
    sizes = [sum(leaf.numel() for leaf in make(slots=slots).initial_state(1).links) for slots in (100, 200)]
    assert sizes[1] < 2 * sizes[0]


def test_links_equal_dense_ones_over_many_writes():
    """Weights may lie anywhere in [0, 1], slots may be named twice, and rows may overflow."""
    slots, size = 9, 4
    links = sparse_linkage.no_links(B, slots, size, torch.zeros((), dtype=torch.float64))
    expected = [[np.zeros((slots, slots)), np.zeros((slots, slots)), np.zeros(slots)] for _ in range(B)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        indices = torch.randint(slots, (B, 5), generator=generator)
        weights = torch.rand(B, 5, generator=generator, dtype=torch.float64) ** 4
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        links = sparse_linkage.update_links(links, indices, weights, sparse.put)
        for b, (n, p, precedence) in enumerate(expected):
            written = sparse.dense(indices, weights, slots)[b].numpy()
            expected[b] = [
                sdnc.update_n(n, precedence, written, size),
                sdnc.update_p(p, precedence, written, size),
                sdnc.update_precedence(precedence, written, size),
            ]
        for found, wanted in zip(dense_links(links, slots), zip(*expected, strict=True), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_sharp_links_lead_to_the_strongest():
    weights = torch.tensor([[[0.3, 0.1, 0.0], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    for sharpness, expected in ((1.0, [0.75, 0.25, 0]), (2.0, [0.9, 0.1, 0]), (60.0, [1, 0, 0])):
        found = sparse_linkage.sharpened(weights, torch.full((1, 2), sharpness, dtype=torch.float64))
        np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)
        assert (found[0, 1] == 0).all()  # where there are no links nothing is read


# --- options ----------------------------------------------------------------------------------------------------------


def test_more_slots_give_the_same_until_the_fewer_are_full():
    few, many = make(slots=10), make(slots=200)
    many.load_state_dict(few.state_dict())
    results = [core.unroll(inputs_of(25), core.initial_state(B), no_starts(25)).outputs for core in (few, many)]
    torch.testing.assert_close(results[0][:10], results[1][:10], rtol=1e-12, atol=1e-12)
    assert (results[0][10:] - results[1][10:]).abs().max() > 1e-6


def test_hashing_in_place_is_hashing_by_copies():
    core, starts = make(search="lsh", slots=30, hash_tables=3, bucket_size=4), no_starts(40)
    starts[17, 1] = starts[30, 0] = starts[31, 0] = True
    found = []
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
        outputs, state, _, _ = unroll(inputs_of(40), core.initial_state(B), starts)
        grads = torch.autograd.grad(outputs.square().sum(), list(core.parameters()))
        found.append([outputs, *state_leaves(state), *grads])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)


def test_the_trace_holds_the_links_of_each_step():
    """They are not those of later steps, which change the tables in place."""
    core, inputs, starts = make(), inputs_of(12), no_starts(12)
    starts[5, 0] = True
    state = core.initial_state(B)
    trace = core.unroll(inputs, state, starts, trace=True).trace
    for t in range(12):
        state = core.unroll(inputs[t : t + 1], state, starts[t : t + 1]).state
        shown = sparse.dense(trace["link_slots"][t], trace["link_weights"][t], SMALL["slots"])
        expected = sparse.dense(state.links.before, state.links.before_weights, SMALL["slots"])
        torch.testing.assert_close(shown, expected, rtol=1e-12, atol=1e-12)
    assert expected.amax() > 0
    assert axes_of(core, trace)["link_slots"] == axes_of(core, trace)["link_weights"] == ("slot", "link")


def test_a_penalty_on_writes():
    inputs, starts = inputs_of(7), no_starts(7)
    core = make(write_penalty=0.5)
    _, _, losses, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    torch.testing.assert_close(losses["write"], 0.5 * trace["write_weights"].sum(2))
    core = make()
    assert core.unroll(inputs, core.initial_state(B), starts).losses == {}


def test_ready_to_record():
    """The untrained core writes to the least recently accessed slot and reads by content."""
    core = make_core("sdnc", SIZE, **SMALL).double()
    trace = core.unroll(inputs_of(5), core.initial_state(B), no_starts(5), trace=True).trace
    assert (trace["write_weights"].max(2).values > 0.8).all()
    assert (trace["read_modes"][..., 1] > 0.75).all()


def test_bad_parameters():
    for wrong, message in [
        ({"reads": 8}, r"reads must be at most slots \(7\)"),
        ({"links": 0}, "links must be a positive integer"),
        ({"search": "flann"}, "search must be one of .*exact.*lsh"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
