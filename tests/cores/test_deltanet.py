"""Gated DeltaNet and its kin against loops, and against the errors that others make."""

from functools import partial

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.memory.linear import linear_step
from tests.cores.chunked import (
    against_the_equations,
    array,
    measured_half_lives,
    nothing_that_is_not_finite_outlives_a_start,
    of_layer,
    recall,
    window_equals_steps,
)
from tests.cores.linear import SIZE, B, disturb, inputs_of, no_starts, single_against_double
from tests.reference import linear

OPTIONS = {
    "gated": {},
    "one layer": {"layers": 1},
    "plain": {"gated": False},
    "product": {"householder_steps": 2, "negative_eigenvalues": True},
    "split": {"split_gates": True},
    "split product": {"split_gates": True, "householder_steps": 3},
    "split, plain, negative": {"split_gates": True, "gated": False, "negative_eigenvalues": True},
}
every_kind = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
DOUBLE = {"dtype": torch.float64}


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    small = {"width": 6, "heads": 2, "key_size": 3, "value_size": 4, "layers": 2, "chunk": 7}
    return make_core("deltanet", SIZE, **(small | changes)).to(dtype)


def numpy_weights(block):
    rows = [array(part) for part in block.maps.weight.split(block.sizes)]
    weights = {"qkv": rows[0], "b": rows[1], "taps": array(block.taps), "scale": array(block.scale)}
    if block.split:
        weights["b"], weights["w"] = np.split(rows[1], [block.heads * block.writes * block.key_size])
    if block.gated:
        weights |= {"a": rows[2], "g": rows[3], "A_log": array(block.log_rates), "dt_bias": array(block.intervals)}
        if block.split:
            weights["a"] = array(block.decay_up.weight) @ rows[2]
            weights["g"] = array(block.output_gate_up.weight) @ rows[3]
    return weights | {"o": array(block.output.weight)}


@every_kind
def test_equals_the_equations(options):
    core = make(**options)
    disturb(core)
    block = core.blocks[0]
    step = partial(linear.delta_step, writes=block.writes, strength=block.strength)
    weights = [numpy_weights(block) for block in core.blocks]
    against_the_equations(core, weights, step, lambda state, b, n: list(of_layer(state.memory, b, n, len(weights))))


@every_kind
@pytest.mark.parametrize("chunk", [1, 7, 32])
def test_a_window_equals_steps(options, chunk):
    core = make(**options, chunk=chunk)
    disturb(core)
    window_equals_steps(core)


@pytest.mark.parametrize("options", [{}, {"gated": False}, {"split_gates": True}], ids=["gated", "plain", "split"])
def test_single_precision_over_4096_steps(options):
    assert single_against_double(lambda dtype: make(dtype, **options, chunk=16)) < 1e-5


def test_half_lives_at_the_start():
    core = make(heads=4, shortest_half_life=1.5, longest_half_life=96.0)
    expected = torch.tensor([1.5, 6, 24, 96], **DOUBLE).view(4, 1, 1).expand(4, 3, 4)
    torch.testing.assert_close(measured_half_lives(core), expected, rtol=1e-5, atol=0)
    core = make(split_gates=True, shortest_half_life=2.0, longest_half_life=50.0)
    expected = torch.tensor([2.0, 10, 50], **DOUBLE).view(3, 1).expand(2, 3, 4)
    torch.testing.assert_close(measured_half_lives(core), expected, rtol=1e-5, atol=0)


def test_half_lives_of_the_defaults():
    core = make_core("deltanet", SIZE).double()
    lives = measured_half_lives(core, 50)[:, 0, 0]
    torch.testing.assert_close(lives, torch.tensor([10.0, 1000.0], **DOUBLE), rtol=1e-4, atol=0)


def test_without_gates_nothing_fades():
    core = make(gated=False)
    assert measured_half_lives(core).abs().min() > 1e9


def test_the_second_write_at_a_key_is_read_back():
    """Others multiply by I - β k kᵀ on the side of the values, and read neither."""
    generator = torch.Generator().manual_seed(0)
    key = torch.nn.functional.normalize(torch.randn(1, 5, generator=generator, **DOUBLE))
    values = torch.randn(2, 3, generator=generator, **DOUBLE)
    found = recall(key.expand(2, 5), values, 1.0, key)
    torch.testing.assert_close(found, values[1:], rtol=1e-12, atol=1e-12)


