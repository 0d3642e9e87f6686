"""The promises of a core's states, rows and episodes."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memagents.cores import MemoryCore
from memagents.cores.core import (
    Step,
    Unrolled,
    map_state,
    restart_state,
    select_rows,
    state_leaves,
    where_state,
)
from memagents.testing.conformance import agree, are_close, check, require
from memagents.testing.core_case import (
    CoreCase,
    agree_states,
    as_the_parameters,
    float_leaves,
    gradients,
    is_float,
    outcome,
    with_gradients,
)

# --- shapes and states ------------------------------------------------------------------------------------------------


@check(
    "Outputs are (B, O) of each step with O the output_size given to MemoryCore.__init__; losses are (B,); each entry "
    "of the trace begins with B. A recur of the core's own stacks all of these to (T, B, ...), the trace only if asked."
)
def shapes(case: CoreCase) -> None:
    """Outputs, losses and trace of a window and of one step have the shapes of the contract. Two windows."""
    core, leading = case.make(), (case.steps, case.batch_size)
    outputs, state, losses, trace = core.unroll(
        case.inputs(), core.initial_state(case.batch_size), case.no_starts(), trace=True
    )
    _require_shape("outputs", outputs, (*leading, core.output_size), exactly=True)
    _require_entries("losses", losses, leading, exactly=True)
    _require_entries("trace", trace, leading, exactly=False)
    silent = core.unroll(case.inputs(), core.initial_state(case.batch_size), case.no_starts())
    require(silent.trace == {}, f"unroll gave a trace of {list(silent.trace)} without being asked for one")
    step = core(case.inputs()[0], state)
    _require_shape("outputs of one step", step.outputs, (case.batch_size, core.output_size), exactly=True)
    for what, one, window in (("losses", step.losses, losses), ("trace", step.trace, trace)):
        seen = {name: tuple(tensor.shape) for name, tensor in one.items()}
        expected = {name: tuple(tensor.shape[1:]) for name, tensor in window.items()}
        require(seen == expected, f"{what} of one step are {seen}, but those of a window without its T {expected}")


def _require_entries(what: str, entries: dict[str, Tensor], leading: tuple[int, int], exactly: bool) -> None:
    require(isinstance(entries, dict), f"{what} must be a dict of tensors, not {type(entries).__name__}")
    for name, tensor in entries.items():
        require(isinstance(name, str), f"{what} must be named by strings, not by {name!r}")
        _require_shape(f"{what}[{name!r}]", tensor, leading, exactly)


def _require_shape(what: str, tensor: Tensor, leading: tuple[int, ...], exactly: bool) -> None:
    require(isinstance(tensor, Tensor), f"{what} must be a tensor, not {type(tensor).__name__}")
    seen = tuple(tensor.shape)
    expected = f"({', '.join(map(str, leading))}{'' if exactly else ', ...'})"
    require((seen if exactly else seen[: len(leading)]) == leading, f"{what} must have shape {expected}, not {seen}")


@check(
    "A state is a NamedTuple of tensors, nested where natural. Every leaf has the batch first; step returns each leaf "
    "with the shape and dtype that initial_state gave it (mind .float(), .long() and promotion). A leaf named key is "
    "int64 (B,) and made for random draws alone."
)
def states(case: CoreCase) -> None:
    """State leaves are batch-first; shape and dtype never change, in float32 and float64. Two windows, no gradients."""
    for dtype in (torch.float32, torch.float64):
        core = case.make(dtype)
        initial, again, one = (core.initial_state(rows) for rows in (case.batch_size, case.batch_size, 1))
        _require_named_tuple(initial)
        leaves = state_leaves(initial)
        require(leaves, "the state has no leaf; a core without memory keeps one of shape (B, 0)")
        agree("two initial states", leaves, state_leaves(again), rtol=0, atol=0)
        for number, (leaf, single) in enumerate(zip(leaves, state_leaves(one), strict=True)):
            what = f"leaf {number} of initial_state"
            _require_shape(what, leaf, (case.batch_size, *single.shape[1:]), exactly=True)
            require(torch.equal(leaf, single.expand_as(leaf)), f"{what} does not begin alike in all rows")
            right = not leaf.is_floating_point() or leaf.dtype == dtype
            require(right, f"{what} is {leaf.dtype} in a core of {dtype}", as_the_parameters(core))
        _require_step(core, core.project(case.inputs(dtype=dtype)[0]), initial)
        _require_same_leaves(leaves, core(case.inputs(dtype=dtype)[0], initial).state, "a step")
        _require_same_leaves(leaves, case.used_state(core), "a window")


def _require_step(core: MemoryCore, x: Tensor, state: Any) -> None:
    step = core.step(x, state)
    require(
        isinstance(step, Step),
        f"step must return a memagents.cores.core.Step(features, state, losses, trace), not a {type(step).__name__}",
        "Write from memagents.cores.core import Step, and return Step(features, state, {}, {}) where there are no "
        "losses and no trace.",
    )


def _require_same_leaves(initial: list[Tensor], state: Any, when: str) -> None:
    _require_named_tuple(state)
    leaves = state_leaves(state)
    require(len(leaves) == len(initial), f"the state has {len(leaves)} leaves after {when}, {len(initial)} before")
    for number, (leaf, later) in enumerate(zip(initial, leaves, strict=True)):
        what = f"leaf {number} of the state"
        _require_shape(f"{what} after {when}", later, tuple(leaf.shape), exactly=True)
        require(leaf.dtype == later.dtype, f"{what} is {leaf.dtype} in initial_state and {later.dtype} after {when}")


def _require_named_tuple(state: Any) -> None:
    require(
        isinstance(state, tuple) and hasattr(state, "_fields"),
        f"a state must be a NamedTuple, not {type(state).__name__}",
    )
    for name, leaf in zip(state._fields, state, strict=True):
        if not isinstance(leaf, Tensor):
            _require_named_tuple(leaf)
        elif name == "key":
            require(
                leaf.dtype == torch.int64 and leaf.dim() == 1,
                f"the leaf key must be int64 (B,), not {leaf.dtype} {tuple(leaf.shape)}",
            )


@check("Make new leaves in each initial_state; of a learned initial state .expand(B, ...).clone().")
def initial_state(case: CoreCase) -> None:
    """What is written to a row of an initial state reaches no other row, leaf or parameter. No window."""
    core = case.make()
    parameters = copy.deepcopy(dict(core.named_parameters()))
    with torch.no_grad():
        leaves = state_leaves(core.initial_state(case.batch_size))
        expected = [leaf.clone() for leaf in leaves]
        for leaf, changed in zip(leaves, expected, strict=True):
            leaf[case.row] += 1
            changed[case.row] += 1
    agree("leaves after a row of each was written to", leaves, expected, rtol=0, atol=0)
    agree("parameters after an initial state was written to", dict(core.named_parameters()), parameters, 0, 0)


# --- nothing but the arguments ----------------------------------------------------------------------------------------


@check(
    "Keep everything of a sequence in the state, which the caller carries, and constants in buffers (register_buffer), "
    "which move with .to() and are saved."
)
def nothing_kept(case: CoreCase) -> None:
    """A window and a step leave all modules' attributes as they were; no tensor hides from ``.to()``. One window."""
    core = case.make()
    kept, buffers = _attributes(core), {path: buffer.clone() for path, buffer in core.named_buffers()}
    core.unroll(case.inputs(), core.initial_state(case.batch_size), case.no_starts(), trace=True)
    core(case.inputs()[0], core.initial_state(case.batch_size))
    now = _attributes(core)
    for name in kept.keys() | now.keys():
        require(name in kept, f"a window left {name} on the module")
        require(name in now and _same(kept[name], now[name]), f"a window changed {name} of the module")
        require(not any(isinstance(value, Tensor) for value in kept[name]), f"{name} is a tensor but not a buffer")
    agree("buffers before and after a window", dict(core.named_buffers()), buffers, rtol=0, atol=0)


