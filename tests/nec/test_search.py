"""The exact search against all distances, computed one by one in float64."""

import numpy as np
import pytest
import torch

from memagents.nec import search
from memagents.nec.search import half_squared_norms, nearest


def slow_nearest(keys, queries, count):
    """Squared distances and rows, by sorting pairs of them."""
    distances, rows = [], []
    for query in queries.double().numpy():
        pairs = sorted((float(np.square(key - query).sum()), row) for row, key in enumerate(keys.double().numpy()))
        distances.append([d for d, _ in pairs[:count]])
        rows.append([r for _, r in pairs[:count]])
    return np.array(distances), rows


def found(keys, queries, count):
    return nearest(keys, half_squared_norms(keys), queries, count)


@pytest.mark.parametrize("entries", [1, 3, 4, 17, 18, 19, 500, 591, 592, 4000, 4097])
@pytest.mark.parametrize("chunks", [(2**18, 2**22), (64, 8000), (1, 400)])
def test_it_finds_what_comparing_with_every_key_finds(entries, chunks, monkeypatch):
    monkeypatch.setattr(search, "_CPU_SCORES", (max(chunks[0], 7), chunks[1]))
    torch.manual_seed(entries)
    keys, queries = torch.randn(entries, 5), torch.randn(7, 5)
    distances, rows = found(keys, queries, 4)
    slow_distances, slow_rows = slow_nearest(keys, queries, 4)
    assert rows.tolist() == slow_rows
    np.testing.assert_allclose(distances.numpy(), slow_distances, rtol=1e-5)


@pytest.mark.parametrize("descending", [False, True])
def test_the_order_in_which_keys_were_stored_does_not_matter(descending, monkeypatch):
    monkeypatch.setattr(search, "_CPU_SCORES", (100, 1000))
    torch.manual_seed(0)
    keys, query = torch.randn(3000, 6), torch.randn(1, 6)
    order = (keys - query).square().sum(1).argsort(descending=descending)
    expected = list(range(2999, 2979, -1)) if descending else list(range(20))
    assert found(keys[order], query, 20)[1].tolist() == [expected]


@pytest.mark.parametrize("queries", [1, 63, 64, 65, 200])
def test_any_number_of_queries(queries):
    torch.manual_seed(0)
    keys, asked = torch.randn(3000, 8), torch.randn(queries, 8)
    distances, rows = found(keys, asked, 6)
    expected = torch.cdist(asked.double(), keys.double()).topk(6, largest=False)
    assert torch.equal(rows, expected.indices)
    torch.testing.assert_close(distances.double(), expected.values.square(), rtol=1e-5, atol=1e-6)


def test_long_keys_that_are_almost_the_same_are_never_at_a_negative_distance():
    """The scores are wrong by 0.1 here, so that only distances show the nearest ten of twenty."""
    torch.manual_seed(0)
    keys = 1000 * torch.nn.functional.normalize(torch.randn(5000, 64), dim=1)
    queries = keys[:20].clone()
    for copy in range(1, 20):
        keys[20 * copy : 20 * copy + 20] = queries + 1e-3 * copy * torch.randn(20, 64).sign()
    scores = half_squared_norms(queries).unsqueeze(1) + half_squared_norms(keys) - queries @ keys.T
    assert (scores < 0).any()
    distances, rows = found(keys, queries, 10)
    assert (distances >= 0).all()
    assert (distances[:, 0] == 0).all()
    assert torch.equal(rows, torch.arange(10) * 20 + torch.arange(20).unsqueeze(1))
    direct = (keys[rows] - queries.unsqueeze(1)).square().sum(2)
    torch.testing.assert_close(distances, direct, rtol=1e-6, atol=0)


@pytest.mark.parametrize("entries", [40, 4000])
def test_of_equal_distances_the_lower_row_comes_first(entries):
    torch.manual_seed(0)
    keys = torch.randn(entries, 4)
    same = [39, 3, 17, 21, 4]
    keys[same] = torch.zeros(4)
    distances, rows = found(keys, torch.zeros(2, 4), 5)
    assert rows.tolist() == 2 * [sorted(same)]
    assert not distances.any()


def test_it_is_computed_in_full_precision_under_autocast():
    torch.manual_seed(0)
    keys, queries = torch.randn(3000, 64), torch.randn(3, 64)
    expected = found(keys, queries, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances, rows = found(keys, queries, 9)
    assert torch.equal(rows, expected[1])
    assert torch.equal(distances, expected[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("entries", [10, 3000, 100_003])
def test_a_device_finds_the_same(entries):
    torch.manual_seed(0)
    keys, queries = torch.randn(entries, 32), torch.randn(40, 32)
    expected, there = found(keys, queries, 50), found(keys.cuda(), queries.cuda(), 50)
    assert torch.equal(there[1].cpu(), expected[1])
    torch.testing.assert_close(there[0].cpu(), expected[0])
