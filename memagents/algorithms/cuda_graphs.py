"""CUDA graphs: what a function asks of the device is recorded once, and replayed without Python in between.

Acting for one step, and learning from one minibatch, launch thousands of small kernels. A GPU is done with each before
Python has launched the next; a graph launches them all at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from memagents.kernels.cuda.streams import side_stream
from memagents.ranks import mean_figures

WARM_UP_CALLS = 3  # kernels are compiled and chosen, and workspaces allocated, in the first calls


class Recording(NamedTuple):
    """One capture: the tensors that it reads (with what else the arguments held), how to replay it, what it writes."""

    inputs: list[object]
    replay: Callable[[], None]
    outputs: Any


class GraphedFunction:
    """A function of trees of tensors, replayed as a CUDA graph; on other devices it is simply called.

    It is captured at its first call for given structures, shapes and types, after three calls to warm up. From then on
    the arguments are copied to where the capture reads them, and Python runs none of the function, which must therefore

    - do all its work on the device and never look at it (no ``item()``, no shapes that depend on values),
    - take whatever changes between calls as a tensor: any other value is what it was during the capture,
    - read nothing else but tensors that stay where they are, such as parameters that are only changed in place.

    Random numbers of torch's default generator are new ones in every replay.

    :param function: its arguments and its result are tensors, None, and dicts, lists, tuples and NamedTuples of such
    :param device: where the tensors are
    """

    device_type: ClassVar[str] = "cuda"

    def __init__(self, function: Callable[..., Any], device: torch.device):
        self.function, self.device = function, device
        self._recordings: dict[Hashable, Recording] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's result; on CUDA the next call of the same shapes writes over it."""
        if self.device.type != self.device_type:
            return self.function(*arguments)
        leaves, structure = tree_flatten(arguments)
        kind = (structure, *((leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in leaves))
        recording = self._recordings.get(kind)
        if recording is None:
            inputs = [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            replay, outputs = self.record(functools.partial(self._apart, inputs, structure))
            recording = self._recordings[kind] = Recording(inputs, replay, outputs)
        for kept, leaf in zip(recording.inputs, leaves, strict=True):
            if isinstance(leaf, Tensor) and isinstance(kept, Tensor):
                kept.copy_(leaf)
        recording.replay()
        return recording.outputs

    def record(self, call: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Capture a call: what replays it, and where its results are then."""
        with torch.cuda.device(self.device), values_unchecked():
            stream = side_stream(self.device)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_CALLS):
                    call()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Of this thread alone the calls that a capture forbids are refused: another may be loading data.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                outputs = call()
        return graph.replay, outputs

    def _apart(self, inputs: list[Any], structure: Any) -> Any:
        """The function's results, copied where they are inputs: the next call, which may take them, writes there."""
        places = {leaf.untyped_storage().data_ptr() for leaf in inputs if isinstance(leaf, Tensor)}

        def apart(leaf: Any) -> Any:
            shared = isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() in places
            return leaf.clone() if shared else leaf

        return tree_map(apart, self.function(*tree_unflatten(inputs, structure)))


@contextmanager
def values_unchecked() -> Iterator[None]:
    """No checks of values by torch's distributions: they would look at the device."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def look(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalar tensors as numbers, by a single transfer from the device; their means over all ranks."""
    numbers = torch.stack([scalar.detach() for scalar in scalars.values()]).tolist()
    return mean_figures(dict(zip(scalars, numbers, strict=True)))