def _attributes(core: nn.Module) -> dict[str, list[Any]]:
    """Every attribute of every module by its path; of containers what they hold."""
    owned = ("_parameters", "_buffers", "_modules")
    return {
        f"{path}.{name}".lstrip("."): _held(value)
        for path, module in core.named_modules()
        for name, value in vars(module).items()
        if name not in owned
    }


def _held(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set) else [value]


def _same(before: list[Any], after: list[Any]) -> bool:
    def alike(a: Any, b: Any) -> bool:
        return a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and bool(np.all(a == b)))

    return len(before) == len(after) and all(map(alike, before, after))


@check(
    "Draw from keys in the state (memagents.memory.draws), never from the generators of torch, NumPy or Python, or "
    "acting and learning cannot agree; and keep nothing of a sequence outside the state."
)
def same_again(case: CoreCase) -> None:
    """The same call twice gives the same to the last bit, and draws from no global generator. Three windows."""
    core = case.make()
    state, begun = case.used_state(core), case.random_starts(0.2)
    torch_generator, python_generator = torch.get_rng_state(), random.getstate()
    numpy_generator = np.random.get_state()  # noqa: NPY002
    first, second = (core.unroll(case.inputs(), state, begun) for _ in range(2))
    require(torch.equal(torch.get_rng_state(), torch_generator), "a window draws from torch's global generator")
    require(random.getstate() == python_generator, "a window draws from Python's global generator")
    require(
        all(map(np.array_equal, np.random.get_state(), numpy_generator)),  # noqa: NPY002
        "a window draws from NumPy's global generator",
    )
    for what in ("outputs", "losses"):
        agree(f"{what} of the same call made twice", getattr(second, what), getattr(first, what), rtol=0, atol=0)
    agree_states("states after the same call made twice", second.state, first.state, rtol=0, atol=0)


