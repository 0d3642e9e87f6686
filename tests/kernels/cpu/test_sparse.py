"""The fused SAM and SDNC against the plain loop of their steps, which is the reference."""

import pytest
import torch

from memagents import make_core
from memagents.cores.core import select_rows, state_leaves
from memagents.kernels.cpu.sparse import window as sparse
from tests.kernels.support.sparse import NAMES, PLAIN, assert_equal_unrolls, detached, learned, make, used_state
from tests.kernels.support.windows import assert_same_bits, on_threads

SIZES = [  # slots, width, heads, reads, hidden, batch; a vector has 4 numbers of a slot, 16 slots are compared at once
    (6, 4, 1, 2, 8, 1),
    (6, 4, 2, 2, 5, 3),
    (16, 8, 1, 1, 16, 4),
    (17, 9, 3, 3, 12, 18),
    (40, 24, 2, 4, 32, 5),
]


def inputs_and_starts(steps, batch, chance=0.15, dtype=torch.float64):
    return torch.randn(steps, batch, 3, dtype=dtype), torch.rand(steps, batch) < chance


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients_equal_the_plain_loop(name, sizes, fused):
    *sizes, batch = sizes
    core = make(name, *sizes)
    inputs, starts = inputs_and_starts(7, batch)
    assert_equal_unrolls(core, inputs, used_state(core, batch), starts)
    assert fused == ["sparse"]


@pytest.mark.parametrize("name", NAMES)
def test_from_the_first_step_of_an_episode_until_the_slots_are_full_and_beyond(name):
    core = make(name, 6, 4, 2, 2, 8)
    inputs, starts = inputs_and_starts(20, 3, 0)
    assert_equal_unrolls(core, inputs, core.initial_state(3), starts)


@pytest.mark.parametrize("name", PLAIN)
def test_as_it_is_made_for_recording(name):
    core = make_core(name, 3, slots=12, width=8, read_heads=2, controller_size=16, write_penalty=0.1).double()
    inputs, starts = inputs_and_starts(15, 2, 0)
    assert_equal_unrolls(core, inputs, core.initial_state(2), starts)


@pytest.mark.parametrize("name", NAMES)
def test_a_start_at_every_position(name):
    core, steps = make(name, 9, 4, 2, 2, 8), 7
    inputs, _ = inputs_and_starts(steps, steps)
    assert_equal_unrolls(core, inputs, used_state(core, steps), torch.eye(steps, dtype=torch.bool))


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_float64_but_for_rounding(name):
    """Of a step: in later ones, the choice of a slot may turn on a rounding."""
    core = make(name, 20, 24, 2, 4, 16, noise=0.2)
    inputs, starts = inputs_and_starts(1, 6, 0)
    state = used_state(core, 6)
    exact = core.unroll(inputs, state, starts)
    single = core.float().unroll(inputs.float(), type(state)(*(_float(leaf) for leaf in state)), starts)
    torch.testing.assert_close(single.outputs.double(), exact.outputs, rtol=0, atol=1e-5)
    torch.testing.assert_close(single.state.memory.double(), exact.state.memory, rtol=0, atol=1e-5)


def _float(leaf):
    if isinstance(leaf, tuple):
        return type(leaf)(*(_float(child) for child in leaf))
    return leaf.float() if leaf.is_floating_point() else leaf


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [(17, 24, 2, 3, 16), (17, 5, 1, 3, 7)], ids=str)
def test_a_row_is_the_same_in_any_batch_and_any_cut(name, sizes):
    """To the last bit, so that acting row by row and learning from windows agree."""
    core = make(name, *sizes, dtype=torch.float32)
    inputs, starts = inputs_and_starts(6, 19, dtype=torch.float32)
    state = used_state(core, 19)
    with torch.no_grad():
        x = core.project(inputs)  # torch's products are another matter
        whole = core.recur(x, state, starts)
        row = core.recur(x[:, 17:18], select_rows(state, [17]), starts[:, 17:18])
        assert_same_bits(state_leaves(row.state), state_leaves(select_rows(whole.state, [17])))
        after = state
        for t in range(6):
            after = core.recur(x[t : t + 1], after, starts[t : t + 1]).state
        assert_same_bits(state_leaves(after), state_leaves(whole.state))


@pytest.mark.parametrize("name", NAMES)
def test_without_gradients_it_is_the_same(name):
    """Then two records of a tile are kept instead of all."""
    core = make(name, 17, 24, 2, 3, 16, dtype=torch.float32)
    inputs, starts = inputs_and_starts(7, 21, dtype=torch.float32)
    state = used_state(core, 21)
    outputs, _, *leaves = learned(core, inputs, state, starts)
    with torch.no_grad():
        plain = core.unroll(inputs, state, starts)
    assert_same_bits([plain.outputs, *state_leaves(plain.state)], [outputs, *leaves])


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_does_not_matter(name, monkeypatch):
    core = make(name, 64, 24, 2, 4, 64, dtype=torch.float32)
    inputs, starts = inputs_and_starts(24, 24, dtype=torch.float32)
    state = used_state(core, 24)
    run, used = sparse.run, []
    monkeypatch.setattr(sparse, "run", lambda function, threads: used.append(threads) or run(function, threads))

    def call():
        x = core.project(inputs).detach().requires_grad_()
        unrolled = core.recur(x, state, starts)
        sum(leaf.sum() for leaf in (unrolled.state.memory, unrolled.state.read_vectors)).backward()
        return [x.grad, *state_leaves(detached(unrolled.state))]

    results = on_threads(call)
    assert set(used) >= {1, 2}
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_state_it_is_given_stays_as_it_is(name):
    core = make(name, 9, 4, 2, 2, 8)
    inputs, starts = inputs_and_starts(5, 4, 0.5)
    state = used_state(core, 4)
    copies = [leaf.clone() for leaf in state_leaves(state)]
    learned(core, inputs, state, starts)
    assert_same_bits(state_leaves(state), copies)


