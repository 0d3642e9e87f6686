"""What a slot holds is traced back to the writes that made it, exactly."""

import re

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.inspection.provenance import later_reads, origins, read_origins, read_sources, surviving, writes_of

STEPS, SLOTS = 12, 5
SIZES = {
    "dnc": {"slots": SLOTS, "width": 3, "read_heads": 2, "controller_size": 8},
    "ntm": {"slots": SLOTS, "width": 3, "controller_size": 8, "write_heads": 2},
    "sam": {"slots": SLOTS, "width": 3, "read_heads": 2, "reads": 2, "controller_size": 8},
    "sdnc": {"slots": SLOTS, "width": 3, "read_heads": 2, "reads": 2, "controller_size": 8},
}


def run(name, **kwargs):
    """The trace of a core, (T, ...), and its memory after each step, (T, N, W)."""
    torch.manual_seed(0)
    core = make_core(name, 4, **SIZES[name], **kwargs)
    for parameter in core.parameters():
        parameter.data.mul_(2).add_(0.1 * torch.randn_like(parameter))
    inputs, state, memories, traces = torch.randn(STEPS, 1, 4), core.initial_state(1), [], []
    with torch.no_grad():
        beginning = state.memory[0].numpy().copy()
        for step in inputs:
            result = core.step(core.project(step), state)
            state = result.state
            memories.append(state.memory[0].numpy().copy())
            traces.append({name: values[0].numpy() for name, values in result.trace.items()})
    trace = {name: np.stack([step[name] for step in traces]) for name in traces[0]}
    return trace, np.stack(memories), beginning


@pytest.mark.parametrize("name", SIZES)
def test_writes_with_their_signs_add_up_to_the_memory(name):
    trace, memories, beginning = run(name)
    heads = trace["write_weights"].reshape(STEPS, -1, SLOTS)
    erase, add = (trace[part].reshape(STEPS, len(heads[0]), 3) for part in ("erase", "add"))
    keeps = writes_of(trace).keeps
    memory = beginning
    for t in range(STEPS):
        memory = memory * keeps[t] + np.einsum("vn,vw->nw", heads[t], add[t])
        assert np.allclose(memory, memories[t], atol=1e-5), t
    assert erase.shape == add.shape


@pytest.mark.parametrize("name", SIZES)
def test_what_survives_is_what_a_slow_loop_finds(name):
    trace, _, _ = run(name)
    writes = writes_of(trace)
    for step in (0, 4, STEPS - 1):
        found = surviving(writes, step, np.arange(SLOTS))
        for s in range(step + 1):
            for n in range(SLOTS):
                part = writes.amounts[s, n].copy()
                for u in range(s + 1, step + 1):
                    part *= writes.keeps[u, n]
                assert np.isclose(found[s, n], part.sum(), atol=1e-6)
        for n in range(SLOTS):
            shares = origins(writes, step, n)
            total = found[:, n].sum()  # 0 where nothing was written yet
            assert np.isclose(shares.sum(), total > 0)
            assert np.allclose(shares * total, found[:, n])


def test_both_directions_agree():
    trace, _, _ = run("dnc")
    writes, reads = writes_of(trace), trace["read_weights"]
    shares = np.stack([later_reads(writes, reads, 3, slot) for slot in range(SLOTS)]).sum(0)  # (T, R) of step 3
    for t in range(STEPS):
        for head in range(2):
            expected = read_origins(writes, reads[t, head], t)[3] if t >= 3 else 0
            assert np.isclose(shares[t, head], expected, atol=1e-6)


def test_a_planted_read_finds_its_write():
    trace = {
        "write_weights": np.eye(4)[[0, 1, 2, 0, 3]],
        "erase": np.full((5, 2), 0.75),
        "add": np.array([[1, 3], [1, 1], [1, 1], [2, 2], [1, 1]], float),
        "read_weights": np.eye(4)[[3, 0, 1, 0, 0]],
    }
    writes = writes_of(trace)
    assert np.allclose(origins(writes, 2, 0), [1, 0, 0])
    assert np.allclose(origins(writes, 4, 0), [0.2, 0, 0, 0.8, 0])  # a quarter of 4 is left beside a whole 4
    assert np.allclose(read_origins(writes, trace["read_weights"][4], 4), [0.2, 0, 0, 0.8, 0])
    assert np.allclose(later_reads(writes, trace["read_weights"], 0, 0)[:, 0], [0, 1, 0, 0.2, 0.2])
    assert np.allclose(origins(writes, 1, 3), [0, 0])  # nothing was written