@check("Return new tensors; change none of the arguments in place, nor views of them.")
def arguments(case: CoreCase) -> None:
    """A window changes neither its inputs nor the state nor the starts it is given. One window."""
    core = case.make()
    inputs, state, begun = case.inputs(), case.used_state(core), case.one_start(case.begin, case.row)
    before = copy.deepcopy((inputs, state_leaves(state), begun))
    core.unroll(inputs, state, begun, trace=True)
    agree("arguments before and after a window", (inputs, state_leaves(state), begun), before, rtol=0, atol=0)


# --- rows and episodes ------------------------------------------------------------------------------------------------


@check("project and readout treat each step of each row by itself: nothing in them may look along time or batch.")
def pointwise(case: CoreCase) -> None:
    """``project`` and ``readout`` over a window are those of each step, and of each row, alone. No window."""
    core = case.make()
    inputs, state = case.inputs(), case.used_state(core)
    with torch.no_grad():
        projected = core.project(inputs)
        features = torch.stack([core.step(x, state).features for x in projected])
        for name, function, values in (("project", core.project, inputs), ("readout", core.readout, features)):
            window = function(values)
            by_step = torch.stack([function(step) for step in values])
            by_row = torch.stack([function(row) for row in values.unbind(1)], dim=1)
            agree(f"{name} of a window and of its steps", window, by_step, rtol=1e-10, atol=1e-12)
            agree(f"{name} of a window and of its rows", window, by_row, rtol=1e-10, atol=1e-12)