@pytest.mark.parametrize("name", NAMES)
def test_operands_need_not_be_contiguous(name):
    core = make(name, 9, 8, 2, 2, 8)
    inputs, starts = inputs_and_starts(5, 4, 0.3)
    state = used_state(core, 4)

    def strided(leaf):
        if isinstance(leaf, tuple):
            return type(leaf)(*(strided(child) for child in leaf))
        return torch.stack([leaf, leaf], dim=-1)[..., 0]

    def turned(leaf):
        if isinstance(leaf, tuple):
            return type(leaf)(*(turned(child) for child in leaf))
        return leaf.movedim(0, -1).contiguous().movedim(-1, 0)  # dense, but the batch innermost

    straight = learned(core, inputs, state, starts)
    assert_same_bits(learned(core, strided(inputs), strided(state), strided(starts)), straight)
    assert_same_bits(learned(core, inputs, turned(state), turned(starts)), straight)


@pytest.mark.parametrize("name", NAMES)
def test_not_a_number_stays_in_its_row_and_ends_at_a_start(name):
    core = make(name, 9, 8, 2, 2, 8)
    inputs, starts = inputs_and_starts(6, 5, 0)
    state = used_state(core, 5)
    clean = core.unroll(inputs, state, starts).outputs
    starts[3] = True
    begun = core.unroll(inputs, state, starts).outputs
    inputs[1, 2] = float("nan")
    outputs = core.unroll(inputs, state, starts).outputs
    assert outputs[1:3, 2].isnan().any()
    others = [0, 1, 3, 4]
    assert torch.equal(outputs[:3, others], clean[:3, others])
    assert torch.equal(outputs[3:], begun[3:])


@pytest.mark.parametrize("name", NAMES)
def test_backward_twice_through_one_window_but_not_differentiable_twice(name):
    core = make(name, 9, 8, 2, 2, 8)
    inputs, starts = inputs_and_starts(3, 4)
    inputs.requires_grad_()
    outputs = core.unroll(inputs, used_state(core, 4), starts).outputs
    first, second = (torch.autograd.grad(outputs.square().sum(), inputs, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        gradient.sum().backward()


# --- where the kernel does not apply --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_traces_hashing_and_autocast_go_through_the_loop(name, fused):
    core = make(name, 9, 8, 2, 2, 8, dtype=torch.float32)
    inputs, starts = inputs_and_starts(2, 3, dtype=torch.float32)
    state = core.initial_state(3)
    core.unroll(inputs, state, starts, trace=True)
    with torch.autocast("cpu"):
        core.unroll(inputs, state, starts)
    hashing = make_core(name, 3, slots=9, width=8, search="lsh")
    hashing.unroll(inputs, hashing.initial_state(3), starts)
    assert fused == []
    core.unroll(inputs, state, starts)
    assert fused == ["sparse"]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_belong_together(name):
    core = make(name, 9, 8, 2, 2, 8)
    inputs, starts = inputs_and_starts(2, 3)
    state = core.initial_state(3)
    with pytest.raises(ValueError, match="last_access must be"):
        core.unroll(inputs, state._replace(last_access=state.last_access[:, :5]), starts)
    with pytest.raises(ValueError, match="read_weights must be"):
        core.unroll(inputs, state._replace(read_weights=state.read_weights[:, :1]), starts)
    with pytest.raises(ValueError, match="clock must be int64"):
        core.unroll(inputs, state._replace(clock=state.clock.int()), starts)
    with pytest.raises(ValueError, match="memory must be"):
        core.unroll(inputs, state._replace(memory=state.memory[:2]), starts)


def test_nothing_to_sharpen_without_links(monkeypatch):
    core = make("sam", 9, 8, 2, 2, 8)
    monkeypatch.setattr(core, "sharpen_links", True)
    inputs, starts = inputs_and_starts(2, 3)
    with pytest.raises(ValueError, match="sharpen_links must be False"):
        core.unroll(inputs, core.initial_state(3), starts)


@pytest.mark.parametrize("change", [9, -1])
def test_slots_that_there_are_not(change):
    """Such as a damaged file may name."""
    core = make("sdnc", 9, 8, 2, 2, 8)
    inputs, starts = inputs_and_starts(2, 3)
    state = core.initial_state(3)
    links = {name: getattr(state.links, name) for name in ("before", "after", "precedence")}
    strange = [state._replace(links=state.links._replace(**{name: leaf + change})) for name, leaf in links.items()]
    for wrong in (state._replace(read_indices=state.read_indices + change), *strange):
        with pytest.raises(ValueError, match="name slots other than 0 to 8"):
            core.unroll(inputs, wrong, starts)
