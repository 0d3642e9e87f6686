"""Several memories at different clock rates, side by side: after the Clockwork RNN (Koutník et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores import make_core, register_core
from memagents.cores.core import MemoryCore, State, Step, Unrolled, map_state, select_rows, where_state


class Nothing(NamedTuple):
    """What is slower than the slowest core."""


class LevelState(NamedTuple):
    """One core of a stack. B rows, O its output size, X the width of what its ``project`` gives."""

    core: State
    output: Tensor  # (B, O), of its last step
    total: Tensor  # (B, X), of what it would have taken since then; (B, 0) of one that takes all
    slower: LevelState | Nothing  # the next core


class StackState(NamedTuple):
    """State of a stack of cores."""

    clock: Tensor  # int64 (B,), steps since the episode began
    first: LevelState


class _Level(NamedTuple):
    """One core's share of a window."""

    outputs: Tensor  # (T, B, O)
    state: LevelState  # but for the slower ones
    losses: dict[str, Tensor]
    trace: dict[str, Tensor] = {}


@register_core("stack")
class Stack(MemoryCore[StackState]):
    """Several cores of which each steps at a rate of its own; the outputs are all of theirs, side by side.

    A core of period p steps at an episode's first observation and then at every p-th. It takes the mean of its inputs
    since its last step (of what its ``project`` gives), so that none is lost, and its output stands until the next.
    What has to be kept for long is kept by a slow core in few steps; what has to be answered at once, by a fast one.

    The rates are those of the Clockwork RNN (Koutník et al. 2014, arXiv 1402.3511, section 3), which however is a
    single recurrent layer whose slow units see the present input alone, and whose fast ones see the slow.

    Over a window each core runs by its own fastest way on its own steps.

    :param input_size: width I of one input
    :param cores: name of all the cores, or a list with one for each period
    :param periods: steps from one step of a core to its next, for each core
    :param cores_kwargs: parameters of all the cores, or a list with those of each
    """

    def __init__(
        self,
        input_size: int,
        cores: str | Sequence[str] = "lstm",
        periods: Sequence[int] = (1, 4, 16),
        cores_kwargs: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
    ):
        if isinstance(periods, str) or not isinstance(periods, Sequence) or not periods:
            raise ValueError(f"periods must be a list of positive integers, not {periods!r}")
        self.periods = [positive_int("periods", period) for period in periods]
        names = _each("cores", cores, str, len(self.periods))
        kwargs = _each("cores_kwargs", cores_kwargs or {}, dict, len(self.periods))
        made = [make_core(name, input_size, **own) for name, own in zip(names, kwargs, strict=True)]
        super().__init__(input_size, sum(core.output_size for core in made))
        self.cores: Any = nn.ModuleList(made)
        with torch.no_grad():
            self._widths = [core.project(torch.zeros(1, input_size)).shape[-1] for core in made]

    def initial_state(self, batch_size: int) -> StackState:
        level: LevelState | Nothing = Nothing()
        like = next(self.parameters(), torch.zeros(0))
        for core, period, width in reversed(list(zip(self.cores, self.periods, self._widths, strict=True))):
            sizes = core.output_size, width if period > 1 else 0
            output, total = (like.new_zeros(batch_size, size) for size in sizes)
            level = LevelState(core.initial_state(batch_size), output, total, level)
        assert isinstance(level, LevelState)
        return StackState(torch.zeros(batch_size, dtype=torch.int64, device=like.device), level)

    def project(self, inputs: Tensor) -> Tensor:
        """What each core's own gives, side by side."""
        return torch.cat([core.project(inputs) for core in self.cores], dim=-1)

    def step(self, x: Tensor, state: StackState) -> Step[StackState]:
        """Step all cores, and take back what those did that were not due; traces show what each would do now."""
        levels = []
        for core, period, own, level in zip(
            self.cores, self.periods, x.split(self._widths, dim=-1), _levels(state.first), strict=True
        ):
            due, mean, total = state.clock % period == 0, own, level.total
            if period > 1:
                total = level.total + own
                mean = torch.where((state.clock == 0).unsqueeze(1), own, total / period)
            features, after, losses, trace = core.step(mean, level.core)
            output = torch.where(due.unsqueeze(1), core.readout(features), level.output)
            total = torch.where(due.unsqueeze(1), 0, total)
            held = LevelState(where_state(due, after, level.core), output, total, Nothing())
            levels.append(_Level(output, held, _where(due, losses), trace))
        outputs, first, losses, trace = _joined(levels)
        return Step(outputs, StackState(state.clock + 1, first), losses, trace)

    def recur(self, x: Tensor, state: StackState, starts: Tensor, trace: bool = False) -> Unrolled[StackState]:
        """Run each core's own ``recur`` on the steps at which it is due.

        The plain loop runs for a trace, where a core that is to be learned has no step in the window, and on a GPU,
        which would have to be waited for to know these steps.
        """
        steps = torch.arange(len(x), device=x.device).unsqueeze(1)
        clocks = steps - torch.where(starts, steps, -state.clock).cummax(0).values  # (T, B)
        due = [clocks % period == 0 for period in self.periods]
        plain = trace or x.device.type != "cpu"
        if plain or (torch.is_grad_enabled() and not all(bool(own.any()) for own in due)):
            return super().recur(x, state, starts, trace)
        parts = zip(
            self.cores, self.periods, x.split(self._widths, dim=-1), _levels(state.first), due, strict=True
        )  # fmt: skip
        levels = [
            _alone(core, own, level, starts)
            if period == 1
            else _sometimes(core, period, own, level, starts, clocks, when)
            for core, period, own, level, when in parts
        ]
        outputs, first, losses, _ = _joined(levels)
        return Unrolled(outputs, StackState(clocks[-1] + 1, first), losses, {})