@pytest.mark.parametrize("name", SIZES)
def test_what_is_read_is_the_sum_of_what_was_written_by_its_weights(name):
    """Where all write the same numbers and erase nothing, the weights are those of the sum."""
    trace, _, _ = run(name)
    heads = trace["write_weights"].reshape(STEPS, -1, SLOTS)
    given = {"write_weights": heads / STEPS, "add": np.ones((STEPS, len(heads[0]), 3))}
    given |= {"erase": np.zeros_like(given["add"])}
    writes, reads = writes_of(given), trace["read_weights"].reshape(STEPS, -1, SLOTS)
    for t in range(STEPS):
        found = read_sources(writes, reads[t], t)
        assert np.allclose(found, reads[t] @ given["write_weights"][: t + 1].sum(1).T, atol=1e-6)
        assert np.allclose(found[0], read_sources(writes, reads[t, 0], t))


def test_a_read_of_what_was_hardly_written_is_hardly_one():
    trace = {
        "write_weights": np.array([[1, 0.01, 0], [1, 0, 0]]),
        "erase": np.full((2, 2), 0.75),
        "add": np.array([[2.0, 6], [1, 1]]),
    }
    writes = writes_of(trace)
    reads = np.array([[1, 0, 0], [0.5, 0, 0], [0, 1, 0], [0, 0, 1]])
    # Of the first slot a quarter of 8 is left beside 2: two halves; the second holds a hundredth of a write.
    assert np.allclose(read_sources(writes, reads, 1), [[0.5, 0.5], [0.3125, 0.3125], [0.01, 0], [0, 0]])
    assert np.allclose(read_origins(writes, reads[2], 1), [1, 0])


def test_without_erase_and_add_a_write_replaces():
    writes = writes_of({"write_weights": np.array([[1.0, 0], [0.25, 0]])})
    assert np.allclose(origins(writes, 1, 0), [0.75, 0.25])


def test_of_a_write_that_is_no_number_no_share_is_told():
    trace = {"write_weights": np.eye(4)[:, :3], "add": np.ones((4, 2)), "read_weights": np.ones((4, 1, 3))}
    trace["add"][1, 0] = np.nan
    writes = writes_of(trace)
    assert np.isnan(origins(writes, 3, 1)).all()
    assert origins(writes, 3, 0).tolist() == [1, 0, 0, 0]
    later = later_reads(writes, trace["read_weights"], 0, 0)
    assert later[0] == 1 and np.isnan(later[1:]).all()
    trace["read_weights"][2] = 1, 0, 0  # the others' numbers are not read
    assert later_reads(writes, trace["read_weights"], 0, 0)[2] == 1


def test_a_memory_without_slots_says_what_it_has():
    with pytest.raises(ValueError, match="hidden, cell"):
        writes_of({"hidden": np.zeros((2, 3)), "cell": np.zeros((2, 3))})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda writes, reads: origins(writes, 9, 0), "step must be an integer from 0 to 4, not 9"),
        (lambda writes, reads: origins(writes, 0, -1), "slot must be an integer from 0 to 2, not -1"),
        (lambda writes, reads: later_reads(writes, reads, -1, 0), "step must be an integer from 0 to 4, not -1"),
        (
            lambda writes, reads: later_reads(writes, reads[:4], 0, 0),
            "read_weights must have the shape (T, N) or (T, R, N), where T is 5 and N is 3, not (4, 2, 3)",
        ),
        (
            lambda writes, reads: read_origins(writes, reads[0], 0),
            "read_weights must have the shape (N,), where N is 3, not (2, 3)",
        ),
        (
            lambda writes, reads: read_sources(writes, reads, 0),
            "read_weights must have the shape (N,) or (R, N), where N is 3, not (5, 2, 3)",
        ),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(asked, message):
    writes = writes_of({"write_weights": np.full((5, 3), 0.5)})
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        asked(writes, np.full((5, 2, 3), 0.5))
