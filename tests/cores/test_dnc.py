"""The DNC against the paper in plain loops, and against the errors that other DNCs make."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from memagents import make_core
from memagents.cores.core import detach_state, state_leaves
from memagents.cores.dnc import DNCInterface, DNCState
from memagents.memory import linkage
from tests.reference import dnc

T, B = 10, 2
SIZES = {"slots": 5, "width": 3, "read_heads": 2, "controller_size": 4, "ready_to_record": False}
BACKWARD, CONTENT, FORWARD = range(3)


def make(**options):
    """Weights three times the usual, so that gates and weightings are far from their averages."""
    torch.manual_seed(0)
    core = make_core("dnc", 4, **SIZES, output_size=6, **options).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.mul_(3)
    return core


@pytest.fixture
def core():
    return make()


def no_starts(steps=T, rows=B):
    return torch.zeros(steps, rows, dtype=torch.bool)


def inputs_of(core, steps=T, rows=B):
    return torch.randn(steps, rows, core.input_size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def numpy_weights(core):
    named = {
        "W_x": core.input_gates.weight,
        "b_x": core.input_gates.bias,
        "W_r": core.recurrent_gates.weight,
        "W_ξ": core.interface.weight,
        "b_ξ": core.interface.bias,
        "W_y": core.output.weight,
        "b_y": core.output.bias,
    }
    return {name: parameter.detach().numpy() for name, parameter in named.items()}


OPTIONS = ("masked_lookup", "deallocate", "sharpen_links")


@pytest.mark.parametrize("options", [(), *((option,) for option in OPTIONS), OPTIONS], ids=str)
def test_ten_steps_equal_the_papers_in_loops(options):
    chosen = dict.fromkeys(options, True)
    core = make(**chosen)
    inputs, starts = inputs_of(core), no_starts()
    starts[0, 1] = starts[4, 0] = starts[7, 1] = starts[8, 1] = True
    outputs, state, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(core.unroll(inputs, core.initial_state(B), starts).outputs, outputs, **close)
    for b in range(B):
        expected = dnc.dnc_initial(5, 3, 2, 4)
        for t in range(T):
            if starts[t, b]:
                expected = dnc.dnc_initial(5, 3, 2, 4)
            output, expected = dnc.dnc_step(numpy_weights(core), inputs[t, b].numpy(), expected, **chosen)
            np.testing.assert_allclose(outputs[t, b].detach(), output, **close)
            for name in ("usage", "write_weights", "read_weights"):
                np.testing.assert_allclose(trace[name][t, b].detach(), expected[name], **close)
        for name in DNCState._fields[:-1]:
            np.testing.assert_allclose(getattr(state, name)[b].detach(), expected[name], **close)
        np.testing.assert_allclose(state.controller.hidden[b].detach(), expected["hidden"], **close)
        np.testing.assert_allclose(state.controller.cell[b].detach(), expected["cell"], **close)


def test_the_state_begins_as_zeros(core):
    assert all((leaf == 0).all() for leaf in state_leaves(core.initial_state(B)))


def test_reads_reach_the_controller_inside_a_sequence(core):
    """A window of T steps is T windows of one step; and what was read last changes the next hidden state."""
    inputs, state = inputs_of(core), core.initial_state(B)
    whole = core.unroll(inputs, state, no_starts())
    for t in range(T):
        one, state, _, _ = core.unroll(inputs[t : t + 1], state, no_starts(1))
        torch.testing.assert_close(one[0], whole.outputs[t], rtol=1e-12, atol=1e-12)
    other = state._replace(read_vectors=state.read_vectors + 1)
    hidden = [core(inputs[0], s).state.controller.hidden for s in (state, other)]
    assert (hidden[0] - hidden[1]).abs().max() > 1e-3


def test_an_untrained_dnc_records():
    """From its first step it writes to slots that are not used yet, frees none, and looks up by content."""
    torch.manual_seed(0)
    core = make_core("dnc", 4, slots=12)
    trace = core.unroll(inputs_of(core).float(), core.initial_state(B), no_starts(), trace=True).trace
    assert (trace["write_weights"].sum(-1) > 0.9).all()
    written = trace["write_weights"].argmax(-1)  # (T, B)
    assert all(len(set(slots)) == T for slots in written.T.tolist())
    assert (trace["free_gates"] < 0.1).all()
    assert (trace["read_modes"][..., CONTENT] > 0.8).all()


@pytest.mark.parametrize("option", ["masked_lookup", "deallocate"])
def test_with_masks_of_one_and_nothing_freed_it_is_the_plain_dnc(option):
    core, plain = make(**{option: True}), make()
    with torch.no_grad():
        gates = core.interface.bias.split(core.interface_sizes)
        for part in gates[10:12]:
            part.fill_(1e3)
        gates[6].fill_(-1e3)  # the free gates
        width = plain.interface.out_features
        core.interface.weight[width:] = 0
        weights = core.state_dict()
        for name in ("interface.weight", "interface.bias"):
            weights[name] = weights[name][:width]
        plain.load_state_dict(weights)
    inputs = inputs_of(core)
    found, expected = (c.unroll(inputs, c.initial_state(B), no_starts()).outputs for c in (core, plain))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_sharpness_of_links_at_one_normalises_alone():
    weights = torch.tensor([[[0.1, 0.0, 0.3], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    once, thrice = (linkage.sharpened(weights, torch.full((1, 2), s, dtype=torch.float64)) for s in (1.0, 3.0))
    torch.testing.assert_close(once[0, 0], torch.tensor([0.25, 0.0, 0.75]).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(thrice[0, 0], torch.tensor([1 / 28, 0.0, 27 / 28]).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(once[0, 1], torch.full((3,), 1 / 3).double())  # where there are no links


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_a_boolean(option):
    with pytest.raises(ValueError, match=f"{option} must be true or false, not 1"):
        make_core("dnc", 4, **{option: 1})


def test_no_weight_depends_on_the_number_of_slots(core):
    larger = make_core("dnc", 4, **{**SIZES, "slots": 50}, output_size=6).double()
    larger.load_state_dict(core.state_dict())
    assert larger.unroll(inputs_of(core), larger.initial_state(B), no_starts()).outputs.shape == (T, B, 6)


def test_dense_gradients_reach_the_first_input(core):
    """Nothing is detached on the way."""
    inputs = inputs_of(core).requires_grad_()
    core.unroll(inputs, core.initial_state(B), no_starts()).outputs[-1].sum().backward()
    assert (inputs.grad[0] != 0).all()


# --- one step with gates set by hand --------------------------------------------------------------------------------


def access(core, state, **wanted):
    """One step of the memory with an interface set by hand: by default nothing is written, freed or erased."""
    rows, heads, width = 1, core.read_heads, core.width
    zero = torch.zeros(rows, 1, dtype=torch.float64)
    settings = {
        "read_keys": zero.new_zeros(rows, heads, width),
        "read_strengths": zero.new_ones(rows, heads),
        "write_key": zero.new_zeros(rows, 1, width),
        "write_strength": zero.new_ones(rows, 1),
        "erase": zero.new_zeros(rows, width),
        "write": zero.new_zeros(rows, width),
        "free_gates": zero.new_zeros(rows, heads),
        "allocation_gate": zero,
        "write_gate": zero,
        "read_modes": mode(CONTENT).expand(rows, heads, 3),
    }
    assert wanted.keys() <= settings.keys()
    return core._access(DNCInterface(**(settings | wanted)), state.controller, state)


def mode(which):
    return functional.one_hot(torch.tensor(which), 3).double()


def at(slot, slots=5):
    return functional.one_hot(torch.tensor([slot]), slots).double()


ONE = torch.ones(1, 1, dtype=torch.float64)


def write_next(core, state, vector):
    """Write to the slot that allocation gives."""
    vector = torch.tensor([vector], dtype=torch.float64)
    return access(core, state, write=vector, write_gate=ONE, allocation_gate=ONE)


def test_three_writes_are_found_in_order_in_both_directions(core):
    """Three free slots are taken; from the second, forward is the third and backward the first (L[i, j]: i after j)."""
    state, slots = core.initial_state(1), []
    for vector in ([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]):
        state = write_next(core, state, vector).state
        slots.append(state.write_weights.argmax().item())
        torch.testing.assert_close(state.write_weights, at(slots[-1]), atol=1e-4, rtol=0)
    first, second, third = slots
    assert len({first, second, third}) == 3
    torch.testing.assert_close(state.memory[0, slots], torch.eye(3, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(state.link[0, second, first], ONE[0, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(state.link[0, third, second], ONE[0, 0], atol=1e-3, rtol=0)
    assert state.link.sum() < 2.01
    keys = torch.tensor([[[0, 1.0, 0]] * 2], dtype=torch.float64)
    found = access(core, state, read_keys=keys, read_strengths=torch.full((1, 2), 50.0, dtype=torch.float64)).state
    torch.testing.assert_close(found.read_weights[0, 0], at(second)[0], atol=1e-3, rtol=0)
    modes = torch.stack([mode(FORWARD), mode(BACKWARD)])[None]
    followed = access(core, found, read_modes=modes).state
    torch.testing.assert_close(followed.read_weights[0], torch.cat([at(third), at(first)]), atol=2e-3, rtol=0)
    vectors = torch.tensor([[0, 0, 1.0], [1.0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(followed.read_vectors[0], vectors, atol=2e-3, rtol=0)


def test_usage_is_of_the_step_before(core):
    """A slot written now counts as used one step later; a gate frees the slots read in the step *before*."""
    first = write_next(core, core.initial_state(1), [1.0, 0, 0]).state
    assert (first.usage == 0).all(), "no epsilon stays in the usage, and this step's write does not count yet"
    second = write_next(core, first, [0, 1.0, 0]).state
    slots = [state.write_weights.argmax().item() for state in (first, second)]
    torch.testing.assert_close(second.usage, at(slots[0]), atol=1e-4, rtol=0)
    unread = next(n for n in range(5) if n not in slots)
    reading = second._replace(read_weights=torch.stack([at(slots[0]), at(unread)], dim=1))
    freed = access(core, reading, free_gates=torch.ones(1, 2, dtype=torch.float64)).state
    torch.testing.assert_close(freed.usage, at(slots[1]), atol=1e-4, rtol=0)
    kept = access(core, reading).state
    torch.testing.assert_close(kept.usage, at(slots[0]) + at(slots[1]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("deallocate", [False, True])
def test_what_was_freed_is_gone_only_where_it_is_wiped(deallocate):
    """Read wholly and freed wholly, a slot is empty in the next step; without the option its content is still found."""
    core = make(deallocate=deallocate)
    state = write_next(core, core.initial_state(1), [1.0, 2.0, 3.0]).state
    slot = state.write_weights.argmax().item()
    state = state._replace(read_weights=torch.stack([at(slot), at(slot)], dim=1))
    freed = access(core, state, free_gates=torch.ones(1, 2).double()).state
    assert (freed.memory[0, slot].abs().sum() == 0) == deallocate
    assert freed.usage[0, slot] == 0


def test_the_gates_of_writing(core):
    """No write without the write gate; by content without the allocation gate."""
    state = write_next(core, core.initial_state(1), [1.0, 0, 0]).state
    closed = access(core, state, write=torch.ones(1, 3, dtype=torch.float64), allocation_gate=ONE).state
    assert (closed.write_weights == 0).all()
    assert torch.equal(closed.memory, state.memory)
    assert torch.equal(closed.precedence, state.precedence)
    key = torch.tensor([[[1.0, 0, 0]]], dtype=torch.float64)
    update = {"erase": torch.ones(1, 3, dtype=torch.float64), "write": torch.full((1, 3), 7.0, dtype=torch.float64)}
    rewritten = access(core, state, write_key=key, write_strength=50 * ONE, write_gate=ONE, **update).state
    torch.testing.assert_close(rewritten.write_weights, at(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(rewritten.memory[0, 0], torch.full((3,), 7.0, dtype=torch.float64), atol=1e-2, rtol=0)


def test_reading_sees_what_this_step_wrote(core):
    keys = torch.tensor([[[0, 1.0, 0]] * 2], dtype=torch.float64)
    step = access(
        core,
        core.initial_state(1),
        write=keys[:, 0],
        write_gate=ONE,
        allocation_gate=ONE,
        read_keys=keys,
        read_strengths=torch.full((1, 2), 50.0, dtype=torch.float64),
    )
    torch.testing.assert_close(step.state.read_vectors, keys, atol=1e-3, rtol=0)


def test_writing_by_content_looks_at_the_memory_before_the_write(core):
    """The write key is compared with M_{t-1}: with an empty memory no slot is like it, whatever is being written."""
    vector = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    step = access(core, core.initial_state(1), write=vector, write_key=vector[:, None], write_gate=ONE)
    torch.testing.assert_close(step.state.write_weights, torch.full((1, 5), 0.2, dtype=torch.float64))


def test_invariants_over_a_long_run(core):
    """Zero diagonal; usage in [0, 1]; rows and columns of the link, and precedence, sum to at most 1."""
    state = core.initial_state(B)
    for _ in range(10):
        state = detach_state(core.unroll(3 * inputs_of(core, 20), state, no_starts(20)).state)
        assert (state.link.diagonal(dim1=1, dim2=2) == 0).all()
        for sums in (state.link.sum(1), state.link.sum(2), state.precedence.sum(1), state.write_weights.sum(1)):
            assert (sums <= 1 + 1e-9).all()
        for leaf in (state.usage, state.link, state.precedence, state.write_weights, state.read_weights):
            assert (leaf >= -1e-12).all()
            assert (leaf <= 1 + 1e-9).all()


def test_the_interface_is_squashed_as_in_the_paper(core):
    """oneplus strengths, sigmoid gates and erase, softmax modes; keys and write vectors as they are."""
    raw = 5 * torch.randn(3, sum(core.interface_sizes), dtype=torch.float64)
    parsed = core._parse(raw)
    parts = raw.split(core.interface_sizes, dim=1)
    assert torch.equal(parsed.read_keys.flatten(1), parts[0])
    torch.testing.assert_close(parsed.read_strengths, 1 + (1 + parts[1].exp()).log())
    assert torch.equal(parsed.write_key.flatten(1), parts[2])
    torch.testing.assert_close(parsed.write_strength, 1 + (1 + parts[3].exp()).log())
    torch.testing.assert_close(parsed.erase, 1 / (1 + (-parts[4]).exp()))
    assert torch.equal(parsed.write, parts[5])
    for gates, part in zip((parsed.free_gates, parsed.allocation_gate, parsed.write_gate), parts[6:9], strict=True):
        torch.testing.assert_close(gates, 1 / (1 + (-part).exp()))
    torch.testing.assert_close(parsed.read_modes.sum(-1), torch.ones(3, 2, dtype=torch.float64))


def test_a_penalty_on_writes():
    """So much times what is written, through the plain loop and said so; the outputs are those of the kernel."""
    with pytest.warns(UserWarning, match="without its fused kernel"):
        core = make_core("dnc", 4, slots=4, width=3, read_heads=1, controller_size=5, write_penalty=0.25).double()
    free = make_core("dnc", 4, slots=4, width=3, read_heads=1, controller_size=5).double()
    free.load_state_dict(core.state_dict())
    inputs, starts = torch.randn(6, 2, 4, dtype=torch.float64), torch.zeros(6, 2, dtype=torch.bool)
    outputs, _, losses, trace = core.unroll(inputs, core.initial_state(2), starts, trace=True)
    torch.testing.assert_close(losses["write"], 0.25 * trace["write_weights"].sum(-1))
    assert losses["write"].shape == (6, 2)
    expected, _, none, _ = free.unroll(inputs, free.initial_state(2), starts)
    torch.testing.assert_close(outputs, expected)
    assert none == {}
    with pytest.raises(ValueError, match="write_penalty"):
        make_core("dnc", 4, write_penalty=-1.0)
