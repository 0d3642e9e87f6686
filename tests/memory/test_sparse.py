"""Sparse weightings against weightings of all slots, and hashing against the exact search."""

import torch

from memagents.memory import hashing, journal, sparse

B, N, W = 2, 7, 3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_indices(*shape, high=N, seed=1):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


# --- weightings -------------------------------------------------------------------------------------------------------


def test_take_and_put():
    table, indices = draw(B, N, W), torch.tensor([[4, 0, 6], [1, 1, 5]])
    rows = sparse.take(table, indices)
    for b in range(B):
        for m in range(3):
            assert torch.equal(rows[b, m], table[b, indices[b, m]])
    new = torch.stack([draw(3, W, seed=2), draw(1, W, seed=3).expand(3, W)])
    changed = sparse.put(table, indices, new)
    for b in range(B):
        for n in range(N):
            places = (indices[b] == n).nonzero()
            assert torch.equal(changed[b, n], new[b, places[0, 0]] if len(places) else table[b, n])
    assert torch.equal(journal.put(table.clone(), indices, new), changed)


def test_totals_and_repeated():
    indices, weights = torch.tensor([[3, 1, 3, 3, 0]]), torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]])
    assert sparse.totals(indices, weights).tolist() == [[13, 2, 13, 13, 16]]
    assert sparse.repeated(indices).tolist() == [[False, False, True, True, False]]


def test_strongest_names_each_slot_once():
    indices, weights = torch.tensor([[3, 1, 3, 5, 0]]), torch.tensor([[1.0, 2.0, 4.0, 0.0, 3.0]])
    strongest, theirs = sparse.strongest(indices, weights, 2)
    assert strongest.tolist() == [[3, 0]]
    assert theirs.tolist() == [[5, 3]]
    strongest, theirs = sparse.strongest(indices, weights, 5)
    assert theirs.tolist() == [[5, 3, 2, 0, 0]]
    assert strongest.tolist() == [[3, 0, 1, 0, 0]]


def test_dense():
    indices, weights = torch.tensor([[3, 1, 3]]), torch.tensor([[1.0, 2.0, 4.0]])
    assert sparse.dense(indices, weights, 5).tolist() == [[0, 2, 0, 5, 0]]


# --- reading and writing ----------------------------------------------------------------------------------------------


def test_nearest_looks_at_what_was_written_alone():
    memory = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1], [1.0, 1.0], [-5.0, 0.0]]])
    written = torch.tensor([[False, True, True, True, False]])
    indices, found = sparse.nearest(memory, written, torch.tensor([[[2.0, 0.0], [0.0, -1.0]]]), 4)
    assert found.tolist() == [[[True, True, True, False]] * 2]
    assert indices[0, 0].tolist() == [3, 1, 2, 0]
    assert indices[0, 1].tolist() == [2, 3, 1, 0]


def test_write_equals_a_weighting_of_all_slots():
    """Slots may be named twice, the erased one among them."""
    memory, vector = draw(B, N, W), draw(B, W, seed=2)
    indices, weights = torch.tensor([[3, 1, 3, 5], [0, 2, 2, 2]]), draw(B, 4, seed=3).abs()
    erased = torch.tensor([5, 6])
    new = sparse.write(memory, indices, weights, vector, erased)
    kept = memory.clone()
    kept[torch.arange(B), erased] = 0
    expected = kept + sparse.dense(indices, weights, N).unsqueeze(2) * vector.unsqueeze(1)
    torch.testing.assert_close(new, expected)
    in_place = memory.clone()
    assert journal.write(in_place, indices, weights, vector, erased) is in_place
    assert torch.equal(in_place, new)


def test_the_journal_by_finite_differences():
    """A write, a read, a start and a write, of which everything is used."""
    indices, read, erased = draw_indices(B, 4), draw_indices(B, 3, seed=5), torch.tensor([5, 6])
    starts = torch.tensor([False, True])

    def thread(memory, weights, vector):
        memory = journal.write(memory.clone(), indices, weights, vector, erased)
        memory, first = journal.gather(memory, read)
        memory = journal.restart(memory, starts, torch.full((1, N, W), 0.5, dtype=torch.float64))
        memory = journal.write(memory, read, weights[:, :3] * first.sum(2), vector, erased)
        memory, second = journal.gather(memory, indices)
        return first, second, journal.release(memory).square()

    sources = [draw(B, N, W).requires_grad_(), draw(B, 4, seed=3).requires_grad_(), draw(B, W, seed=2).requires_grad_()]
    assert torch.autograd.gradcheck(thread, sources)


# --- hashing ----------------------------------------------------------------------------------------------------------


def test_hash_codes_depend_on_the_direction_alone():
    planes, vectors = hashing.hyperplanes(3, 5, 8).double(), draw(20, 8)
    codes = hashing.hash_codes(vectors, planes)
    assert codes.shape == (20, 3)
    assert torch.equal(codes, hashing.hash_codes(1e-3 * vectors, planes))
    assert torch.equal(codes, 31 - hashing.hash_codes(-vectors, planes))
    assert len({tuple(code) for code in codes.tolist()}) > 15
    assert torch.equal(planes, hashing.hyperplanes(3, 5, 8).double())


