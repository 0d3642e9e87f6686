"""The SAM against plain loops, against a dense memory on the same support, and against the errors that others make."""

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from memagents import make_core
from memagents.cores.core import map_state, overwriting, state_leaves, unroll_by_steps
from memagents.memory import sparse
from memagents.memory.addressing import cosine_similarity
from memagents.memory.hashing import hash_codes
from tests.reference import sam

SIZE, B, SMALL = 3, 2, {"slots": 6, "width": 4, "read_heads": 2, "reads": 3, "controller_size": 5}
VARIANTS = {
    "two heads": {},
    "one head": {"read_heads": 1},
    "three heads that read all": {"read_heads": 3, "reads": 6},
    "one read of a head": {"reads": 1},
    "more slots than steps": {"slots": 13},
}


def make(noise=0.7, **changes):
    """Weights away from their initial values, so that gates open and shut and each part matters."""
    torch.manual_seed(0)
    core = make_core("sam", SIZE, **(SMALL | {"ready_to_record": False} | changes)).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return core


def inputs_of(steps, rows=B, seed=1):
    return torch.randn(steps, rows, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def no_starts(steps, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def numpy_weights(core):
    return {
        "W_x": core.input_gates.weight,
        "b_x": core.input_gates.bias,
        "W_r": core.recurrent_gates.weight,
        "W_p": core.interface.weight,
        "b_p": core.interface.bias,
        "W_y": core.output.weight,
        "b_y": core.output.bias,
    }


def by_loops(core, inputs, starts, row):
    """Outputs (T, O) of one row, and the state after it."""
    weights = {name: weight.detach().numpy() for name, weight in numpy_weights(core).items()}
    sizes = (core.slots, core.width, core.read_heads, core.controller_size)
    state, outputs = sam.sam_initial(*sizes), []
    for t in range(len(inputs)):
        if starts[t, row]:
            state = sam.sam_initial(*sizes)
        output, state = sam.sam_step(weights, inputs[t, row].numpy(), state, core.reads)
        outputs.append(output)
    return outputs, state


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_some_steps_equal_loops(changes):
    core, inputs, starts = make(**changes), inputs_of(12), no_starts(12)
    starts[0, 1] = starts[9, 0] = True
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B), starts)
    for b in range(B):
        expected, after = by_loops(core, inputs, starts, b)
        np.testing.assert_allclose(outputs[:, b].detach(), expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.memory[b].detach(), after["memory"], rtol=1e-9, atol=1e-9)
        assert state.last_access[b].tolist() == after["last_access"]
        assert state.clock[b] == after["clock"]
        reads = sparse.dense(state.read_indices, state.read_weights, core.slots)[b].detach()
        np.testing.assert_allclose(reads, after["read_weights"], rtol=1e-9, atol=1e-9)


# --- gradients --------------------------------------------------------------------------------------------------------