@check(
    "A row is an environment of its own: no mean, norm, softmax, sort or search over the batch (dimension 0), and no "
    "reshape that takes B apart. BatchNorm mixes rows."
)
def rows(case: CoreCase) -> None:
    """Other inputs of one row leave all others equal to the last bit, other starts but for rounding; gradients stay in
    their row. Two windows a row of the batch, one more with gradients."""
    core = case.make()
    state, inputs, begun = case.used_state(core), case.inputs(), case.random_starts(0.2)
    with torch.no_grad():
        before = core.unroll(inputs, state, begun)
        for row in range(case.batch_size):
            other_inputs, other_starts = inputs.clone(), begun.clone()
            other_inputs[:, row], other_starts[:, row] = case.inputs(seed=3)[:, row], ~begun[:, row]
            others = [b for b in range(case.batch_size) if b != row]
            after = core.unroll(other_inputs, state, begun)
            _same_rows(others, after, before, f"with other inputs in row {row}", rtol=0, atol=0)
            # Where episodes begin may decide on the shapes of what is computed, and so on rounding.
            after = core.unroll(other_inputs, state, other_starts)
            _same_rows(others, after, before, f"with other inputs and starts in row {row}", rtol=1e-10, atol=1e-12)
    _gradients_stay_in_their_row(case, core)


def _same_rows(rows: list[int], after: Unrolled, before: Unrolled, what: str, rtol: float, atol: float) -> None:
    agree(f"outputs of other rows {what}", after.outputs[:, rows], before.outputs[:, rows], rtol, atol)
    ends = [select_rows(result.state, rows) for result in (after, before)]
    agree_states(f"states of other rows {what}", ends[0], ends[1], rtol, atol)
    for name, loss in after.losses.items():
        agree(f"losses {name!r} of other rows {what}", loss[:, rows], before.losses[name][:, rows], rtol, atol)


def _gradients_stay_in_their_row(case: CoreCase, core: MemoryCore) -> None:
    inputs, state = case.inputs().requires_grad_(), with_gradients(case.used_state(core))
    result = core.unroll(inputs, state, case.one_start(case.begin, 0))
    row, leaves = case.row, float_leaves(state)
    of_row = outcome(result.outputs[:, row], select_rows(result.state, [row]), {})
    to_inputs, *to_leaves = gradients(of_row, [inputs, *leaves])
    others = [b for b in range(case.batch_size) if b != row]
    require((to_inputs[:, others] == 0).all(), f"gradients of row {row} reach the inputs of other rows")
    require(all((grad[others] == 0).all() for grad in to_leaves), f"gradients of row {row} reach other rows' states")


@check("Make each output of a row from that row alone; a leaf of the state has the rows in the batch's order.")
def picked_rows(case: CoreCase) -> None:
    """States can be picked and joined by row; a step of some rows is that of all. Two steps."""
    core = case.make()
    state, initial = case.used_state(core), core.initial_state(case.batch_size)
    mask = torch.arange(case.batch_size) % 2 == 0
    for leaf, fresh, old in zip(*map(state_leaves, (where_state(mask, initial, state), initial, state)), strict=True):
        agree("rows joined", (leaf[mask], leaf[~mask]), (fresh[mask], old[~mask]), rtol=0, atol=0)
    some = [case.batch_size - 1, 0]
    x = case.inputs()[0]
    picked = core(x[some], select_rows(state, some)).outputs
    agree("outputs of some rows alone and among all", picked, core(x, state).outputs[some], rtol=1e-10, atol=1e-12)


_LATE = (
    "The reset comes one step late: where starts[t] is true, set the row to its initial state before step t (as "
    "MemoryCore.recur does), not after it."
)
_NEVER = "A recur of the core's own must set each row to its initial state before step t wherever starts[t] is true."