def filled(memory, planes, places, batch=5, put=sparse.put):
    """An index of a memory that was written some slots at a time."""
    rows, slots, _ = memory.shape
    tables, bits = planes.shape[:2]
    index = hashing.empty_index(rows, slots, tables, bits, places, memory.device)
    for first in range(0, slots, batch):
        changed = torch.arange(first, min(first + batch, slots)).repeat(rows, 1)
        index = hashing.enter(index, changed, hashing.hash_codes(sparse.take(memory, changed), planes), put)
    return index


def test_an_index_holds_what_has_the_querys_code():
    planes, memory = hashing.hyperplanes(3, 2, W).double(), draw(B, N, W)
    index, queries = filled(memory, planes, places=N), draw(B, 4, W, seed=7)
    codes = hashing.hash_codes(queries, planes)
    slots, known = hashing.candidates(index, codes)
    theirs = hashing.hash_codes(memory, planes)
    for b in range(B):
        for query in range(4):
            expected = {n for n in range(N) if (theirs[b, n] == codes[b, query]).any()}
            assert set(slots[b, query][known[b, query]].tolist()) == expected


def test_a_slot_that_changed_is_found_where_it_is_now():
    planes, memory = hashing.hyperplanes(4, 3, W).double(), draw(1, N, W)
    index = filled(memory, planes, places=3)
    for step in range(30):
        changed = draw_indices(1, 3, seed=step)
        memory = sparse.put(memory, changed, draw(1, N, W, seed=100 + step)[:, changed[0]])
        index = hashing.enter(index, changed, hashing.hash_codes(sparse.take(memory, changed), planes), sparse.put)
        assert torch.equal(index.codes, hashing.hash_codes(memory, planes))
        codes = index.codes[:, changed[0]]
        slots, known = hashing.candidates(index, codes)
        for query, slot in enumerate(changed[0].tolist()):
            assert slot in slots[0, query][known[0, query]]
            stale = [
                n for n in slots[0, query][known[0, query]].tolist() if not (index.codes[0, n] == codes[0, query]).any()
            ]
            assert not stale


def test_in_place_is_the_same_index():
    planes, memory = hashing.hyperplanes(3, 2, W).double(), draw(B, N, W)
    for pure, in_place in zip(filled(memory, planes, 2), filled(memory, planes, 2, put=journal.put), strict=True):
        assert torch.equal(pure, in_place)


def test_a_full_bucket_keeps_what_came_last():
    planes, memory = hashing.hyperplanes(1, 1, W).double(), draw(1, 1, W).expand(1, N, W)
    for batch in (1, 2, 5, 7):
        slots, known = hashing.candidates(filled(memory, planes, 3, batch), hashing.hash_codes(memory[:, :1], planes))
        assert known.all()
        assert set(slots.flatten().tolist()) == {4, 5, 6}


def test_hashing_finds_what_the_exact_search_finds_in_clusters():
    """The four nearest of 1,024 slots in 64 clusters are found by looking at 64 at most."""
    rows, slots, width, heads, count = 2, 1024, 24, 16, 4
    centres = draw(rows, 64, width)
    memory = centres.repeat(1, slots // 64, 1) + 0.3 * draw(rows, slots, width, seed=1)
    queries = centres[:, :heads] + 0.3 * draw(rows, heads, width, seed=2)
    planes = hashing.hyperplanes(8, 7, width).double()
    candidates, known = hashing.candidates(filled(memory, planes, 8), hashing.hash_codes(queries, planes))
    assert candidates.shape == (rows, heads, 64)
    written = torch.ones(rows, slots, dtype=torch.bool)
    indices, found = hashing.nearest_candidates(memory, written, candidates, known, queries, count)
    assert found.all()
    similar = torch.cosine_similarity(
        sparse.take(memory, indices.flatten(1)).view(rows, heads, count, -1), queries[:, :, None], dim=3
    )
    of_cluster = torch.cosine_similarity(centres[:, :heads], queries, dim=2)
    assert (similar.diff(dim=2) <= 0).all()
    exact, _ = sparse.nearest(memory, written, queries, count)
    recall = (indices.unsqueeze(3) == exact.unsqueeze(2)).any(2).double().mean()
    assert recall > 0.6
    assert ((indices % 64) == torch.arange(heads).view(1, -1, 1)).double().mean() > 0.95
    assert of_cluster.min() > 0.8


def test_candidates_are_looked_at_once_and_as_the_exact_search_does():
    memory, queries = draw(B, N, W), draw(B, 2, W, seed=2)
    written = torch.ones(B, N, dtype=torch.bool)
    written[0, 3] = False
    everything = torch.arange(N).repeat(B, 2, 3)
    known = torch.ones_like(everything, dtype=torch.bool)
    known[1, 0] = everything[1, 0] < 2
    indices, found = hashing.nearest_candidates(memory, written, everything, known, queries, 4)
    expected, _ = sparse.nearest(memory, written, queries, 4)
    assert torch.equal(indices[0], expected[0])
    assert torch.equal(indices[1, 1], expected[1, 1])
    assert found[1, 0].tolist() == [True, True, False, False]
    assert set(indices[1, 0, :2].tolist()) == {0, 1}