def dense_outputs(core, inputs, memory):
    """The core from an empty memory with weightings over all slots, by plain autograd. The support is its own."""
    rows, heads, slots = inputs.shape[1], core.read_heads, core.slots
    hidden, cell = (torch.zeros(rows, core.controller_size, dtype=torch.float64) for _ in range(2))
    vectors = torch.zeros(rows, heads, core.width, dtype=torch.float64)
    reads = torch.zeros(rows, heads, slots, dtype=torch.float64)
    last_access = torch.arange(-slots, 0).repeat(rows, 1)
    outputs = []
    for t, x in enumerate(inputs):
        gates = core.input_gates(x) + core.recurrent_gates(torch.cat([hidden, vectors.flatten(1)], 1))
        i, f, g, o = gates.chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        queries, strengths, word, alpha, gamma, shares = core.interface(hidden).split(core.interface_sizes, 1)
        oldest = torch.nn.functional.one_hot(last_access.argmin(1), slots).double()
        previous = (shares.softmax(1).unsqueeze(2) * reads).sum(1)
        written = alpha.sigmoid() * (gamma.sigmoid() * previous + (1 - gamma.sigmoid()) * oldest)
        memory = memory * (1 - oldest).unsqueeze(2) + written.unsqueeze(2) * word.unsqueeze(1)
        last_access = torch.where(written > 0.005, t, last_access)
        similarity = cosine_similarity(memory, queries.view(rows, heads, -1))
        masked = similarity.detach().masked_fill((last_access < 0).unsqueeze(1), -torch.inf)
        order = masked.argsort(2, descending=True).argsort(2)
        support = (order < core.reads) & masked.isfinite()
        scores = similarity * (1 + torch.nn.functional.softplus(strengths)).unsqueeze(2)
        reads = scores.masked_fill(~support, -torch.inf).softmax(2)
        last_access = torch.where(written + reads.sum(1) > 0.005, t, last_access)
        vectors = reads @ memory
        outputs.append(core.output(torch.cat([hidden, vectors.flatten(1)], 1)))
    return torch.stack(outputs), memory


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_gradients_equal_those_of_a_dense_memory_on_the_same_support(changes):
    core, steps = make(**changes), 12
    found = []
    for dense in (False, True):
        inputs = inputs_of(steps).requires_grad_()
        memory = (0.1 * torch.randn(B, core.slots, core.width, generator=torch.Generator().manual_seed(3))).double()
        memory.requires_grad_()
        if dense:
            outputs, after = dense_outputs(core, inputs, memory)
        else:
            outputs, state, _, _ = core.unroll(inputs, core.initial_state(B)._replace(memory=memory), no_starts(steps))
            after = state.memory
        weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        loss = (weights * outputs).sum() + after.square().sum()
        found.append([outputs, after, *torch.autograd.grad(loss, [inputs, memory, *core.parameters()])])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("used", ["outputs", "memory", "both"])
def test_the_window_in_place_has_the_gradients_of_the_pure_steps(used):
    """Whatever of it is used, and as often as it is asked."""
    core, starts = make(), no_starts(15)
    starts[6, 1] = starts[11, 0] = True
    found = []
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
        inputs = inputs_of(15).requires_grad_()
        memory = inputs_of(core.slots)[:, :, :1].permute(1, 0, 2).repeat(1, 1, core.width).requires_grad_()
        outputs, state, _, _ = unroll(inputs, core.initial_state(B)._replace(memory=memory), starts)
        loss = outputs.square().sum() if used != "memory" else 0
        loss = loss + (1 + state.memory).square().sum() if used != "outputs" else loss
        sources = [inputs, memory, *core.parameters()]
        grads = [
            torch.autograd.grad(loss, sources, retain_graph=True, allow_unused=True, materialize_grads=True)
            for _ in range(2)
        ]
        torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0)
        found.append(grads[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)


class Allocations(TorchDispatchMode):
    """Counts the new tensors of at least some size."""

    def __init__(self, size):
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)}
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor) and made.numel() >= self.size:
                self.count += made.untyped_storage().data_ptr() not in given
        return result


@pytest.mark.parametrize("name", ["sam", "sdnc"])
@pytest.mark.parametrize("search", ["exact", "lsh"])
def test_no_step_makes_anything_of_the_memorys_size(name, search):
    """Forward and backward; a window does, a few times."""
    torch.manual_seed(0)
    sizes = {"slots": 500, "width": 16, "read_heads": 1, "reads": 2, "controller_size": 8}
    core, counts = make_core(name, SIZE, search=search, **sizes), []
    for steps in (3, 6):
        starts = no_starts(steps)
        starts[2, 0] = True
        with Allocations(B * 500 * 8) as made:
            core.unroll(inputs_of(steps).float(), core.initial_state(B), starts).outputs.sum().backward()
        counts.append(made.count)
    assert counts[1] == counts[0]
    assert counts[0] < 40


def test_backward_leaves_values_and_given_gradients_as_they_are():
    core = make()
    inputs, weights = inputs_of(8).requires_grad_(), torch.ones(B, core.slots, core.width, dtype=torch.float64)
    memory = torch.ones(B, core.slots, core.width, dtype=torch.float64, requires_grad=True)
    outputs, state, _, _ = core.unroll(inputs, core.initial_state(B)._replace(memory=memory), no_starts(8))
    kept = copy.deepcopy([leaf.detach() for leaf in (outputs, *state_leaves(state))])
    torch.autograd.backward([outputs, state.memory], [torch.ones_like(outputs), weights])
    torch.testing.assert_close([leaf.detach() for leaf in (outputs, *state_leaves(state))], kept, rtol=0, atol=0)
    assert (weights == 1).all()
    assert (memory == 1).all()


