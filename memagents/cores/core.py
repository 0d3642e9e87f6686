"""The one contract every memory system keeps, and what all of them share.

A core is a recurrent module between an encoder and the heads of a policy. It is an ordinary ``torch.nn.Module`` and
works alone as well::

    >>> import torch
    >>> from memagents import make_core
    >>> core = make_core("dnc", input_size=8, slots=16, width=12, read_heads=2)
    >>> inputs = torch.randn(20, 4, 8)                      # (T, B, I): 20 steps of 4 sequences
    >>> starts = torch.zeros(20, 4, dtype=torch.bool)       # (T, B): no new episode begins inside the window
    >>> outputs, state, losses, trace = core.unroll(inputs, core.initial_state(4), starts)
    >>> outputs.shape == (20, 4, core.output_size)
    True

Letters in shapes: T steps, B batch rows, I ``input_size``, O ``output_size``, N slots, W width of a slot, R read heads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.memory.scan import reset_steps

State: TypeAlias = "Tensor | tuple[State, ...]"
"""A NamedTuple of tensors, nested where natural. Every leaf has the batch first; its shape and dtype never change.

A core that draws random numbers has a leaf named ``key``, int64 (B,), from which :mod:`memagents.memory.draws` makes
them, and adds 1 to it in every step. Acting and learning then draw the same.
"""

S = TypeVar("S", bound=State)


class Step(NamedTuple, Generic[S]):
    """The result of one step of the recurrence.

    ``features`` go to :meth:`MemoryCore.readout`; ``losses`` are (B,) tensors that training adds; ``trace`` holds named
    (B, ...) tensors for an inspector (weightings, gates, usage).
    """

    features: Tensor
    state: S
    losses: dict[str, Tensor]
    trace: dict[str, Tensor]


class Unrolled(NamedTuple, Generic[S]):
    """The result of a window: outputs (T, B, O) and the state after it; losses and trace stacked to (T, B, ...).

    From :meth:`MemoryCore.forward`, one step, everything lacks the leading T.
    """

    outputs: Tensor
    state: S
    losses: dict[str, Tensor]
    trace: dict[str, Tensor]


class MemoryCore(nn.Module, Generic[S]):
    """A memory system: ``initial_state``, ``project``, ``step``, ``readout``; the rest follows.

    ``MemoryCore[DNCState]`` is one whose state is a ``DNCState``, for checkers of types; ``MemoryCore`` alone does too.

    A subclass sets ``input_size`` and ``output_size`` (through ``__init__``) and defines ``initial_state`` and
    ``step``; ``project`` and ``readout`` are the identity unless it says otherwise. It never keeps anything of a
    sequence on ``self`` and never detaches its own history: the edge of the window is the cut.
    :func:`memagents.testing.check_core` holds a core against all of this.

    :param input_size: width I of one input
    :param output_size: width O of one output
    """

    input_size: int
    output_size: int

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.input_size = positive_int("input_size", input_size)
        self.output_size = positive_int("output_size", output_size)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "unroll" in cls.__dict__:  # a policy, which projects what comes again only once, would never call it
            raise TypeError(f"{cls.__name__} must override recur, which follows project, and not unroll")
        fall_back(cls, "recur", ("step", "initial_state"), MemoryCore)

    def initial_state(self, batch_size: int) -> S:
        """The state before an episode's first step, on the device of the parameters.

        :param batch_size: number of rows B
        :return: the core's state, every leaf (B, ...)
        """
        raise NotImplementedError

    def project(self, inputs: Tensor) -> Tensor:
        """Compute what does not depend on the recurrence, of each input by itself, over any leading dimensions at once.

        :param inputs: (..., I)
        :return: what :meth:`step` takes, (..., X)
        """
        return inputs

    def step(self, x: Tensor, state: S) -> Step[S]:
        """The recurrence alone.

        :param x: one step of :meth:`project`, (B, X)
        :param state: the state before the step, leaves (B, ...)
        :return: features (B, F), the new state, losses, trace
        """
        raise NotImplementedError

    def readout(self, features: Tensor) -> Tensor:
        """Compute the outputs from the features, over any leading dimensions at once: (..., F) to (..., O)."""
        return features

    def unroll(self, inputs: Tensor, state: S, starts: Tensor, trace: bool = False) -> Unrolled[S]:
        """Run a window: ``project`` and then ``recur``. Not to be overridden: policies call the two themselves.

        :param inputs: (T, B, I)
        :param state: the state before the window, leaves (B, ...)
        :param starts: (T, B) booleans; where ``starts[t]`` is true, observation t begins an episode and the row's state
            becomes the initial state before step t (but for its random key, see :func:`restart_state`)
        :param trace: also collect what an inspector shows
        :return: outputs (T, B, O), the state after the window, losses and (if asked) trace stacked over T
        """
        self.check_window(inputs, starts)
        return self.recur(self.project(inputs), state, starts, trace)

    def recur(self, x: Tensor, state: S, starts: Tensor, trace: bool = False) -> Unrolled[S]:
        """Run a window that :meth:`project` prepared: a loop of ``step`` with resets, then ``readout`` once.

        A subclass overrides this only to be faster; a test holds the two equal, values and gradients. Who inherits from
        it and overrides ``step`` or ``initial_state``, but not this, gets the loop back.

        :param x: (T, B, X)
        :return: and all else as of :meth:`unroll`
        """
        resets = reset_steps(starts)
        initial = self.initial_state(x.shape[1]) if any(resets) else state
        steps = []
        for now, start, reset in zip(x.unbind(0), starts.unbind(0), resets, strict=True):
            if reset:
                state = restart_state(start, initial, state)
            step = checked_step(self, self.step(now, state))
            state = step.state
            steps.append(step if trace else step._replace(trace={}))
        outputs = self.readout(torch.stack([step.features for step in steps]))
        return Unrolled(outputs, state, stack_dicts([s.losses for s in steps]), stack_dicts([s.trace for s in steps]))

    def forward(self, inputs: Tensor, state: S) -> Unrolled[S]:
        """Run one step.

        :param inputs: (B, I)
        :param state: leaves (B, ...)
        :return: outputs (B, O), the new state, losses (B,), trace (B, ...)
        """
        if inputs.dim() != 2 or inputs.shape[1] != self.input_size:
            raise ValueError(f"inputs must be (B, {self.input_size}), not {tuple(inputs.shape)}")
        features, state, losses, trace = checked_step(self, self.step(self.project(inputs), state))
        return Unrolled(self.readout(features), state, losses, trace)

    def with_more_slots(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of such a core with fewer slots than this one, made to fit it.

        Only a core that has a parameter for every slot overrides this.

        :param weights: a ``state_dict``
        """
        return weights

    def check_window(self, inputs: Tensor, starts: Tensor) -> None:
        """Refuse a window of the wrong shape, with one clear error."""
        if inputs.dim() != 3 or inputs.shape[-1] != self.input_size or inputs.shape[0] == 0:
            raise ValueError(f"inputs must be (T, B, {self.input_size}) with T >= 1, not {tuple(inputs.shape)}")
        if starts.shape != inputs.shape[:2] or starts.dtype != torch.bool:
            raise ValueError(
                f"starts must be booleans of shape {tuple(inputs.shape[:2])}, not {starts.dtype} {tuple(starts.shape)}"
            )


