"""What the checks of a core ask it about: how it is made, and inputs, starts and states to ask with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from memagents.cores import MemoryCore, make_core
from memagents.cores.core import detach_state, draw_keys, map_state, restart_state, state_leaves
from memagents.testing.conformance import agree

CoreMaker = Callable[..., MemoryCore]


@dataclass(frozen=True)
class CoreCase:
    """A core under examination.

    :param maker: called with ``input_size`` and the parameters, it makes a new core
    :param parameters: of the core
    :param input_size: width I of one input
    :param batch_size: rows B, at least 2
    :param steps: T of a window, at least 4
    :param distributions: entries of the trace that sum to exactly 1
    """

    maker: CoreMaker
    parameters: dict[str, Any]
    input_size: int = 5
    batch_size: int = 3
    steps: int = 9
    distributions: tuple[str, ...] = ()

    def make(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> MemoryCore:
        """A new core, its weights drawn from ``seed``; torch's generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            core = self.maker(self.input_size, **self.parameters)
        if not isinstance(core, MemoryCore):
            raise ValueError(f"core must make a MemoryCore, not {core!r}")
        return core.to(dtype)

    def with_parameters(self, **changes: Any) -> CoreCase:
        """The case of a core with other parameters."""
        return replace(self, parameters=self.parameters | changes)

    @property
    def row(self) -> int:
        """The row that is looked at where one row is."""
        return 1

    @property
    def begin(self) -> int:
        """The step at which an episode begins where one does."""
        return self.steps // 2

    def inputs(self, steps: int | None = None, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
        """Random inputs (T, B, I)."""
        return random_numbers(steps or self.steps, self.batch_size, self.input_size, dtype=dtype, seed=seed)

    def no_starts(self, steps: int | None = None, rows: int | None = None) -> Tensor:
        return torch.zeros(steps or self.steps, rows or self.batch_size, dtype=torch.bool)

    def random_starts(self, share: float, steps: int | None = None, seed: int = 5) -> Tensor:
        return random_uniform(*self.no_starts(steps).shape, seed=seed) < share

    def one_start(self, step: int, row: int) -> Tensor:
        starts = self.no_starts()
        starts[step, row] = True
        return starts

    def start_patterns(self) -> Iterator[tuple[str, Tensor]]:
        """None, all, random, and a single one at every position, with a name for each."""
        yield "without starts", self.no_starts()
        yield "with starts everywhere", ~self.no_starts()
        yield "with random starts", self.random_starts(0.3)
        for step in range(self.steps):
            row = step % self.batch_size
            yield f"with a start at step {step} of row {row}", self.one_start(step, row)

    def used_state(self, core: MemoryCore, seed: int = 2) -> Any:
        """The state after some random steps: valid for any core, and nothing in it zero or tied by construction."""
        dtype = next((p.dtype for p in core.parameters() if p.is_floating_point()), torch.float64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            begun = draw_keys(core.initial_state(self.batch_size))
        return detach_state(core.unroll(2 * self.inputs(7, dtype, seed), begun, self.no_starts(7)).state)


def case_of(core: str | type[MemoryCore] | CoreMaker, parameters: dict[str, Any], **sizes: Any) -> CoreCase:
    """The case of a registered name, a class or a factory.

    :raises ValueError: for anything else, or sizes too small to see anything
    """
    if isinstance(core, str):
        name = core

        def maker(input_size: int, **kwargs: Any) -> MemoryCore:
            return make_core(name, input_size, **kwargs)

    elif isinstance(core, MemoryCore) or not callable(core):
        raise ValueError(
            f"core must be a registered name, a subclass of MemoryCore or a function of input_size, not {core!r}"
        )
    elif inspect.isclass(core) and not issubclass(core, MemoryCore):
        raise ValueError(f"core must be a subclass of MemoryCore, which {core.__name__} is not")
    else:
        maker = core
    for size, least in {"input_size": 1, "batch_size": 2, "steps": 4}.items():
        value = sizes[size]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{size} must be an integer of at least {least}, not {value!r}")
    return CoreCase(maker, parameters, **sizes)


# --- random numbers that depend on nothing else -----------------------------------------------------------------------


def random_numbers(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Normal numbers, the same in every dtype but for rounding."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def agree_states(what: str, actual: Any, expected: Any, rtol: float, atol: float) -> None:
    """:func:`agree` for the leaves of states."""
    agree(what, state_leaves(actual), state_leaves(expected), rtol, atol)


# --- values and gradients ---------------------------------------------------------------------------------------------


def as_the_parameters(core: MemoryCore) -> str:
    """Advise on the device and dtype of a new leaf of the state."""
    name = next((name for name, parameter in core.named_parameters() if parameter.is_floating_point()), "weight")
    return (
        f"Make it by new_zeros of a parameter, self.{name}.new_zeros(batch_size, ...), which has the device and dtype "
        "of the parameters; torch.zeros has torch's defaults."
    )


def is_float(leaf: Tensor) -> bool:
    return leaf.is_floating_point() or leaf.is_complex()


def float_leaves(state: Any) -> list[Tensor]:
    """The leaves that collect gradients and hold anything."""
    return [leaf for leaf in state_leaves(state) if leaf.requires_grad and leaf.numel()]


def with_gradients(state: Any) -> Any:
    """A copy whose leaves collect gradients, where they can."""
    return map_state(lambda leaf: leaf.detach().clone().requires_grad_(is_float(leaf)), state)


def trained(core: MemoryCore) -> dict[str, Tensor]:
    """The parameters that are learned."""
    return {name: parameter for name, parameter in core.named_parameters() if parameter.requires_grad}


def outcome(outputs: Tensor, state: Any, losses: dict[str, Tensor]) -> Tensor:
    """A number that depends on every output, differently on each."""
    tensors = [outputs, *(leaf for leaf in state_leaves(state) if is_float(leaf)), *losses.values()]
    total = outputs.new_zeros(())
    for number, tensor in enumerate(tensors):
        tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        weights = random_numbers(*tensor.shape, dtype=tensor.dtype, seed=100 + number)
        total = total + (weights * tensor).sum()
    return total


def gradients(number: Tensor, sources: list[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a number; zeros where there is no path."""
    if not number.requires_grad:
        return tuple(torch.zeros_like(source) for source in sources)
    return torch.autograd.grad(number, sources, allow_unused=True, materialize_grads=True)


def all_gradients(core: MemoryCore, inputs: Tensor, state: Any, result: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """The outcome's gradients with respect to inputs, state and parameters."""
    return gradients(outcome(*result), [inputs, *float_leaves(state), *trained(core).values()])


def by_forward(core: MemoryCore, inputs: Tensor, state: Any, starts: Tensor) -> tuple[Tensor, Any, dict[str, Tensor]]:
    """The obvious loop: reset what begins an episode, then one step."""
    outputs, losses = [], []
    initial = core.initial_state(inputs.shape[1])
    for x, start in zip(inputs, starts, strict=True):
        step = core(x, restart_state(start, initial, state))
        state = step.state
        outputs.append(step.outputs)
        losses.append(step.losses)
    return torch.stack(outputs), state, {key: torch.stack([loss[key] for loss in losses]) for key in losses[0]}