def _each(name: str, given: Any, kind: type, count: int) -> list[Any]:
    """Return one for each core, of one for all or a list."""
    if isinstance(given, kind):
        return [given] * count
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(own, kind) for own in given):
        raise ValueError(f"{name} must be a {kind.__name__}, or a list with one for each of periods, not {given!r}")
    if len(given) != count:
        raise ValueError(f"{name} must be a {kind.__name__}, or a list of {count}, as periods has, not of {len(given)}")
    return list(given)


def _levels(level: LevelState | Nothing) -> list[LevelState]:
    """The states of the cores, each without the slower ones."""
    found = []
    while isinstance(level, LevelState):
        found.append(level._replace(slower=Nothing()))
        level = level.slower
    return found


def _joined(levels: Sequence[_Level]) -> tuple[Tensor, LevelState, dict[str, Tensor], dict[str, Tensor]]:
    """Outputs side by side, the states as one, losses and traces by the number of their core."""
    chain: LevelState | Nothing = Nothing()
    for level in reversed(levels):
        chain = level.state._replace(slower=chain)
    assert isinstance(chain, LevelState)
    outputs = torch.cat([level.outputs for level in levels], dim=-1)
    losses, trace = (
        {f"core_{number}_{name}": values for number, own in enumerate(parts) for name, values in own.items()}
        for parts in ([level.losses for level in levels], [level.trace for level in levels])
    )
    return outputs, chain, losses, trace


def _where(due: Tensor, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses where they are due, (B,) or (T, B), and zero elsewhere."""
    return {name: torch.where(due, values, 0) for name, values in losses.items()}


def _alone(core: MemoryCore, x: Tensor, level: LevelState, starts: Tensor) -> _Level:
    """A core that steps every time."""
    outputs, state, losses, _ = core.recur(x, level.core, starts)
    after = LevelState(state, outputs[-1].to(level.output.dtype, copy=True), level.total, Nothing())
    return _Level(outputs, after, losses)


def _sometimes(
    core: MemoryCore,
    period: int,
    x: Tensor,
    level: LevelState,
    starts: Tensor,
    clocks: Tensor,
    due: Tensor,
) -> _Level:
    """A core that steps where it is ``due``, (T, B); K is how often it does in a window, at most."""
    ticks = due.cumsum(0)  # how many so far
    counts = ticks[-1]
    most = int(counts.max())
    steps = torch.arange(len(x)).unsqueeze(1).expand_as(ticks)
    places = torch.where(due, ticks - 1, most)
    when = torch.zeros(most + 1, x.shape[1], dtype=torch.int64).scatter_(0, places, steps)[:most]  # (K, B)
    valid = torch.arange(most).unsqueeze(1) < counts
    begins = starts.gather(0, when) & valid

    x = x.to(level.total.dtype)
    # Of all inputs the sum up to the next tick; an episode's first tick takes its own alone.
    into = torch.where(due, ticks - 1, ticks).unsqueeze(2).expand_as(x)
    totals = torch.cat([level.total.unsqueeze(0), x.new_zeros(most, *x.shape[1:])]).scatter_add(0, into, x)
    fresh = (clocks.gather(0, when) == 0).unsqueeze(2)
    means = torch.where(fresh, _at(x, when), totals[:most] / period)  # (K, B, X)
    total = _at(totals, counts.unsqueeze(0))[0]

    outputs, state, losses, _ = _as_often(core, means, level.core, begins, counts)
    outputs = torch.cat([level.output.unsqueeze(0), outputs])  # the one that stands, and those of the ticks
    latest = (ticks - 1).clamp(min=0)
    after = LevelState(state, _at(outputs, counts.unsqueeze(0))[0], total, Nothing())
    losses = _where(due, {name: _at(values, latest) for name, values in losses.items()})
    return _Level(_at(outputs, ticks), after, losses)


def _at(values: Tensor, places: Tensor) -> Tensor:
    """``values[places[t, b], b]``, of (K, B, ...) and (T, B)."""
    return values[places, torch.arange(values.shape[1])]


def _as_often(core: MemoryCore, x: Tensor, state: State, starts: Tensor, counts: Tensor) -> Unrolled[State]:
    """Run each row through its first ``counts`` steps of (K, B, X); beyond them outputs are zero, and states stand."""
    batch = x.shape[1]
    parts: list[tuple[Tensor, Unrolled]] = []
    done = 0
    for count in counts.unique().tolist():
        if count == done:
            continue
        rows = (counts >= count).nonzero().squeeze(1)
        span = slice(done, count)
        own = core.recur(x[span].index_select(1, rows), select_rows(state, rows), starts[span][:, rows])
        if len(rows) == batch:
            state = own.state
        else:
            state = map_state(lambda all_, part, rows=rows: all_.index_copy(0, rows, part), state, own.state)
        parts.append((rows, own))
        done = count
    if not parts:
        return Unrolled(x.new_zeros(0, batch, core.output_size), state, {}, {})

    def joined(pieces: Sequence[Tensor]) -> Tensor:
        whole = [
            piece.new_zeros(len(piece), batch, *piece.shape[2:]).index_copy(1, rows, piece)
            for (rows, _), piece in zip(parts, pieces, strict=True)
        ]
        return torch.cat(whole)

    first = parts[0][1]
    losses = {name: joined([own.losses[name] for _, own in parts]) for name in first.losses}
    return Unrolled(joined([own.outputs for _, own in parts]), state, losses, {})
