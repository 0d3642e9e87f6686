"""The vector functions of the CPU kernels against torch in float64."""

import numpy as np
import pytest
import torch
from numba import njit

from memagents.kernels.cpu.vector import simd
from memagents.kernels.cpu.vector.functions import exp, log, sigmoid, softplus, tanh
from memagents.kernels.cpu.vector.simd import fma, full, load, select_less, sqrt, store


@njit
def apply(x, results):
    for i in range(x.shape[0]):
        v = load(x, i)
        store(results[0], i, exp(v))
        store(results[1], i, tanh(v))
        store(results[2], i, sigmoid(v))
        store(results[3], i, softplus(v))
        store(results[4], i, sqrt(v * v))
        store(results[5], i, select_less(v, full(x, 0.5), -v, fma(v, v, full(x, 3.0)) / 2))
        store(results[6], i, (1.0 - v) * 2)


REFERENCES = [
    torch.exp,
    torch.tanh,
    torch.sigmoid,
    lambda v: torch.logaddexp(v, torch.zeros_like(v)),
    torch.abs,
    lambda v: torch.where(v < 0.5, -v, (v * v + 3) / 2),
    lambda v: 2 * (1 - v),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions(dtype):
    torch.manual_seed(0)
    small = torch.randn(500) * torch.logspace(-8, 1, 500)
    x = torch.cat([small, torch.linspace(-80, 80, 512), torch.zeros(12)]).to(dtype).view(-1, simd.lanes(dtype))
    results = np.empty((len(REFERENCES), *x.shape), x.numpy().dtype)
    apply(x.numpy(), results)
    for result, reference in zip(results, REFERENCES, strict=True):
        expected = reference(x.double())
        error = (torch.from_numpy(result).double() - expected).abs() / (expected.abs() + 1e-30)
        assert error.max() < (4e-7 if dtype == torch.float32 else 4e-14)


@njit
def apply_log(x, result):
    for i in range(x.shape[0]):
        store(result, i, log(load(x, i)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log(dtype):
    x = torch.cat([torch.logspace(-37, 37, 512), torch.linspace(0.5, 2, 512), torch.ones(8)]).to(dtype)
    x = x.view(-1, simd.lanes(dtype))
    result = np.empty_like(x.numpy())
    apply_log(x.numpy(), result)
    expected = x.double().log()
    error = (torch.from_numpy(result).double() - expected).abs() / (expected.abs() + 1e-30)
    assert error.max() < (4e-7 if dtype == torch.float32 else 4e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beyond_all_limits(dtype):
    x = torch.tensor([1e5, -1e5, float("inf"), -float("inf"), float("nan"), 0.0, 90.0, -90.0], dtype=dtype)
    x = x.view(-1, simd.lanes(dtype))
    results = np.empty((len(REFERENCES), *x.shape), x.numpy().dtype)
    apply(x.numpy(), results)
    flat = results.reshape(len(REFERENCES), -1)
    assert np.isnan(flat[:5, 4]).all()
    assert np.isfinite(flat[:3, [0, 1, 2, 3, 5, 6, 7]]).all()
    np.testing.assert_allclose(flat[1], torch.tanh(x).flatten(), atol=1e-7)
    np.testing.assert_allclose(flat[2], torch.sigmoid(x).flatten(), atol=1e-7)