def test_a_window_goes_on_from_the_last_one_without_touching_it():
    """Two windows share a graph: the second one's gradient reaches the first, whose memory it does not change."""
    core, inputs = make(), inputs_of(10).requires_grad_()
    whole = core.unroll(inputs, core.initial_state(B), no_starts(10)).outputs.square().sum()
    first = core.unroll(inputs[:5], core.initial_state(B), no_starts(5))
    before = first.state.memory.detach().clone()
    second = core.unroll(inputs[5:], first.state, no_starts(5))
    assert torch.equal(first.state.memory, before)
    halves = first.outputs.square().sum() + second.outputs.square().sum()
    torch.testing.assert_close(
        torch.autograd.grad(halves, [inputs, *core.parameters()]),
        torch.autograd.grad(whole, [inputs, *core.parameters()]),
    )


# --- errors seen elsewhere --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sam", "sdnc"])
@pytest.mark.parametrize("search", ["exact", "lsh"])
def test_acting_writes_over_a_state_that_nobody_keeps(name, search):
    core = make_core(name, SIZE, **(SMALL | {"search": search, "width": 8}))
    inputs, starts = inputs_of(12, rows=3).float(), no_starts(12, rows=3)
    starts[5, 1] = True
    begun = core.initial_state(3)
    kept, mine = map_state(torch.clone, begun), map_state(torch.clone, begun)
    with torch.no_grad():
        for x, start in zip(inputs[:, None], starts[:, None], strict=True):
            before = map_state(torch.clone, kept)
            wanted, after = core.unroll(x, kept, start)[:2]
            assert all(map(torch.equal, state_leaves(before), state_leaves(kept)))
            kept = after
            place = mine.memory.data_ptr()
            with overwriting():
                found, mine = core.unroll(x, mine, start)[:2]
            assert mine.memory.data_ptr() == place
            assert torch.equal(found, wanted)
            assert all(map(torch.equal, state_leaves(mine), state_leaves(kept)))
    with overwriting():  # a gradient wants what was before
        _, after = core.unroll(inputs[:1], kept, starts[:1])[:2]
    assert after.memory.data_ptr() != kept.memory.data_ptr()


def test_what_is_written_is_found_at_once_and_later():
    """No label is off by one: a query reads the slot of this very step, and its weight stands at its index."""
    core = make(0.0, reads=1, read_heads=1, ready_to_record=True)
    trace = core.unroll(inputs_of(1), core.initial_state(B), no_starts(1), trace=True).trace
    assert trace["write_weights"][0].argmax(1).tolist() == [0, 0]
    assert (trace["read_weights"][0, :, 0, 0] == 1).all()
    memory = torch.arange(24.0).view(1, 6, 4)
    indices = torch.tensor([[4, 0, 2]])
    assert torch.equal(sparse.gather(memory, indices)[1], memory[:, [4, 0, 2]])


def test_steps_write_one_slot_after_another_from_the_first_on():
    """The slots are not all alike at the beginning: each step finds one least recently accessed."""
    core = make(0.1, slots=8, ready_to_record=True)
    trace = core.unroll(inputs_of(8), core.initial_state(B), no_starts(8), trace=True).trace
    fresh = trace["write_weights"].argmax(2)
    assert fresh.tolist() == [[t] * B for t in range(8)]


def test_usage_is_the_time_of_the_last_access_and_nothing_else():
    """It neither decays nor oscillates: it is the present step where a slot was accessed, and else stays."""
    core, steps = make(), 30
    initial = core.initial_state(B)
    trace = core.unroll(inputs_of(steps), initial, no_starts(steps), trace=True).trace
    before = initial.last_access
    for t in range(steps):
        accessed = trace["write_weights"][t] + trace["read_weights"][t].sum(1) > 0.005
        assert accessed.any()
        assert torch.equal(trace["last_access"][t], torch.where(accessed, t, before))
        before = trace["last_access"][t]


