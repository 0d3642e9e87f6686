"""Windows in chunks keep less for backward; that they are the windows is tested in test_catalogue.py."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from memagents import make_core
from memagents.cores.recompute import unroll_in_chunks

T, B, SIZE = 32, 4, 3


def kept(name, steps, **core_kwargs):
    """Bytes of the tensors that the graph of a window holds until backward, each storage once."""
    core = make_core(name, SIZE, **core_kwargs).double()
    inputs, starts = torch.randn(T, B, SIZE).double(), torch.zeros(T, B, dtype=torch.bool)
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        unrolled = unroll_in_chunks(core, inputs, core.initial_state(B), starts, steps)
    del unrolled
    return sum(storages.values())


@pytest.mark.parametrize(
    ("name", "core_kwargs"),
    [
        ("dnc", {"slots": 24}),
        ("ntm", {"slots": 24}),
        ("lstm", {}),
        ("rmc", {"slots": 4, "width": 32, "heads": 2}),
        ("gtrxl", {}),
    ],
)
def test_chunks_keep_less(name, core_kwargs):
    assert kept(name, 4, **core_kwargs) < 0.5 * kept(name, T, **core_kwargs)


@pytest.mark.parametrize(
    ("name", "core_kwargs", "of_a_step"),
    [
        ("dnc", {"slots": 24, "width": 24, "read_heads": 2}, 24 * 24),  # memory and links are computed again anyway
        ("ntm", {"slots": 24, "width": 20}, 24 * 20),
        ("lstm", {"hidden_size": 64}, 7 * 64),
        ("rmc", {"slots": 4, "width": 32, "heads": 2}, 4 * 32 * 10),
    ],
)
def test_autograd_knows_what_a_kernel_keeps(name, core_kwargs, of_a_step):
    """A tape that is hidden from it could neither be left out of a chunk nor be moved elsewhere by its hooks."""
    assert kept(name, T, **core_kwargs) > 8 * T * B * of_a_step


def test_without_gradients_there_is_nothing_to_keep(monkeypatch):
    core = make_core("lstm", SIZE)
    asked = []
    monkeypatch.setattr(core, "unroll", lambda *arguments: asked.append(len(arguments[0])))
    with torch.no_grad():
        unroll_in_chunks(core, torch.randn(T, B, SIZE), core.initial_state(B), torch.zeros(T, B, dtype=torch.bool), 4)
    assert asked == [T]
