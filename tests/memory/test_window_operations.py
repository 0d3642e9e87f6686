"""Operations that make windows parallel, and random numbers from keys, beside obvious loops."""

import doctest

import pytest
import torch

from memagents.memory import history, scan
from memagents.memory.draws import dropout, uniform
from memagents.memory.scan import cut, linear_scan, matrix_scan

L, T, B, W = 4, 7, 3, 2


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_starts(seed=3):
    return torch.rand(T, B, generator=torch.Generator().manual_seed(seed)) < 0.25


def begun(filled):
    """A history of which so many rows are of the present episode."""
    rows = random(B, L, W)
    for b, count in enumerate(filled.tolist()):
        rows[b, : L - count] = 0
    return rows


def test_the_example():
    assert doctest.testmod(history).failed == 0
    assert doctest.testmod(history).attempted > 0


@pytest.mark.parametrize("filled", [[0, 0, 0], [4, 2, 1]])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("span", [1, 3, L + 1])
def test_a_window_at_once_is_step_after_step(filled, seed, span):
    filled, starts, new = torch.tensor(filled), random_starts(seed), random(B, T, W, seed=9)
    rows = begun(filled)
    lists = [list(rows[b, L - filled[b] :]) for b in range(B)]  # the episode so far, as far as it is kept
    first = history.first_positions(filled, starts, L)
    whole, mask = history.timeline(rows, new, first), history.sees(first, L, span)
    for t in range(T):
        for b in range(B):
            if starts[t, b]:
                lists[b] = []
            lists[b].append(new[b, t])
            seen = whole[b][mask[b, t]]
            assert torch.equal(seen, torch.stack(lists[b][-span:]))
            lists[b] = lists[b][-L - 1 :]
    kept, count = history.newest(whole, first, L), history.filled_after(first, L)
    for b in range(B):
        expected = lists[b][-L:]
        assert count[b] == len(expected)
        assert torch.equal(kept[b, L - len(expected) :], torch.stack(expected))
        assert (kept[b, : L - len(expected)] == 0).all()


def test_what_no_step_sees_is_zero():
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 1] = True
    first = history.first_positions(torch.tensor([L, L, L]), starts, L)
    whole = history.timeline(torch.full((B, L, W), torch.nan), torch.ones(B, T, W), first)
    assert (whole[1, :L] == 0).all()
    assert whole[0, :L].isnan().all()


@pytest.mark.parametrize("span", [1, 3, L + 1])
def test_skew_puts_ages_at_their_positions(span):
    by_age = random(B, T, span)
    skewed = history.skew(by_age, L)
    assert skewed.shape == (B, T, L + T)
    for t in range(T):
        for position in range(L + T):
            age = L + t - position
            expected = by_age[:, t, span - 1 - age] if 0 <= age < span else torch.zeros(B, dtype=torch.float64)
            assert torch.equal(skewed[:, t, position], expected)


@pytest.mark.parametrize("span", [1, 3, L + 1])
def test_unskew_is_the_way_back(span):
    by_age = random(B, 2, T, span)
    assert torch.equal(history.unskew(history.skew(by_age, L), span), by_age)
    by_position = random(B, T, L + T)
    for t in range(T):
        assert torch.equal(history.unskew(by_position, span)[:, t], by_position[:, t, L + t + 1 - span : L + t + 1])


@pytest.mark.parametrize("span", [1, 3, L + 1])
def test_windows_hold_what_each_step_may_see(span):
    whole = random(B, L + T, W)
    windows = history.windows(whole, T, span)
    assert windows.shape == (B, T, span, W)
    for t in range(T):
        assert torch.equal(windows[:, t], whole[:, L + t + 1 - span : L + t + 1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_linear_scan(dtype):
    decay, inputs, initial = (random(*shape, seed=n, dtype=dtype) for n, shape in enumerate([(T, B), (T, B), (B,)]))
    state, expected = initial, []
    for a, b in zip(decay, inputs, strict=True):
        state = a * state + b
        expected.append(state)
    torch.testing.assert_close(linear_scan(decay, inputs, initial), torch.stack(expected))
    arguments = [x.requires_grad_() for x in (decay, inputs, initial)]
    assert torch.autograd.gradcheck(linear_scan, arguments)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 13])
def test_doubling_is_step_after_step(dtype, steps):
    """Values and gradients, with episodes that begin."""
    starts = torch.rand(steps, B, generator=torch.Generator().manual_seed(steps)) < 0.2
    arguments = [random(steps, B, W, seed=n, dtype=dtype).requires_grad_() for n in range(2)]
    initial, weights = random(B, W, seed=2, dtype=dtype).requires_grad_(), random(steps, B, W, seed=3, dtype=dtype)
    results = []
    for doubling in (False, True):
        decay, begun = cut(starts, arguments[0], initial)
        states = linear_scan(decay, arguments[1], begun, doubling=doubling)
        results.append([states, *torch.autograd.grad((weights * states).sum().abs(), [*arguments, initial])])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_decays_that_are_given_and_not_learned():
    decay = random(T, B, dtype=torch.complex128)
    arguments = [
        random(*shape, seed=n, dtype=torch.complex128).requires_grad_() for n, shape in enumerate([(T, B), (B,)])
    ]
    assert torch.autograd.gradcheck(lambda *given: linear_scan(decay, *given), arguments)