def fall_back(cls: type[MemoryCore], faster: str, parts: tuple[str, ...], base: type[MemoryCore]) -> None:
    """Give a class the plain way back where it overrides a part of what a parent's faster way equals.

    A faster way equals the parts as they are in the class that defines it, and in no other.

    :param faster: name of what is faster in a parent, unless the class has one of its own
    :param parts: names of the methods that it equals; what a parent left undefined is no part of its faster way
    :param base: whose ``faster`` is the plain way
    """
    definer = next(parent for parent in cls.__mro__ if faster in parent.__dict__)
    for part in parts:
        if getattr(cls, part) is not getattr(definer, part) is not getattr(MemoryCore, part, None):
            setattr(cls, faster, getattr(base, faster))


def checked_step(core: MemoryCore[S], step: Step[S]) -> Step[S]:
    """Return what ``step`` of a core returned.

    :raises TypeError: if it is no :class:`Step`
    """
    if not isinstance(step, Step):
        raise TypeError(
            f"step of {type(core).__name__} must return a memagents.cores.core.Step(features, state, losses, trace), "
            f"not a {type(step).__name__}"
        )
    return step


def unroll_by_steps(core: MemoryCore[S], inputs: Tensor, state: S, starts: Tensor, trace: bool = False) -> Unrolled[S]:
    """Run ``core.unroll`` by the plain loop, even where the core has a faster way: the reference in tests."""
    core.check_window(inputs, starts)
    return MemoryCore.recur(core, core.project(inputs), state, starts, trace)