def test_a_weak_access_is_none():
    last_access, now = torch.tensor([[3, 4, 5]]), torch.tensor([9])
    indices, weights = torch.tensor([[0, 1, 2, 2]]), torch.tensor([[0.005, 0.006, 0.003, 0.003]])
    after = sparse.put(last_access, *sparse.access_times(last_access, now, indices, weights, 0.005))
    assert after.tolist() == [[3, 9, 9]]


def test_only_the_least_recently_accessed_slot_is_erased():
    core = make()
    state = core.unroll(inputs_of(9), core.initial_state(B), no_starts(9)).state
    before = state.memory.detach()
    step = core(inputs_of(1, seed=5)[0], state)
    oldest = state.last_access.argmin(1)
    with torch.no_grad():
        hidden = step.state.controller.hidden
        word = core.interface(hidden).split(core.interface_sizes, 1)[2]
        for b in range(B):
            kept = before[b].clone()
            kept[oldest[b]] = 0
            added = step.trace["write_weights"][b].unsqueeze(1) * word[b]
            torch.testing.assert_close(step.state.memory[b], kept + added)


def test_heads_do_not_meet():
    """One head's query changes nothing of another's read in this step: weights are not multiplied."""
    core = make()
    state = core.unroll(inputs_of(9), core.initial_state(B), no_starts(9)).state
    changed = copy.deepcopy(core)
    with torch.no_grad():
        changed.interface.bias[core.width : 2 * core.width] += 3.0  # the second head's query
    steps = [c(inputs_of(1, seed=5)[0], state) for c in (core, changed)]
    first, second = (step.trace["read_weights"] for step in steps)
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.equal(first[:, 1], second[:, 1])
    torch.testing.assert_close(first.sum(2), torch.ones(B, 2, dtype=torch.float64))


def test_the_clock_is_part_of_the_state():
    """Row by row: an episode that begins counts from 0, the other rows go on."""
    core, starts = make(), no_starts(6)
    starts[4, 1] = True
    state = core.unroll(inputs_of(6), core.initial_state(B), starts).state
    assert state.clock.tolist() == [6, 2]
    assert (state.last_access[1] < 2).all()


def test_a_row_names_no_slot_twice_among_the_reads_of_a_head():
    core = make(slots=5, reads=5)
    state = core.unroll(inputs_of(20), core.initial_state(B), no_starts(20)).state
    assert torch.equal(state.read_indices.sort(2).values, torch.arange(5).expand(B, 2, 5))


# --- options, size ----------------------------------------------------------------------------------------------------


def test_more_slots_give_the_same_until_the_fewer_are_full():
    few, many = make(slots=10), make(slots=400)
    many.load_state_dict(few.state_dict())
    results = [core.unroll(inputs_of(25), core.initial_state(B), no_starts(25)).outputs for core in (few, many)]
    torch.testing.assert_close(results[0][:10], results[1][:10], rtol=1e-12, atol=1e-12)
    assert (results[0][10:] - results[1][10:]).abs().max() > 1e-6


def test_a_penalty_on_writes():
    inputs, starts = inputs_of(7), no_starts(7)
    assert core_losses(make(), inputs, starts) == {}
    core = make(write_penalty=0.5)
    _, _, losses, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    torch.testing.assert_close(losses["write"], 0.5 * trace["write_weights"].sum(2))


def core_losses(core, inputs, starts):
    return core.unroll(inputs, core.initial_state(B), starts).losses


def test_ready_to_record():
    """The untrained core writes to the least recently accessed slot and looks up sharply."""
    core = make_core("sam", SIZE, **SMALL).double()
    trace = core.unroll(inputs_of(5), core.initial_state(B), no_starts(5), trace=True).trace
    assert (trace["write_weights"].max(2).values > 0.8).all()
    shy = make_core("sam", SIZE, **SMALL, ready_to_record=False).double()
    trace = shy.unroll(inputs_of(5), shy.initial_state(B), no_starts(5), trace=True).trace
    assert (trace["write_weights"].max(2).values < 0.5).all()


