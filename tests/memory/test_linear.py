"""Matrix memories in chunks against the loop over their steps."""

import pytest
import torch

from memagents.memory import linear

T, B, H, K, V = 96, 3, 2, 4, 3
DOUBLE = {"dtype": torch.float64}


def operands(erase, writes=1, channels=1, dtype=torch.float64, steps=T):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, **DOUBLE)

    keys = linear.unit(normal(steps, B, H, writes, K))
    strengths = 2 * torch.rand(steps, B, H, writes, 1, generator=generator, **DOUBLE)
    log_decay = -torch.rand(steps, B, H, channels, generator=generator, **DOUBLE).pow(4)
    made = [normal(steps, B, H, K), keys, normal(steps, B, H, writes, V), log_decay, normal(B, H, K, V)]
    made += [strengths * keys] if erase else []
    return [x.to(dtype).requires_grad_() for x in made]


def some_starts(share=0.08, steps=T):
    return torch.rand(steps, B, generator=torch.Generator().manual_seed(1)) < share


def by_steps(queries, keys, values, log_decay, memory, starts, erase=None):
    reads = []
    for t, begun in enumerate(starts):
        memory = torch.where(begun.view(-1, 1, 1, 1), 0, memory)
        erased = None if erase is None else erase[t]
        read, memory = linear.linear_step(queries[t], keys[t], values[t], log_decay[t], memory, erased)
        reads.append(read)
    return torch.stack(reads), memory


def window(operands, starts, chunk, way=linear.linear_window):
    *before, memory = operands[:5]
    options = {"chunk": chunk} if way is linear.linear_window else {}
    return way(*before, memory, starts, *operands[5:], **options)


def with_gradients(results, operands):
    weights = [torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x) for x in results]
    return *results, *torch.autograd.grad(sum((x * w).sum() for x, w in zip(results, weights, strict=True)), operands)


@pytest.mark.parametrize("channels", [1, K])
@pytest.mark.parametrize("writes", [1, 3])
@pytest.mark.parametrize("erase", [False, True])
def test_chunks_equal_steps(erase, writes, channels):
    given, starts = operands(erase, writes, channels), some_starts()
    expected = with_gradients(window(given, starts, None, by_steps), given)
    for chunk in (1, 16, 32, 96):
        for seen, right in zip(with_gradients(window(given, starts, chunk), given), expected, strict=True):
            torch.testing.assert_close(seen, right, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("erase", [False, True])
def test_starts_at_every_position(erase):
    given = operands(erase, steps=9)
    for t in range(9):
        starts = torch.zeros(9, B, dtype=torch.bool)
        starts[t, 1] = True
        for seen, right in zip(window(given, starts, 4), window(given, starts, None, by_steps), strict=True):
            torch.testing.assert_close(seen, right, rtol=1e-11, atol=1e-12)


def test_a_start_costs_what_follows_no_precision():
    """A reset as a log decay of -1e5 in a cumulative sum would spoil those after it by a tenth, in float32."""
    given, starts = operands(True, dtype=torch.float32, steps=32), torch.zeros(32, B, dtype=torch.bool)
    starts[3] = True
    reads, _ = window(given, starts, 32)
    exact, _ = window([x.double() for x in given], starts, 32)
    assert (reads - exact).abs().max() < 1e-5 * exact.abs().max()


def test_a_fast_decay_costs_what_follows_no_precision():
    """Sums of decays are over their own steps alone, and not differences of longer ones."""
    given, starts = operands(True, dtype=torch.float32, steps=32), torch.zeros(32, B, dtype=torch.bool)
    with torch.no_grad():
        given[3][3] = -1e5
    reads, _ = window(given, starts, 32)
    exact, _ = window([x.double() for x in given], starts, 32)
    assert (reads - exact).abs().max() < 1e-5 * exact.abs().max()
    grads = torch.autograd.grad(reads.sum(), given)
    assert all(grad.isfinite().all() for grad in grads)


def test_a_decay_to_nothing_gives_numbers():
    given, starts = operands(True, steps=12), some_starts(steps=12)
    with torch.no_grad():
        given[3][5] = -float("inf")
    for seen, right in zip(window(given, starts, 4), window(given, starts, None, by_steps), strict=True):
        torch.testing.assert_close(seen, right, rtol=1e-11, atol=1e-12)


def test_spans_are_sums_over_their_own_steps():
    log_decay = torch.tensor([-1.0, -2.0, -4.0])
    assert linear.spans(log_decay).tolist() == [[0, 0, 0], [-2, 0, 0], [-6, -4, 0]]


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 33])
def test_solving_equals_torchs(size):
    generator = torch.Generator().manual_seed(5)
    inner = torch.randn(2, 3, size, size, generator=generator, **DOUBLE).requires_grad_()
    values = torch.randn(2, 3, size, 4, generator=generator, **DOUBLE).requires_grad_()
    seen = linear.solve_unit_lower(inner, values)
    expected = torch.linalg.solve_triangular(inner, values, upper=False, unitriangular=True)
    for one, right in zip(
        with_gradients([seen], (inner, values)), with_gradients([expected], (inner, values)), strict=True
    ):
        torch.testing.assert_close(one, right, rtol=1e-9, atol=1e-9)


def test_the_same_key_again_and_again_costs_no_precision():
    """A product of powers of A in place of substitution would sum numbers of 10,000 to 1 here."""
    steps, key = 32, torch.tensor([0.6, 0.8, 0.0, 0.0])
    keys = key.expand(steps, 1, 1, 1, K)
    values = torch.randn(steps, 1, 1, 1, V, generator=torch.Generator().manual_seed(6))
    reads, _ = linear.linear_window(
        key.expand(steps, 1, 1, K),
        keys,
        values,
        torch.zeros(steps, 1, 1, 1),
        torch.zeros(1, 1, K, V),
        torch.zeros(steps, 1, dtype=torch.bool),
        keys,
        chunk=32,
    )
    torch.testing.assert_close(reads, values.squeeze(3), rtol=1e-5, atol=1e-5)


def test_unit_length():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-3, 0.0]], **DOUBLE)
    expected = vectors / (vectors.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(linear.unit(vectors), expected)


@pytest.mark.parametrize("chunk", [1, 16, 32, 96])
def test_a_stabiliser_in_chunks_equals_steps(chunk):
    generator = torch.Generator().manual_seed(3)
    log_decay = -torch.rand(T, B, H, generator=generator, **DOUBLE)
    log_input = 3 * torch.randn(T, B, H, generator=generator, **DOUBLE)
    given = [x.requires_grad_() for x in (log_decay, log_input, torch.randn(B, H, generator=generator, **DOUBLE))]
    starts, stabiliser, after, before = some_starts(), given[2], [], []
    for t in range(T):
        stabiliser = torch.where(starts[t].unsqueeze(-1), 0, stabiliser)
        new, old, stabiliser = linear.stabilise_step(log_decay[t], log_input[t], stabiliser)
        after.append(new)
        before.append(old)
    expected = with_gradients((torch.stack(after), torch.stack(before), stabiliser), given)
    seen = with_gradients(linear.stabilise_window(given[0], given[1], given[2], starts, chunk), given)
    for one, right in zip(seen, expected, strict=True):
        torch.testing.assert_close(one, right, rtol=1e-11, atol=1e-12)
