"""Trees compared, and one that would harm if it were unpickled."""

import numpy as np
import pytest
import torch


def assert_equal(a, b):
    """Trees of arrays, tensors and plain values, bit for bit."""
    assert_close(a, b, tolerance=0)


def assert_close(a, b, tolerance):
    """Trees of the same structure and types whose numbers differ by no more than a tolerance, absolute and relative."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key], tolerance)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_close(x, y, tolerance)
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    else:
        assert a == b


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))
