"""The dictionary against one of Python dicts and loops, and what is often wrong about one."""

import numpy as np
import pytest
import torch

from memagents.nec.dictionary import Dictionary
from memagents.runs.trees import read_tree, write_tree

A, W, P = 2, 5, 4
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu])]


class Entry:
    def __init__(self, key, value, name, seen):
        self.key, self.value, self.name, self.seen = key, value, name, seen


class SlowDictionary:
    """Dictionary of one action, in float64. ``entries[row]`` is a row's entry; ties of ``seen`` go to the lower row."""

    def __init__(self, capacity, kernel="inverse_distance", rule="blend", rate=0.1, delta=1e-3):
        self.capacity, self.kernel, self.rule, self.rate, self.delta = capacity, kernel, rule, rate, delta
        self.entries, self.now = [], 0

    def row_of(self, name):
        return next((row for row, entry in enumerate(self.entries) if entry.name == name), None)

    def write(self, key, value, name):
        self.now += 1
        row = self.row_of(name)
        if row is not None:
            entry = self.entries[row]
            step = max(0, value - entry.value) if self.rule == "max" else self.rate * (value - entry.value)
            entry.key, entry.value, entry.seen = key, entry.value + step, self.now
        elif len(self.entries) < self.capacity:
            self.entries.append(Entry(key, value, name, self.now))
        else:
            row = min(range(self.capacity), key=lambda r: (self.entries[r].seen, r))
            self.entries[row] = Entry(key, value, name, self.now)

    def neighbours(self, query):
        distances = [np.square(entry.key - query).sum() for entry in self.entries]
        return sorted(range(len(distances)), key=lambda row: distances[row])[:P]

    def kernels(self, query, rows):
        if self.kernel == "mean":
            return [1.0 for _ in rows]
        return [1 / (np.square(self.entries[row].key - query).sum() + self.delta) for row in rows]

    def estimate(self, query, rows):
        kernels = self.kernels(query, rows)
        return sum(k * self.entries[row].value for k, row in zip(kernels, rows, strict=True)) / (sum(kernels) or 1)

    def see(self, rows):
        for row in rows:
            self.entries[row].seen = self.now

    def descend(self, queries, slopes, learning_rate):
        """Follow the derivatives of Q = Σ k_i v_i / Σ k_i, k_i = 1 / (‖h − h_i‖² + δ), all from before the step."""
        steps = []
        for query, slope in zip(queries, slopes, strict=True):
            rows = self.neighbours(query)
            kernels, q = self.kernels(query, rows), self.estimate(query, rows)
            for row, k in zip(rows, kernels, strict=True):
                entry = self.entries[row]
                of_kernel = -(k**2) * 2 * (entry.key - query) if self.kernel == "inverse_distance" else 0 * query
                of_key = (entry.value - q) / sum(kernels) * of_kernel
                steps.append((entry, slope * of_key, slope * k / sum(kernels)))
        for entry, of_key, of_value in steps:
            entry.key = entry.key - learning_rate * of_key
            entry.value -= learning_rate * of_value


def assert_equal(dictionary, slow):
    tree = dictionary.tree()
    for action, count in enumerate(dictionary.counts):
        norms = dictionary.keys[action, :count].square().sum(1) / 2
        torch.testing.assert_close(dictionary.half_norms[action, :count], norms)
    for one, part in zip(slow, tree["actions"], strict=True):
        assert part["ids"].tolist() == [entry.name for entry in one.entries]
        assert part["order"].tolist() == sorted(range(len(one.entries)), key=lambda r: (one.entries[r].seen, r))
        keys = np.array([entry.key for entry in one.entries]).reshape(-1, W)
        np.testing.assert_allclose(part["keys"].cpu().numpy(), keys, rtol=1e-4, atol=1e-5)
        values = [entry.value for entry in one.entries]
        np.testing.assert_allclose(part["values"].cpu().numpy(), values, rtol=1e-4, atol=1e-5)