@check(
    "Something of the earlier episode survives a start: set the whole state of the row to its initial state before "
    "step t, by restart_state. Only a leaf named key goes on."
)
def starts(case: CoreCase) -> None:
    """From a start on, at every position, everything is as from a fresh state. Two windows a step, no gradients."""
    core = case.make()
    state, inputs, row = case.used_state(core), case.inputs(), case.row
    with torch.no_grad():
        for step in range(case.steps):
            result = core.unroll(inputs, state, case.one_start(step, row))
            expected = core.unroll(
                inputs[step:], _restarted(case, core, state, step), case.no_starts(case.steps - step)
            )
            seen, right = result.outputs[step:, row], expected.outputs[:, row]
            what = f"from a start at step {step} of row {row} on and of a fresh state"
            if not are_close(seen, right, rtol=1e-10, atol=1e-12):
                require(not _is_late(case, core, state, result.outputs[:, row], step), f"outputs {what} differ", _LATE)
                unreset = core.unroll(inputs, state, case.no_starts()).outputs[:, row]
                never = are_close(result.outputs[:, row], unreset)
                require(not never, f"outputs {what} differ: they are those without the start", _NEVER)
            agree(f"outputs {what}", seen, right, rtol=1e-10, atol=1e-12)
            ends = [select_rows(end.state, [row]) for end in (result, expected)]
            agree_states(f"states after a window {what}", ends[0], ends[1], rtol=1e-10, atol=1e-12)


def _restarted(case: CoreCase, core: MemoryCore, state: Any, step: int) -> Any:
    """The state before a step, the examined row as at the beginning of an episode."""
    if step:
        state = core.unroll(case.inputs()[:step], state, case.no_starts(step)).state
    return restart_state(torch.arange(case.batch_size) == case.row, core.initial_state(case.batch_size), state)


def _is_late(case: CoreCase, core: MemoryCore, state: Any, outputs: Tensor, step: int) -> bool:
    """Whether outputs (T, O) of the row are those of a start one step after ``step``."""
    if step + 1 >= case.steps:
        return False
    late = core.unroll(
        case.inputs()[step + 1 :], _restarted(case, core, state, step + 1), case.no_starts(case.steps - step - 1)
    )
    return are_close(outputs[step + 1 :], late.outputs[:, case.row])


@check(
    "Something of the earlier episode reaches the new one: reset every leaf by torch.where (restart_state), which cuts "
    "values and gradients, not by a product with 1 - start, through which NaN passes."
)
def leaks(case: CoreCase) -> None:
    """No gradient and not even NaN passes a start; the new episode is that of the row alone. Four windows."""
    core, row, begin = case.make(), case.row, case.begin
    inputs, state = case.inputs().requires_grad_(), with_gradients(case.used_state(core))
    begun = case.one_start(begin, row)
    result = core.unroll(inputs, state, begun)
    after = outcome(result.outputs[begin:, row], select_rows(result.state, [row]), {})
    to_inputs, *to_leaves = gradients(after, [inputs, *float_leaves(state)])
    require((to_inputs[:begin] == 0).all(), f"gradients after a start at step {begin} reach inputs before it")
    require(all((grad == 0).all() for grad in to_leaves), "gradients after a start reach the state before the window")

    before = core.unroll(inputs[:begin], state, begun[:begin]).state
    fresh = restart_state(torch.tensor([True]), core.initial_state(1), select_rows(before, [row]))  # the same draws
    alone = core.unroll(inputs[begin:, [row]], fresh, case.no_starts(case.steps - begin, 1))
    agree("outputs after a start and of the row alone", result.outputs[begin:, [row]], alone.outputs, 1e-10, 1e-12)
    end = select_rows(result.state, [row])
    agree_states("states after a start and of the row alone", end, alone.state, rtol=1e-10, atol=1e-12)

    broken = map_state(lambda leaf: torch.full_like(leaf, torch.nan) if is_float(leaf) else leaf, case.used_state(core))
    begun = case.no_starts()
    begun[0] = True
    outputs, end, _, _ = core.unroll(case.inputs(), broken, begun)
    finite = outputs.isfinite().all() and all(leaf.isfinite().all() for leaf in state_leaves(end))
    require(finite, "NaN in the state before a start is seen after it")
