"""Products of a core's layers, counted: what a step costs however it is run, beside what the processor can do."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from turns import fastest

from memagents import make_core

_WITH_WEIGHTS = (torch.ops.aten.mm, torch.ops.aten.addmm)


class Products(TorchDispatchMode):
    """Counts the operations of products with matrices of weights, a multiplication and an addition each."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function._overloadpacket in _WITH_WEIGHTS:
            count = flop_registry[function._overloadpacket]
            self.operations += count(*args, **(kwargs or {}), out_val=result)
        return result


def products_of_a_step(name: str, input_size: int = 64, steps: int = 32, batch: int = 16, start: float = 0.1) -> float:
    """Return the MFLOP of the products by which a core acts in a step and learns from it once.

    They are counted in a window of the plain loop, of which acting is the third that a forward pass is. What lies
    between the products (attention, addressing, gates) is not counted.

    :param name: of a core, with its default sizes
    :param input_size: of the core
    :param steps: of the window
    :param batch: environments
    :param start: share of the steps that begin an episode
    """
    core = make_core(name, input_size)
    inputs = torch.randn(steps, batch, input_size, requires_grad=True)
    starts = torch.rand(steps, batch) < start
    with patch("memagents.kernels.choice.window_for", return_value=None), Products() as products:
        result = core.unroll(inputs, core.initial_state(batch), starts)
        (result.outputs.sum() + sum(loss.sum() for loss in result.losses.values())).backward()
    return products.operations * 4 / 3 / (steps * batch) / 1e6


def peak_of_products(rows: int = 2048, width: int = 256) -> float:
    """Return the GFLOP/s that this processor reaches in a product of layers' size, with torch's present threads."""
    inputs, weights = torch.randn(rows, width), torch.randn(width, width)
    best = fastest({"product": lambda: inputs @ weights}, seconds=1)["product"]
    return 2 * rows * width * width / best / 1e9