def filled(entries, capacity=100, n_actions=1, **options):
    """A dictionary whose situation i of each action has a random key and the value i."""
    torch.manual_seed(0)
    dictionary = Dictionary(n_actions, W, capacity, P, **options)
    ids = torch.arange(entries).repeat(n_actions)
    dictionary.write(torch.randn(len(ids), W), torch.arange(n_actions).repeat_interleave(entries), ids.float(), ids)
    return dictionary


def zeros(count):
    return torch.zeros(count, dtype=torch.int64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("capacity", [1, 3, 40, 200])
@pytest.mark.parametrize("options", [{}, {"rule": "max"}, {"kernel": "mean", "rate": 0.5}])
def test_any_sequence_of_look_ups_steps_and_writes_is_that_of_the_slow_dictionary(capacity, options, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    rng = np.random.default_rng(capacity)
    dictionary = Dictionary(A, W, capacity, P, **options).to(device)
    slow = [SlowDictionary(capacity, **options) for _ in range(A)]
    for turn in range(40):
        size = int(rng.integers(1, 12))
        keys, values = rng.normal(size=(size, W)).astype(np.float32), rng.normal(size=size).astype(np.float32)
        actions, names = rng.integers(0, A, size), rng.integers(0, 2 * capacity, size)
        dictionary.write(*(torch.from_numpy(a).to(device) for a in (keys, actions, values, names)))
        for key, action, value, name in zip(keys.astype(float), actions, values.tolist(), names, strict=True):
            slow[action].write(key, value, name)
        queries, asked = rng.normal(size=(4, W)).astype(np.float32), rng.integers(0, A, 4)
        look_up(dictionary, slow, queries, asked, device)
        look_up_all(dictionary, slow, queries, rng.integers(0, 2 * capacity, 4) if turn % 2 else None, device)
        if turn % 10 == 0:
            assert_equal(dictionary, slow)
    assert_equal(dictionary, slow)
    assert dictionary.counts.tolist() == [len(one.entries) for one in slow]
    assert len(dictionary) == sum(len(one.entries) for one in slow)
    assert capacity > 100 or len(dictionary) == A * capacity


def look_up(dictionary, slow, queries, actions, device):
    """A look-up and a step of gradient descent on the squares of what was found."""
    lookup = dictionary.lookup(torch.from_numpy(queries).to(device), torch.from_numpy(actions).to(device), learn=True)
    for one in slow:
        one.now += 1
    of_action = [[] for _ in slow]
    for i, (query, action) in enumerate(zip(queries.astype(float), actions, strict=True)):
        rows, kernels = slow[action].neighbours(query), slow[action].kernels(query, slow[action].neighbours(query))
        slow[action].see(rows)
        assert lookup.rows[i].tolist() == rows + [-1] * (P - len(rows))
        weights = [k / sum(kernels) for k in kernels] + [0] * (P - len(rows))
        np.testing.assert_allclose(lookup.weights[i].tolist(), weights, rtol=1e-3, atol=1e-5)
        value = slow[action].estimate(query, rows)
        np.testing.assert_allclose(lookup.values[i].item(), value, rtol=1e-3, atol=1e-4)
        of_action[action].append((query, 2 * value))
    lookup.values.square().sum().backward()
    dictionary.descend(lookup, 0.05)
    for one, asked in zip(slow, of_action, strict=True):
        one.descend([query for query, _ in asked], [slope for _, slope in asked], 0.05)


def look_up_all(dictionary, slow, queries, names, device):
    ids = None if names is None else torch.from_numpy(names).to(device)
    answers = dictionary.lookup_all(torch.from_numpy(queries).to(device), ids=ids)
    assert answers.shape == (len(queries), A)
    for action, one in enumerate(slow):
        one.now += 1
        for i, query in enumerate(queries.astype(float)):
            own = None if names is None else one.row_of(names[i])
            rows = one.neighbours(query) if own is None else [own]
            np.testing.assert_allclose(answers[i, action].item(), one.estimate(query, rows), rtol=1e-3, atol=1e-4)
            one.see(rows)


# --- gradients ------------------------------------------------------------------------------------------------------


def slope_of(function, tensor, place, step=1e-5):
    """The derivative by one number in a tensor, which is changed there and back."""
    results = []
    before = tensor[place].item()
    for sign in (1, -1):
        tensor[place] = before + sign * step
        results.append(function())
    tensor[place] = before
    return (results[0] - results[1]) / (2 * step)


@pytest.mark.parametrize("kernel", ["inverse_distance", "mean"])
def test_gradients_of_queries_keys_and_values_are_finite_differences(kernel):
    dictionary = filled(30, n_actions=2, kernel=kernel).double()
    queries = torch.randn(3, W, dtype=torch.float64, requires_grad=True)
    actions, slopes = torch.tensor([0, 1, 0]), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    lookup = dictionary.lookup(queries, actions, learn=True)
    (lookup.values * slopes).sum().backward()

    def loss(of=queries):
        return (dictionary.lookup(of.detach(), actions).values * slopes).sum().item()

    of_queries, of_keys = (leaf.grad if leaf.grad is not None else 0 * leaf for leaf in (queries, lookup.keys))
    assert bool(of_queries.abs().min() > 1e-4) == bool(of_keys.abs().max() > 1e-4) == (kernel != "mean")
    for place in np.ndindex(3, W):
        assert abs(slope_of(loss, queries.data, place) - of_queries[place].item()) < 1e-6
    for b, p in np.ndindex(3, P):
        row, action = lookup.rows[b, p].item(), actions[b].item()
        same = (lookup.rows == row) & (actions == action).unsqueeze(1)
        of_value = slope_of(loss, dictionary.values, (action, row))
        assert abs(of_value - lookup.stored.grad[same].sum().item()) < 1e-6
        for w in range(W):
            of_key = slope_of(loss, dictionary.keys, (action, row, w))
            assert abs(of_key - of_keys[same][:, w].sum().item()) < 1e-6


def test_a_step_moves_keys_and_values_against_their_gradients_and_the_search_knows():
    dictionary = filled(2000, capacity=2000)
    before = dictionary.keys.clone(), dictionary.values.clone()
    lookup = dictionary.lookup(torch.randn(1, W), zeros(1), learn=True)
    lookup.values.sum().backward()
    dictionary.descend(lookup, 3.0)
    rows = lookup.rows[0]
    assert lookup.keys.grad.abs().max() > 0.01
    torch.testing.assert_close(dictionary.keys[0, rows], before[0][0, rows] - 3 * lookup.keys.grad[0])
    torch.testing.assert_close(dictionary.values[0, rows], before[1][0, rows] - 3 * lookup.stored.grad[0])
    others = torch.ones(2000, dtype=torch.bool).index_fill(0, rows, False)
    assert torch.equal(dictionary.keys[0, others], before[0][0, others])
    assert torch.equal(dictionary.values[0, others], before[1][0, others])
    moved = dictionary.lookup(dictionary.keys[0, rows], zeros(P))
    assert moved.rows[:, 0].tolist() == rows.tolist()


def test_a_neighbour_of_several_queries_takes_the_sum_of_their_gradients():
    query = torch.randn(1, W)
    steps = []
    for times in (1, 3):
        dictionary = filled(30)
        before = dictionary.keys.clone(), dictionary.values.clone()
        lookup = dictionary.lookup(query.repeat(times, 1), zeros(times), learn=True)
        lookup.values.sum().backward()
        dictionary.descend(lookup, 0.01)
        rows = lookup.rows[0]
        steps.append((dictionary.keys[0, rows] - before[0][0, rows], dictionary.values[0, rows] - before[1][0, rows]))
    torch.testing.assert_close(steps[1][0], 3 * steps[0][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(steps[1][1], 3 * steps[0][1], rtol=1e-4, atol=1e-5)


def test_without_a_backward_pass_there_is_no_step():
    dictionary = filled(9)
    for learn in (False, True):
        with pytest.raises(ValueError, match="learn=True"):
            dictionary.descend(dictionary.lookup(torch.randn(1, W), zeros(1), learn=learn), 0.1)


# --- look-ups -------------------------------------------------------------------------------------------------------


def test_the_kernel_takes_the_square_of_the_distance():
    dictionary = Dictionary(1, 2, 10, 2)
    dictionary.write(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), zeros(2), torch.tensor([10.0, 20.0]), torch.arange(2))
    near, far = 1 / (1 + 1e-3), 1 / (25 + 1e-3)
    value = dictionary.lookup(torch.zeros(1, 2), zeros(1)).values.item()
    assert abs(value - (20 * near + 10 * far) / (near + far)) < 1e-5


def test_an_empty_dictionary_answers_0_and_learns_nothing_whatever_its_memory_holds():
    dictionary = Dictionary(2, W, 10, P)
    dictionary.write(torch.ones(1, W), torch.tensor([1]), torch.ones(1), torch.tensor([7]))
    for storage in (dictionary.keys, dictionary.values, dictionary.half_norms):
        storage[0], storage[1, 1:] = torch.nan, torch.nan
    queries = torch.randn(3, W, requires_grad=True)
    lookup = dictionary.lookup(queries, zeros(3), learn=True)
    assert lookup.values.tolist() == [0, 0, 0]
    assert (lookup.rows == -1).all()
    assert not lookup.weights.any()
    lookup.values.sum().backward()
    dictionary.descend(lookup, 0.1)
    for leaf in (queries, lookup.keys, lookup.stored):
        assert not leaf.grad.any()
    assert dictionary.lookup_all(queries).tolist() == [[0, 1], [0, 1], [0, 1]]
    assert dictionary.keys[0].isnan().all()


def test_fewer_entries_than_neighbours_are_averaged_as_they_are():
    dictionary = filled(P - 1)
    lookup = dictionary.lookup(torch.randn(2, W), zeros(2))
    assert (lookup.rows[:, -1] == -1).all()
    assert (lookup.weights[:, -1] == 0).all()
    torch.testing.assert_close(lookup.weights.sum(1), torch.ones(2))
    torch.testing.assert_close(lookup.values, (lookup.weights * lookup.rows.clamp(min=0)).sum(1))


def test_a_new_entry_is_found_at_once():
    dictionary = filled(50)
    for name in range(50, 60):
        key = torch.randn(1, W)
        dictionary.write(key, zeros(1), torch.tensor([1.0]), torch.tensor([name]))
        assert dictionary.lookup(key, zeros(1)).rows[0, 0] == name


def test_a_situation_written_again_is_found_by_its_new_key_alone():
    dictionary = filled(50)
    old, new = dictionary.keys[0, 7].clone(), torch.full((W,), 9.0)
    dictionary.write(new.unsqueeze(0), zeros(1), torch.tensor([27.0]), torch.tensor([7]))
    assert len(dictionary) == 50
    lookup = dictionary.lookup(torch.stack([old, new]), zeros(2))
    assert 7 not in lookup.rows[0]
    assert lookup.rows[1, 0] == 7
    assert abs(dictionary.values[0, 7].item() - (7 + 0.1 * (27 - 7))) < 1e-5


def test_all_actions_are_looked_up_as_each_alone():
    dictionary = filled(200, capacity=200, n_actions=3)
    queries = torch.randn(5, W)
    each = [dictionary.lookup(queries, torch.full((5,), action)).values for action in range(3)]
    torch.testing.assert_close(dictionary.lookup_all(queries), torch.stack(each, dim=1))


def test_autocast_changes_nothing():
    dictionary = filled(1000, capacity=1000)
    queries = torch.randn(5, W)
    expected = dictionary.lookup(queries, zeros(5)).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(dictionary.lookup(queries, zeros(5)).values, expected)


# --- what is evicted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("touch", [True, False])
def test_the_oldest_entry_stays_if_it_was_a_neighbour(touch):
    dictionary = filled(20, capacity=20)
    rows = set(dictionary.lookup(dictionary.keys[0, :1], zeros(1), touch=touch).rows[0].tolist())
    assert 0 in rows
    expected = next(row for row in range(20) if not touch or row not in rows)
    dictionary.write(torch.randn(1, W), zeros(1), torch.ones(1), torch.tensor([99]))
    assert dictionary.tree()["actions"][0]["ids"][expected] == 99


def test_what_is_done_to_the_tensors_of_a_look_up_does_not_change_what_was_seen():
    dictionary = filled(20, capacity=20, n_actions=2)
    actions = zeros(1)
    lookup = dictionary.lookup(dictionary.keys[0, :1], actions)
    rows = lookup.rows[0].tolist()
    actions.fill_(1)
    lookup.rows.fill_(19)
    assert sorted(dictionary.tree()["actions"][0]["order"][-P:]) == sorted(rows)


def test_many_writes_at_once_are_as_many_writes_of_one():
    torch.manual_seed(0)
    one, other = Dictionary(2, W, 10, P), Dictionary(2, W, 10, P)
    writes = torch.randn(100, W), torch.randint(2, (100,)), torch.randn(100), torch.randint(30, (100,))
    one.write(*writes)
    for i in range(100):
        other.write(*(part[i : i + 1] for part in writes))
    for mine, its in zip(one.tree()["actions"], other.tree()["actions"], strict=True):
        for name in ("keys", "values", "ids", "order"):
            assert mine[name].tolist() == its[name].tolist()


def test_a_write_of_nothing_and_a_look_up_of_nothing():
    dictionary = filled(5)
    dictionary.write(torch.empty(0, W), zeros(0), torch.empty(0), zeros(0))
    assert len(dictionary) == 5
    assert dictionary.lookup(torch.empty(0, W), zeros(0)).values.shape == (0,)
    assert dictionary.lookup_all(torch.empty(0, W)).shape == (0, 1)


# --- saving ---------------------------------------------------------------------------------------------------------


def drive(dictionary, rng, turns):
    """Return the dictionary's answers to random writes, look-ups and steps."""
    answers = []
    for _ in range(turns):
        keys, actions = torch.from_numpy(rng.normal(size=(8, W))), torch.from_numpy(rng.integers(0, A, 8))
        values, ids = torch.from_numpy(rng.normal(size=8)), torch.from_numpy(rng.integers(0, 300, 8))
        dictionary.write(keys, actions, values, ids)
        lookup = dictionary.lookup(keys.float() + 0.1, actions, learn=True)
        lookup.values.sum().backward()
        dictionary.descend(lookup, 0.1)
        answers.append(dictionary.lookup_all(keys.float() - 0.1).tolist())
    return answers


@pytest.mark.parametrize("turns", [0, 5, 60])
def test_it_goes_on_from_a_file_exactly(turns, tmp_path):
    rng = np.random.default_rng(0)
    one, other = Dictionary(A, W, 50, P), Dictionary(A, W, 50, P)
    drive(one, rng, turns)
    drive(other, np.random.default_rng(1), 20)  # to be forgotten
    write_tree(tmp_path / "dictionary", one.tree())
    other.restore(read_tree(tmp_path / "dictionary"))
    state = rng.bit_generator.state
    expected = drive(one, rng, 60)
    rng.bit_generator.state = state
    assert drive(other, rng, 60) == expected
    assert one.counts.tolist() == other.counts.tolist() == [50, 50]


def test_what_is_saved_is_a_copy_and_is_trimmed():
    dictionary = filled(9)
    part = dictionary.tree()["actions"][0]
    assert part["keys"].shape == (9, W)
    before = part["keys"].clone()
    dictionary.write(torch.randn(9, W), zeros(9), torch.zeros(9), torch.arange(9))
    assert torch.equal(part["keys"], before)
    assert part["keys"].untyped_storage().nbytes() == 4 * 9 * W
    assert not dictionary.state_dict()


def test_another_capacity_takes_it_over_if_it_fits():
    dictionary, larger = filled(20), Dictionary(1, W, 25, P)
    larger.restore(dictionary.tree())
    assert larger.lookup(dictionary.keys[0, 3:4], zeros(1)).rows[0, 0] == 3
    assert larger.counts.tolist() == [20]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tree: tree["actions"].pop(), "actions"),
        (lambda tree: tree.update(width=W + 1), "width"),
        (lambda tree: tree["actions"].__setitem__(1, filled(60).tree()["actions"][0]), "capacity"),
        (lambda tree: tree["actions"][1].update(ids=zeros(5).numpy()), "ids"),
        (lambda tree: tree["actions"][1].update(order=zeros(5).numpy()), "order"),
        (lambda tree: tree["actions"][1].update(keys=torch.zeros(4, W)), "keys"),
        (lambda tree: tree["actions"][1].update(values=torch.zeros(4)), "values"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(change, named):
    dictionary, tree = filled(3, capacity=50, n_actions=2), filled(5, n_actions=2).tree()
    change(tree)
    before = dictionary.tree()
    with pytest.raises(ValueError, match=named):
        dictionary.restore(tree)
    for mine, its in zip(before["actions"], dictionary.tree()["actions"], strict=True):
        assert all(mine[name].tolist() == its[name].tolist() for name in ("keys", "values", "ids", "order"))


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("n_actions", 0),
        ("width", 1.5),
        ("capacity", -1),
        ("neighbours", 0),
        ("kernel", "gauss"),
        ("delta", 0),
        ("rule", "min"),
        ("rate", 1.1),
        ("search", "tree"),
    ],
)
def test_an_argument_that_is_none_is_refused_by_name(argument, value):
    with pytest.raises(ValueError, match=argument):
        Dictionary(**({"n_actions": 1, "width": 2} | {argument: value}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"keys": torch.zeros(2, W + 1)}, "keys"),
        ({"keys": torch.full((2, W), torch.nan)}, "keys"),
        ({"values": torch.tensor([0.0, torch.inf])}, "values"),
        ({"values": torch.zeros(3)}, "values"),
        ({"ids": zeros(1)}, "ids"),
        ({"actions": torch.tensor([0, 1])}, "actions"),
        ({"actions": torch.tensor([-1, 0])}, "actions"),
    ],
)
def test_a_write_that_does_not_fit_is_refused_by_name_and_changes_nothing(change, named):
    dictionary = filled(5)
    before = dictionary.tree()["actions"][0]
    right = {"keys": torch.zeros(2, W), "actions": zeros(2), "values": torch.zeros(2), "ids": torch.arange(2)}
    with pytest.raises(ValueError, match=named):
        dictionary.write(**(right | change))
    after = dictionary.tree()["actions"][0]
    assert all(before[name].tolist() == after[name].tolist() for name in ("keys", "values", "ids", "order"))


def test_a_look_up_that_does_not_fit_is_refused_by_name():
    dictionary = filled(5)
    with pytest.raises(ValueError, match="queries"):
        dictionary.lookup(torch.zeros(2, W + 1), zeros(2))
    with pytest.raises(ValueError, match="actions"):
        dictionary.lookup(torch.zeros(2, W), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="ids"):
        dictionary.lookup_all(torch.zeros(2, W), ids=zeros(3))
    with pytest.raises(ValueError, match="learning_rate"):
        dictionary.descend(dictionary.lookup(torch.zeros(2, W), zeros(2), learn=True), -1.0)