# --- states ---------------------------------------------------------------------------------------------------------


def map_state(function: Callable[..., Tensor], *states: S) -> S:
    """Apply ``function`` to the corresponding leaves of states of one structure."""
    first = states[0]
    if isinstance(first, Tensor):
        return function(*states)  # type: ignore[return-value]
    return type(first)(*(map_state(function, *leaves) for leaves in zip(*states, strict=True)))


def state_leaves(state: State) -> list[Tensor]:
    """The tensors of a state, in order."""
    if isinstance(state, Tensor):
        return [state]
    return [leaf for child in state for leaf in state_leaves(child)]


def as_reals(leaf: Tensor) -> Tensor:
    """Return a leaf as what every format of others can hold: complex numbers as pairs of real ones, (..., 2)."""
    return torch.view_as_real(leaf) if leaf.is_complex() else leaf


def from_reals(like: Tensor, reals: Tensor) -> Tensor:
    """Undo :func:`as_reals`, for a leaf like another."""
    return torch.view_as_complex(reals) if like.is_complex() else reals


def where_state(mask: Tensor, yes: S, no: S) -> S:
    """Return, row by row, ``yes`` where the (B,) mask is true and ``no`` elsewhere."""
    return map_state(lambda a, b: torch.where(mask.view(-1, *(1,) * (a.dim() - 1)), a, b), yes, no)


def restart_state(starts: Tensor, initial: S, state: S) -> S:
    """Return, row by row, the ``initial`` state where an episode begins and the present one elsewhere.

    A leaf named ``key`` is what random draws are made of, and goes on over the starts of episodes, which would else all
    draw alike.

    :param starts: (B,) booleans
    """
    if not isinstance(state, tuple):
        return where_state(starts, initial, state)
    leaves = zip(state._fields, initial, state, strict=True)  # type: ignore[attr-defined]
    return type(state)(*(old if name == "key" else restart_state(starts, new, old) for name, new, old in leaves))


def draw_keys(state: S) -> S:
    """The state with keys of torch's random numbers: other draws for each row. In an initial state all keys are 0."""
    if not isinstance(state, tuple):
        return state
    fields: Iterable[tuple[str, Any]] = zip(state._fields, state, strict=True)  # type: ignore[attr-defined]
    return type(state)(
        *(
            torch.randint(2**62, leaf.shape).to(leaf.device) if name == "key" else draw_keys(leaf)
            for name, leaf in fields
        )
    )


def advance_keys(state: S, steps: int | Tensor) -> S:
    """The state with its keys as they are so many steps later, all else as it is.

    :param steps: of all rows, or of each, (B,)
    """
    if not isinstance(state, tuple):
        return state
    fields: Iterable[tuple[str, Any]] = zip(state._fields, state, strict=True)  # type: ignore[attr-defined]
    return type(state)(*(leaf + steps if name == "key" else advance_keys(leaf, steps) for name, leaf in fields))


def select_rows(state: S, rows: Tensor | Sequence[int]) -> S:
    """The state of some rows of the batch."""
    return map_state(lambda leaf: leaf[rows], state)


def detach_state(state: S) -> S:
    """The state without its history: the cut at a window's edge."""
    return map_state(lambda leaf: leaf.detach(), state)


_overwriting = ContextVar("_overwriting", default=False)


@contextlib.contextmanager
def overwriting() -> Iterator[None]:
    """Let cores write over the states that they are given, where no gradient is asked for.

    For whoever acts step by step and keeps no state but the last: a large memory is then changed where it is, instead
    of copied in every step. A state given within is not to be used again.
    """
    token = _overwriting.set(True)
    try:
        yield
    finally:
        _overwriting.reset(token)


def may_overwrite() -> bool:
    """Whether a core may write over the state that it is given now, see :func:`overwriting`."""
    return _overwriting.get() and not torch.is_grad_enabled()


# --- helpers --------------------------------------------------------------------------------------------------------


def stack_dicts(steps: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """T dicts of (B, ...) tensors to one dict of (T, B, ...) tensors."""
    return {name: torch.stack([step[name] for step in steps]) for name in steps[0]}


def full_precision(tensor: Tensor) -> torch.autocast:
    """The context in which a memory is read and written: no autocast, so that it stays float32."""
    return torch.autocast(tensor.device.type, enabled=False)
