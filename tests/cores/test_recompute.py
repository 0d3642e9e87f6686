"""Windows in chunks keep less for backward; that they are the windows is tested in test_catalogue.py."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from memagents import make_core
from memagents.cores.recompute import unroll_in_chunks

T, B, SIZE = 32, 4, 3


def kept(name, steps, **core_kwargs):
    """Bytes of the tensors that the graph of a window holds until backward, each storage once."""
    core = make_core(name, SIZE, **core_kwargs)
    inputs, starts = torch.randn(T, B, SIZE), torch.zeros(T, B, dtype=torch.bool)
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        unrolled = unroll_in_chunks(core, inputs, core.initial_state(B), starts, steps)
    del unrolled
    return sum(storages.values())


@pytest.mark.parametrize(("name", "core_kwargs"), [("dnc", {"slots": 24}), ("rmc", {"slots": 4}), ("gtrxl", {})])
def test_chunks_keep_less(name, core_kwargs):
    assert kept(name, 4, **core_kwargs) < 0.5 * kept(name, T, **core_kwargs)


def test_without_gradients_there_is_nothing_to_keep(monkeypatch):
    core = make_core("lstm", SIZE)
    asked = []
    monkeypatch.setattr(core, "unroll", lambda *arguments: asked.append(len(arguments[0])))
    with torch.no_grad():
        unroll_in_chunks(core, torch.randn(T, B, SIZE), core.initial_state(B), torch.zeros(T, B, dtype=torch.bool), 4)
    assert asked == [T]