def test_nothing_is_detached():
    core, inputs = make(), inputs_of(10).requires_grad_()
    core.unroll(inputs, core.initial_state(B), no_starts(10)).outputs[-1].sum().backward()
    assert (inputs.grad[0] != 0).any()


def test_a_memory_into_which_nothing_was_written_reads_as_zero():
    core = make(0.0)
    with torch.no_grad():
        core.interface.weight.zero_()
        core.interface.bias.zero_()
        core.interface.bias[-4] = -50.0  # the write gate
    outputs, state, _, _ = core.unroll(inputs_of(3), core.initial_state(B), no_starts(3))
    assert (state.read_vectors == 0).all()
    assert (state.last_access < 0).all()
    assert outputs.isfinite().all()


def test_states_move_between_numbers_of_rows():
    core = make()
    state = core.unroll(inputs_of(5), core.initial_state(B), no_starts(5)).state
    doubled = map_state(lambda leaf: torch.cat([leaf, leaf]), state)
    outputs = core(inputs_of(1)[0].repeat(2, 1), doubled).outputs
    torch.testing.assert_close(outputs[:B], outputs[B:])


def test_bad_parameters():
    for wrong, message in [
        ({"reads": 7}, r"reads must be at most slots \(6\)"),
        ({"slots": 0}, "slots must be a positive integer"),
        ({"output_size": 0}, "output_size must be a positive integer"),
        ({"write_penalty": -1.0}, "write_penalty must be a number"),
        ({"search": "flann"}, "search must be one of .*exact.*lsh"),
        ({"hash_tables": 0}, "hash_tables must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)


# --- the approximate search -------------------------------------------------------------------------------------------


LSH = {"search": "lsh", "slots": 40, "width": 6, "reads": 2, "hash_tables": 3, "bucket_size": 4}


def test_hashing_in_place_is_hashing_by_copies():
    core, starts = make(**LSH), no_starts(60)
    starts[17, 1] = starts[40, 0] = starts[41, 0] = True
    found = []
    for unroll in (core.unroll, lambda *a: unroll_by_steps(core, *a)):
        inputs = inputs_of(60).requires_grad_()
        outputs, state, _, _ = unroll(inputs, core.initial_state(B), starts)
        grads = torch.autograd.grad(outputs.square().sum(), [inputs, *core.parameters()])
        found.append([outputs, *state_leaves(state), *grads])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)


def test_hashing_that_finds_all_is_the_exact_search():
    """Many tables of two buckets that hold all slots; and beside them one table that finds hardly anything."""
    exact, wide, narrow = (
        make(slots=40, width=6, reads=2, **options)
        for options in (
            {},
            {"search": "lsh", "hash_tables": 64, "bucket_size": 40},
            {"search": "lsh", "hash_tables": 1, "bucket_size": 1},
        )
    )
    inputs, results = inputs_of(60), []
    for core in (exact, wide, narrow):
        core.load_state_dict(exact.state_dict(), strict=False)
        results.append(core.unroll(inputs, core.initial_state(B), no_starts(60)))
    torch.testing.assert_close(results[0].outputs, results[1].outputs, rtol=1e-9, atol=1e-11)
    assert (results[0].outputs - results[2].outputs).abs().max() > 0.01
    assert (results[2].state.read_weights.sum(2) > 0.99).all(), "what was just written is always found"


def test_the_index_knows_the_memory_as_it_is():
    core = make(**LSH)
    state = core.unroll(inputs_of(60), core.initial_state(B), no_starts(60)).state
    codes = hash_codes(state.memory, core.hyperplanes[:, : core.hash_bits])
    touched = state.last_access >= 0
    assert touched.all()
    assert torch.equal(state.hashes.codes, codes)


def test_hyperplanes_do_not_depend_on_the_seed_or_the_slots():
    torch.manual_seed(3)
    first = make_core("sam", SIZE, **(SMALL | LSH))
    torch.manual_seed(4)
    second = make_core("sam", SIZE, **(SMALL | LSH | {"slots": 900}))
    assert second.hash_bits > first.hash_bits
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.hyperplanes, second.hyperplanes)
