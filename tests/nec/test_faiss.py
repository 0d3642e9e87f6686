"""The approximate search: it follows writes and evictions, goes on from a file, and misses few neighbours."""

import sys

import numpy as np
import pytest
import torch

from memagents.nec import faiss_search
from memagents.nec.dictionary import Dictionary
from memagents.runs.trees import read_tree, write_tree

W, P = 8, 5


@pytest.fixture
def small(monkeypatch):
    """Indexes of few keys, of which 8 lists are visited."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(faiss_search, "_LEAST", 400)
    monkeypatch.setattr(faiss_search, "_VISITED", 8)
    return monkeypatch


def pair(capacity=500, **options):
    """An approximate dictionary and an exact one."""
    return [Dictionary(2, W, capacity, P, search=search, **options) for search in ("faiss", "exact")]


def written(dictionaries, rng, turns, size=50):
    """Both with the same situations, whose keys are a function of their ids."""
    table = torch.from_numpy(np.random.default_rng(9).normal(size=(2000, W))).float()
    for _ in range(turns):
        ids, actions = torch.from_numpy(rng.integers(0, 2000, size)), torch.from_numpy(rng.integers(0, 2, size))
        values = torch.from_numpy(rng.normal(size=size)).float()
        for dictionary in dictionaries:
            dictionary.write(table[ids], actions, values, ids)


def missed(approximate, exact, queries):
    """Return the share of the nearest that the approximate search did not find."""
    count = total = 0
    for action in range(2):
        actions = torch.full((len(queries),), action)
        mine, its = (d.lookup(queries, actions, touch=False).rows.tolist() for d in (approximate, exact))
        count += sum(len(set(b) - set(a)) for a, b in zip(mine, its, strict=True))
        total += sum(len(b) for b in its)
    return count / total


def test_visiting_all_lists_it_is_the_exact_dictionary_through_writes_and_evictions(small):
    small.setattr(faiss_search, "_VISITED", 1000)
    rng = np.random.default_rng(0)
    approximate, exact = pair()
    for _ in range(40):
        written((approximate, exact), rng, 1)
        queries = torch.from_numpy(rng.normal(size=(6, W))).float()
        ids = torch.from_numpy(rng.integers(0, 2000, 6))
        assert missed(approximate, exact, queries) == 0
        for own in (None, ids):
            torch.testing.assert_close(approximate.lookup_all(queries, ids=own), exact.lookup_all(queries, ids=own))
    assert approximate.counts.tolist() == [500, 500]
    assert all(index.ntotal == 500 for index in approximate._approximate._indexes)


def test_visiting_few_lists_it_misses_few(small):
    rng = np.random.default_rng(0)
    approximate, exact = pair(capacity=1000)
    written((approximate, exact), rng, 60)
    queries = torch.from_numpy(rng.normal(size=(50, W))).float()
    assert approximate._approximate._indexes[0].nlist > 3 * 8
    assert 0 < missed(approximate, exact, queries) < 0.25
    assert (approximate.lookup(queries, torch.zeros(50, dtype=torch.int64)).weights >= 0).all()


def test_the_centroids_are_found_anew_when_most_keys_are_others(small):
    rng = np.random.default_rng(0)
    dictionary = pair(capacity=1000)[0]
    index = dictionary._approximate
    sizes = set()
    for _ in range(120):
        written([dictionary], rng, 1)
        sizes.add(0 if index._indexes[0] is None else index._indexes[0].nlist)
    assert len(sizes) >= 3
    assert index._due[0] == 3 * 1000
    assert max(sizes) == 2 * int(1000**0.5)


@pytest.mark.parametrize("turns", [3, 40])
def test_it_goes_on_from_a_file(turns, small, tmp_path):
    rng = np.random.default_rng(0)
    one, other = pair()[0], pair()[0]
    written([one], rng, turns)
    write_tree(tmp_path / "dictionary", one.tree())
    other.restore(read_tree(tmp_path / "dictionary"))
    for _ in range(30):
        written([one, other], rng, 1)
        queries = torch.from_numpy(rng.normal(size=(6, W))).float()
        assert torch.equal(one.lookup_all(queries), other.lookup_all(queries))
    assert one.tree()["actions"][0]["order"].tolist() == other.tree()["actions"][0]["order"].tolist()


def test_it_goes_on_from_the_file_of_an_exact_dictionary(small):
    rng = np.random.default_rng(0)
    approximate, exact = pair()
    written([exact], rng, 40)
    approximate.restore(exact.tree())
    queries = torch.from_numpy(rng.normal(size=(50, W))).float()
    assert missed(approximate, exact, queries) == 0
    written([approximate, exact], rng, 1)
    assert approximate._approximate._indexes[0].ntotal == 500
    assert missed(approximate, exact, queries) < 0.25


def test_keys_that_are_to_learn_are_refused():
    pytest.importorskip("faiss")
    with pytest.raises(ValueError, match="learn must be False with search"):
        pair()[0].lookup(torch.zeros(1, W), torch.zeros(1, dtype=torch.int64), learn=True)


def test_without_faiss_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match="pip install faiss-cpu"):
        pair()