@pytest.mark.parametrize("bound", [0.7, 100.0])
def test_a_linear_scan_within_bounds(bound):
    """Values and gradients of the obvious loop; the smaller bound is met, the larger is not."""
    shapes = [(T, B, W), (T, B, W), (B, W)]
    arguments = [random(*shape, seed=n).requires_grad_() for n, shape in enumerate(shapes)]
    weights, state, states = random(T, B, W, seed=9), arguments[2], []
    for a, b in zip(*arguments[:2], strict=True):
        state = (a * state + b).clamp(-bound, bound)
        states.append(state)
    found, expected = linear_scan(*arguments, bound=bound), torch.stack(states)
    assert (expected.abs() == bound).any() == (bound == 0.7)
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad((weights * result).sum(), arguments) for result in (found, expected)]
    torch.testing.assert_close(*grads)


def test_doubling_is_for_accelerators_and_knows_no_bound(monkeypatch):
    arguments = [torch.zeros(shape, device="meta") for shape in [(T, B), (T, B), (B,)]]
    doubled, calls = scan._doubled, []
    monkeypatch.setattr(scan, "_doubled", lambda *given: calls.append(1) or doubled(*given))
    linear_scan(*arguments, bound=1.0)
    linear_scan(*(torch.zeros_like(x, device="cpu") for x in arguments))
    assert calls == []
    linear_scan(*arguments)
    assert calls == [1]
    with pytest.raises(ValueError, match="bound must be inf with doubling, not"):
        linear_scan(*arguments, bound=1.0, doubling=True)


def test_a_bounded_scan_stays_finite_where_it_would_double_for_ever():
    states = linear_scan(torch.full((2000, 1), 2.0), torch.ones(2000, 1), torch.zeros(1), 50.0)
    assert states.max() == 50.0


@pytest.mark.parametrize("steps", [1, 2, 5, 13])
@pytest.mark.parametrize("doubling", [False, True])
def test_a_scan_with_a_matrix_is_step_after_step(steps, doubling):
    """Values and gradients, with episodes that begin, also where the state before was no number."""
    transition, starts = (
        random(W, W, seed=8) / W,
        torch.rand(steps, B, generator=torch.Generator().manual_seed(steps)) < 0.3,
    )
    starts[0, 1] = True
    given = [random(steps, B, 2, W, seed=0), random(B, 2, W, seed=1)]
    given[1][1] = torch.nan
    inputs, initial = (x.requires_grad_() for x in given)
    states, state = [], initial
    for b, start in zip(inputs, starts, strict=True):
        state = torch.where(start[:, None, None], 0, state) @ transition.T + b
        states.append(state)
    weights = random(steps, B, 2, W, seed=9)
    expected, found = torch.stack(states), matrix_scan(transition, inputs, initial, starts, doubling)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    grads = [torch.autograd.grad((weights * result).sum(), [inputs, initial]) for result in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_cut_begins_episodes_at_zero(seed):
    starts, inputs, initial = random_starts(seed), random(T, B, W), random(B, W, seed=1)
    starts[0, 1], initial[1] = True, torch.nan
    decay, begun = cut(starts, torch.tensor([0.5, -0.9], dtype=torch.float64), initial)
    states = linear_scan(decay, inputs, begun)
    for b in range(B):
        state = initial[b]
        for t in range(T):
            before = torch.zeros(W) if starts[t, b] else state
            state = torch.tensor([0.5, -0.9], dtype=torch.float64) * before + inputs[t, b]
            torch.testing.assert_close(states[t, b], state)


def test_uniform_numbers_depend_on_their_key_alone():
    keys = torch.arange(1000) + 2**61
    numbers = uniform(keys, 50)
    assert torch.equal(uniform(keys[[3, 7]], 50), numbers[[3, 7]])
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert abs(numbers.mean() - 0.5) < 0.01
    assert abs(numbers.var() - 1 / 12) < 0.003
    histogram = torch.histc(numbers, 16, 0, 1) / numbers.numel()
    assert (histogram - 1 / 16).abs().max() < 0.005
    correlation = torch.corrcoef(numbers.T)
    assert (correlation - torch.eye(50)).abs().max() < 0.2
    neighbours = torch.corrcoef(torch.stack([numbers[:-1].flatten(), numbers[1:].flatten()]))
    assert neighbours[0, 1].abs() < 0.02


def test_uniform_is_splitmix():
    """The finaliser in Python's integers."""

    def mixed(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    for key in (0, 5, 2**62 - 1):
        stream = mixed(key * 0x9E3779B97F4A7C15 % 2**64)
        expected = [(mixed((stream + n * 0xD1B54A32D192ED03) % 2**64) >> 40) / 2**24 for n in (1, 2, 3)]
        assert uniform(torch.tensor(key), 3).tolist() == expected


def test_dropout():
    values = torch.ones(400, 50, dtype=torch.float64, requires_grad=True)
    dropped = dropout(values, torch.arange(400), 0.3)
    assert set(dropped.unique().tolist()) == {0.0, 1 / 0.7}
    assert abs((dropped == 0).double().mean() - 0.3) < 0.02
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())
