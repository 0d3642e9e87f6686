"""Operations that ONNX lacks, or whose way there is faulty in torch, in terms of others.

Complex numbers among them: all that is left of them are ``view_as_complex`` and ``view_as_real``, which become nothing.
A function that leaves an operation as it is returns ``NotImplemented``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def cummax(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Of the few steps of a window."""
    highest: list[Tensor] = []
    places: list[Tensor] = []
    for place, now in enumerate(values.unbind(dim)):
        here = torch.full_like(now, place, dtype=torch.int64)
        if place:
            later = now >= highest[-1]
            now, here = torch.where(later, now, highest[-1]), torch.where(later, here, places[-1])
        highest.append(now)
        places.append(here)
    return torch.stack(highest, dim), torch.stack(places, dim)


def searchsorted(
    ascending: Tensor,
    values: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Any:
    """Count the smaller ones, of which there are few."""
    if out_int32 or right or side == "right" or sorter is not None:
        return NotImplemented
    return (ascending.unsqueeze(-2) < values.unsqueeze(-1)).sum(-1)


def diagonal_scatter(into: Tensor, diagonal: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Of square matrices in the last two dimensions."""
    last = into.dim() - 1
    if offset or (dim1 % into.dim(), dim2 % into.dim()) != (last - 1, last):
        return NotImplemented
    mask = torch.eye(into.shape[-1], dtype=torch.bool, device=into.device)
    return torch.where(mask, torch.diag_embed(diagonal), into)


# --- complex numbers --------------------------------------------------------------------------------------------------


def _complex(real: Tensor, imaginary: Tensor) -> Tensor:
    return torch.view_as_complex(torch.stack([real, imaginary], dim=-1))


def _parts(values: Any) -> tuple[Any, Any]:
    """Real and imaginary part of a tensor or a number."""
    if isinstance(values, Tensor) and values.is_complex():
        return torch.view_as_real(values).unbind(-1)  # type: ignore[return-value]
    return (values.real, values.imag) if isinstance(values, complex) else (values, 0)


def _any_complex(*values: Any) -> bool:
    return any(isinstance(v, complex) or (isinstance(v, Tensor) and v.is_complex()) for v in values)


def _add(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    if not _any_complex(a, b) or alpha != 1:
        return NotImplemented
    (ar, ai), (br, bi) = _parts(a), _parts(b)
    return _complex(*torch.broadcast_tensors(ar + br, ai + bi + torch.zeros_like(ar + br)))


def _multiply(a: Any, b: Any) -> Any:
    if not _any_complex(a, b):
        return NotImplemented
    (ar, ai), (br, bi) = _parts(a), _parts(b)
    if not _any_complex(a):
        return _complex(ar * br, ar * bi)
    if not _any_complex(b):
        return _complex(ar * br, ai * br)
    return _complex(ar * br - ai * bi, ar * bi + ai * br)


def _divide(a: Any, b: Any) -> Any:
    if not _any_complex(a, b):
        return NotImplemented
    br, bi = _parts(b)
    if not _any_complex(b):
        return _complex(*(part / br for part in _parts(a)))
    size = br * br + bi * bi
    return _multiply(a, _complex(br / size, -bi / size))


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Any:
    if not _any_complex(yes, no):
        return NotImplemented
    return _complex(*(torch.where(mask, a, b) for a, b in zip(_parts(yes), _parts(no), strict=True)))


def _polar(size: Tensor, angle: Tensor) -> Tensor:
    return _complex(size * angle.cos(), size * angle.sin())


def _zeros(size: Sequence[int], *, dtype: torch.dtype | None = None, **where: Any) -> Any:
    if dtype is None or not dtype.is_complex:
        return NotImplemented
    return torch.view_as_complex(torch.zeros([*size, 2], dtype=dtype.to_real()))


def _to_copy(values: Tensor, *, dtype: torch.dtype | None = None, **where: Any) -> Any:
    if dtype is None or not dtype.is_complex or values.is_complex():
        return NotImplemented
    real = values.to(dtype.to_real())
    return _complex(real, torch.zeros_like(real))


def _expand(values: Tensor, size: Sequence[int], *, implicit: bool = False) -> Any:
    if not values.is_complex():
        return NotImplemented
    return _complex(*(part.expand(size) for part in _parts(values)))


def _split(values: Tensor, size: int, dim: int = 0) -> Any:
    if not values.is_complex():
        return NotImplemented
    parts = (part.split(size, dim) for part in _parts(values))
    return [_complex(*pair) for pair in zip(*parts, strict=True)]


def _cat(values: Sequence[Tensor], dim: int = 0) -> Any:
    if not _any_complex(*values):
        return NotImplemented
    parts = zip(*(_parts(one) for one in values), strict=True)
    return _complex(*(torch.cat(list(part), dim) for part in parts))


TABLE: dict[Any, Callable[..., Any]] = {
    aten.cummax.default: cummax,
    aten.searchsorted.Tensor: searchsorted,
    aten.diagonal_scatter.default: diagonal_scatter,
    aten.complex.default: _complex,
    aten.polar.default: _polar,
    aten.add.Tensor: _add,
    aten.mul.Tensor: _multiply,
    aten.div.Tensor: _divide,
    aten.where.self: _where,
    aten.zeros.default: _zeros,
    aten._to_copy.default: _to_copy,
    aten.expand.default: _expand,
    aten.split.Tensor: _split,
    aten.cat.default: _cat,
}
"""For :meth:`torch.export.ExportedProgram.run_decompositions`."""
