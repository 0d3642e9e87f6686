"""The short convolution against torch's, and over starts."""

import pytest
import torch
from torch.nn import functional

from memagents.memory.convolution import convolve_step, convolve_window

T, B, X = 9, 2, 3
DOUBLE = {"dtype": torch.float64}


def operands():
    generator = torch.Generator().manual_seed(0)
    shapes = ((T, B, X), (B, 3, X), (4, X), (X,))
    return [torch.randn(*shape, generator=generator, **DOUBLE).requires_grad_() for shape in shapes]


def by_steps(inputs, recent, starts, weight, bias):
    outputs = []
    for x, begun in zip(inputs, starts, strict=True):
        output, recent = convolve_step(x, torch.where(begun.view(-1, 1, 1), 0, recent), weight, bias)
        outputs.append(output)
    return torch.stack(outputs), recent


def test_equals_a_depthwise_convolution():
    inputs, recent, weight, bias = operands()
    outputs, after = convolve_window(inputs, recent, torch.zeros(T, B, dtype=torch.bool), weight, bias)
    padded = torch.cat([recent, inputs.transpose(0, 1)], dim=1).transpose(1, 2)
    expected = functional.silu(functional.conv1d(padded, weight.t().unsqueeze(1), bias, groups=X)).permute(2, 0, 1)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(after, inputs[-3:].transpose(0, 1))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("start", [None, *range(T)])
def test_a_window_equals_steps(start, biased):
    """Others see zeros in steps and neighbours in windows, also those of another episode."""
    inputs, recent, weight, bias = operands()
    asked, starts = [inputs, recent, weight], torch.zeros(T, B, dtype=torch.bool)
    if biased:
        asked.append(bias)
    if start is not None:
        starts[start, 1] = True
    results = []
    for way in (convolve_window, by_steps):
        outputs, after = way(inputs, recent, starts, weight, bias if biased else None)
        loss = (outputs * torch.arange(X, **DOUBLE)).sum() + after.square().sum()
        results.append((outputs, after, *torch.autograd.grad(loss, asked)))
    for window, loop in zip(*results, strict=True):
        torch.testing.assert_close(window, loop)


def test_a_window_shorter_than_the_taps():
    inputs, recent, weight, bias = operands()
    starts = torch.zeros(1, B, dtype=torch.bool)
    for seen, right in zip(
        convolve_window(inputs[:1], recent, starts, weight, bias),
        by_steps(inputs[:1], recent, starts, weight, bias),
        strict=True,
    ):
        torch.testing.assert_close(seen, right)


def test_rows_that_begin_have_nothing_recent():
    inputs, recent, weight, bias = operands()
    output, after = convolve_step(inputs[0], recent, weight, bias, torch.tensor([1]))
    torch.testing.assert_close(output[1], functional.silu(inputs[0, 1] * weight[3] + bias))
    assert not after[1, :2].any()
    torch.testing.assert_close(output[0], convolve_step(inputs[0], recent, weight, bias)[0][0])
