"""The fused LSTM and GRU against the plain loop of their steps, which is the reference."""

import pytest
import torch

from memagents.kernels.cpu.recurrent import window as recurrent
from tests.kernels.support import recurrent as support
from tests.kernels.support.recurrent import NAMES, assert_equal_unrolls, make, used_state
from tests.kernels.support.windows import assert_same_bits, on_threads, values_and_gradients


def operands(name, *sizes):
    """The kernel, and its operands."""
    return getattr(recurrent, f"{name}_window"), *support.operands(name, *sizes)


SIZES = [  # hidden, steps, batch; 8 units are one vector of float64, four rows are multiplied at once, 16 are a tile
    (1, 2, 1),
    (8, 7, 3),
    (5, 9, 11),
    (16, 4, 8),
    (24, 5, 37),
    (40, 3, 5),
    (135, 3, 6),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("chance_of_start", [0.0, 0.3, 1.0])
def test_values_and_gradients_equal_the_plain_loop(name, sizes, chance_of_start):
    hidden, steps, batch = sizes
    core = make(name, hidden)
    inputs = torch.randn(steps, batch, 3, dtype=torch.float64)
    assert_equal_unrolls(core, inputs, used_state(core, batch), torch.rand(steps, batch) < chance_of_start)


@pytest.mark.parametrize("name", NAMES)
def test_a_start_at_every_position(name):
    core, steps = make(name, 12), 9
    inputs = torch.randn(steps, steps, 3, dtype=torch.float64)
    assert_equal_unrolls(core, inputs, used_state(core, steps), torch.eye(steps, dtype=torch.bool))


@pytest.mark.parametrize("name", NAMES)
def test_float32(name):
    core = make(name, 20, torch.float32)
    assert_equal_unrolls(core, torch.randn(6, 10, 3), used_state(core, 10), torch.rand(6, 10) < 0.2, tolerance=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_huge_inputs(name):
    core = make(name, 8)
    inputs = 1e4 * torch.randn(5, 3, 3, dtype=torch.float64)
    found = values_and_gradients(
        type(core).unroll, core, inputs, used_state(core, 3), torch.zeros(5, 3, dtype=torch.bool), True
    )
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_the_same_in_any_batch_and_any_cut(name):
    """To the last bit, so that acting row by row and learning from windows agree."""
    window, x, starts, weights, leaves = operands(name, 6, 19, 16)
    whole = window(x, starts, *weights, *leaves)
    row = window(x[:, 17:18], starts[:, 17:18], *weights, *(leaf[17:18] for leaf in leaves))
    assert_same_bits(row, [whole[0][:, 17:18], *(leaf[17:18] for leaf in whole[1:])])
    first = window(x[:1], starts[:1], *weights, *leaves)
    second = window(x[1:], starts[1:], *weights, *first[1:])
    assert_same_bits([torch.cat([first[0], second[0]]), *second[1:]], whole)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hidden", [16, 11])
def test_without_gradients_it_is_the_same(name, hidden):
    """Then a single record of a tile is kept instead of all."""
    window, x, starts, weights, leaves = operands(name, 7, 21, hidden)
    learning = window(x.clone().requires_grad_(), starts, *weights, *leaves)
    assert learning[0].requires_grad
    assert_same_bits(window(x, starts, *weights, *leaves), [result.detach() for result in learning])


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_does_not_matter(name, monkeypatch):
    window, x, starts, weights, leaves = operands(name, 24, 64, 64)
    run, used = recurrent.run, []
    monkeypatch.setattr(recurrent, "run", lambda function, threads: used.append(threads) or run(function, threads))

    def call():
        own = x.clone().requires_grad_()
        hidden = window(own, starts, *weights, *leaves)[0]
        hidden.square().sum().backward()
        return [hidden.detach(), window(x, starts, *weights, *leaves)[0], own.grad]

    results = on_threads(call)
    assert set(used) >= {1, 2}
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


@pytest.mark.parametrize("name", NAMES)
def test_operands_need_not_be_contiguous(name):
    window, x, starts, weights, leaves = operands(name, 5, 6, 8)

    def gradient(*tensors):
        given = [tensor.detach().requires_grad_() for tensor in tensors]
        results = window(given[0], starts, *given[1:])
        sum(result.sum() for result in results).backward()  # the gradients of a sum are not contiguous either
        return [*(result.detach() for result in results), *(tensor.grad for tensor in given)]

    def strided(tensor):
        return torch.stack([tensor, tensor], dim=-1)[..., 0]

    straight = gradient(x, *weights, *leaves)
    assert_same_bits(gradient(*(strided(tensor) for tensor in (x, *weights, *leaves))), straight)


@pytest.mark.parametrize("name", NAMES)
def test_not_a_number_stays_in_its_row_and_ends_at_a_start(name):
    window, x, starts, weights, leaves = operands(name, 4, 9, 8)
    starts[0] = True
    clean = window(x, starts, *weights, *leaves)
    assert_same_bits(window(x, starts, *weights, *(leaf * float("nan") for leaf in leaves)), clean)
    x[0, 5], starts[1:] = float("nan"), False
    hidden = window(x, starts, *weights, *leaves)[0]
    assert hidden[:, 5].isnan().any() and not hidden[:, :5].isnan().any() and not hidden[:, 6:].isnan().any()


@pytest.mark.parametrize("name", NAMES)
def test_backward_twice_through_one_window(name):
    window, x, starts, weights, leaves = operands(name, 3, 5, 8)
    x.requires_grad_()
    hidden = window(x, starts, *weights, *leaves)[0]
    first, second = (torch.autograd.grad(hidden.square().sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


# --- where the kernel does not apply --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_not_differentiable_twice(name):
    window, x, starts, weights, leaves = operands(name, 2, 2, 8)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(window(x, starts, *weights, *leaves)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        gradient.sum().backward()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", range(4))
def test_wrong_shapes_are_refused(name, number):
    window, x, starts, weights, leaves = operands(name, 4, 3, 8)
    given = [x, *weights, *leaves]
    given[number] = torch.cat([given[number], given[number]])
    with pytest.raises(ValueError, match=r"must be .* beside the others, not"):
        window(given[0], starts, *given[1:])


@pytest.mark.parametrize("name", NAMES)
def test_what_goes_through_the_plain_loop(name, fused):
    core = make(name, 8, torch.float32)
    inputs, state, starts = torch.randn(2, 3, 3), core.initial_state(3), torch.zeros(2, 3, dtype=torch.bool)
    core.unroll(inputs, state, starts)
    assert fused == [name]
    with torch.autocast("cpu", torch.bfloat16):
        after = core.unroll(inputs, state, starts).state
    assert all(leaf.dtype == torch.float32 for leaf in after)
    assert core.unroll(inputs[:1], state, starts[:1]).outputs.requires_grad, "a single step to learn from"
    assert fused == [name]
    with torch.no_grad():
        core.unroll(inputs[:1], state, starts[:1])
    assert fused == [name, name]