def test_it_fades_first_and_is_then_looked_up():
    """So that with β = 1 the new value is read exactly, however much has faded of the old one."""
    key, values = torch.eye(3, **DOUBLE)[:1], torch.tensor([[1.0, -2.0], [5.0, 7.0]], **DOUBLE)
    torch.testing.assert_close(recall(key.expand(2, 3), values, 0.25, key), values[1:])


def test_orthonormal_keys_are_recalled_exactly():
    keys = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), **DOUBLE))[0]
    values = torch.randn(6, 4, generator=torch.Generator().manual_seed(2), **DOUBLE)
    torch.testing.assert_close(recall(keys, values, 1.0, keys), values, rtol=1e-12, atol=1e-12)


def test_a_beta_of_two_turns_the_sign_of_what_lies_along_the_key():
    keys = torch.eye(3, **DOUBLE)[[0, 1, 0]]
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]], **DOUBLE)
    strengths = torch.tensor([[1.0], [1.0], [2.0]], **DOUBLE)
    found = recall(keys, values, 1.0, torch.eye(3, **DOUBLE), strengths)
    torch.testing.assert_close(found, torch.tensor([[-1.0, -2.0], [3.0, 4.0], [0.0, 0.0]], **DOUBLE))


def test_the_writes_of_a_step_are_composed():
    """Two reflections are a turn by twice the angle between the keys; others multiply number by number."""
    angle = 0.3
    keys = torch.tensor([[1.0, 0.0], [np.cos(angle), np.sin(angle)]], **DOUBLE).view(1, 1, 2, 2)
    memory = torch.eye(2, **DOUBLE).view(1, 1, 2, 2)
    nothing = torch.zeros(1, 1, 2, 2, **DOUBLE)
    _, turned = linear_step(keys[:, :, 0], keys, nothing, torch.zeros(1, 1, 1, **DOUBLE), memory, 2 * keys)
    turn = [[np.cos(2 * angle), -np.sin(2 * angle)], [np.sin(2 * angle), np.cos(2 * angle)]]
    torch.testing.assert_close(turned[0, 0], torch.tensor(turn, **DOUBLE))


def test_each_key_of_a_step_has_unit_length():
    """Others normalise the keys of all writes together."""
    core = make(householder_steps=3)
    block = core.blocks[0]
    mixed = torch.randn(B, block.channels, **DOUBLE)
    queries, keys, _ = block._heads(mixed)
    for vectors in (queries, keys):
        torch.testing.assert_close(
            vectors.square().sum(-1), torch.ones(vectors.shape[:-1], **DOUBLE), rtol=0, atol=1e-3
        )
    assert keys.shape == (B, 2, 3, 3)


@every_kind
def test_nothing_that_is_not_finite_outlives_a_start(options):
    nothing_that_is_not_finite_outlives_a_start(make(**options))


def test_decays_are_learned():
    core = make()
    core.unroll(inputs_of(9), core.initial_state(B), no_starts(9)).outputs.square().sum().backward()
    for block in core.blocks:
        assert (block.log_rates.grad != 0).all()
        assert (block.intervals.grad != 0).all()


def test_what_autocast_multiplies_is_kept_in_single_precision():
    core = make(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        state = core.unroll(inputs_of(9, torch.float32), core.initial_state(B), no_starts(9)).state
    assert state.memory.dtype == state.recent.dtype == torch.float32
    assert not torch.equal(state.memory, state.memory.bfloat16().float())


def test_bad_parameters():
    for wrong, message in [
        ({"width": 0}, "width must be a positive integer"),
        ({"heads": -1}, "heads must be a positive integer"),
        ({"key_size": 1.5}, "key_size must be a positive integer"),
        ({"value_size": 0}, "value_size must be a positive integer"),
        ({"layers": 0}, "layers must be a positive integer"),
        ({"householder_steps": 0}, "householder_steps must be a positive integer"),
        ({"chunk": 0}, "chunk must be a positive integer"),
        ({"gated": "no"}, "gated must be true or false"),
        ({"split_gates": 1}, "split_gates must be true or false"),
        ({"negative_eigenvalues": None}, "negative_eigenvalues must be true or false"),
        ({"shortest_half_life": 0}, "shortest_half_life must be a finite number above 0"),
        ({"shortest_half_life": 5, "longest_half_life": 4}, "longest_half_life must be at least shortest_half_life, 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
