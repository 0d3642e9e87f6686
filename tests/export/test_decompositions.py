"""What stands for an operation that ONNX lacks gives the same."""

import pytest
import torch

from memagents.export.decompositions import TABLE, cummax, diagonal_scatter, searchsorted

aten = torch.ops.aten


def test_cummax():
    values = torch.tensor([[1, 3, 2, 3], [2, 2, 0, 1]])
    for ours, theirs in zip(cummax(values, 1), torch.cummax(values, 1), strict=True):
        assert torch.equal(ours, theirs)


def test_searchsorted():
    ascending, values = torch.randint(9, (3, 5)).sort(-1).values, torch.randint(9, (3, 4))
    assert torch.equal(searchsorted(ascending, values), torch.searchsorted(ascending, values))
    assert searchsorted(ascending, values, right=True) is NotImplemented


def test_diagonal_scatter():
    into, diagonal = torch.randn(2, 3, 3), torch.randn(2, 3)
    assert torch.equal(diagonal_scatter(into, diagonal, 0, 1, 2), into.diagonal_scatter(diagonal, 0, 1, 2))
    assert diagonal_scatter(into, diagonal[:, :2], 1, 1, 2) is NotImplemented


def complex_numbers(*shape):
    return torch.randn(*shape, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("add.Tensor", (complex_numbers(3, 2), complex_numbers(2))),
        ("add.Tensor", (complex_numbers(3, 2), torch.randn(2))),
        ("add.Tensor", (torch.randn(2), complex_numbers(3, 2))),
        ("mul.Tensor", (complex_numbers(3, 2), complex_numbers(2))),
        ("mul.Tensor", (torch.randn(2), complex_numbers(3, 2))),
        ("mul.Tensor", (complex_numbers(3, 2), torch.randn(2))),
        ("div.Tensor", (complex_numbers(3, 2), complex_numbers(2))),
        ("div.Tensor", (torch.randn(3, 2), complex_numbers(2))),
        ("div.Tensor", (complex_numbers(3, 2), torch.randn(2))),
        ("where.self", (torch.tensor([True, False]), complex_numbers(3, 2), complex_numbers(3, 2))),
        ("polar.default", (torch.rand(3), torch.randn(3))),
        ("complex.default", (torch.rand(3), torch.randn(3))),
        ("expand.default", (complex_numbers(3, 1), [2, 3, 4])),
        ("cat.default", ([complex_numbers(3, 1), complex_numbers(3, 2)], 1)),
    ],
)
def test_complex_numbers(name, arguments):
    operation, overload = name.split(".")
    op = getattr(getattr(aten, operation), overload)
    torch.testing.assert_close(TABLE[op](*arguments), op(*arguments))


def test_parts_of_complex_numbers():
    values = complex_numbers(4, 3)
    for ours, theirs in zip(TABLE[aten.split.Tensor](values, 2, 1), values.split(2, 1), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(TABLE[aten.zeros.default]([2], dtype=torch.complex64), torch.zeros(2, dtype=torch.complex64))
    copied = TABLE[aten._to_copy.default](torch.ones(2), dtype=torch.complex64)
    assert torch.equal(copied, torch.ones(2, dtype=torch.complex64))


@pytest.mark.parametrize("op", [aten.add.Tensor, aten.mul.Tensor, aten.div.Tensor])
def test_real_numbers_are_left_alone(op):
    assert TABLE[op](torch.ones(2), torch.ones(2)) is NotImplemented
