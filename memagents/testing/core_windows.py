"""A core's window, computed in other ways: all are one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from memagents.cores import MemoryCore
from memagents.cores.core import state_leaves, unroll_by_steps
from memagents.cores.recompute import unroll_in_chunks
from memagents.testing.conformance import agree, check
from memagents.testing.core_case import CoreCase, agree_states, all_gradients, by_forward, with_gradients


@check("The core's own recur must equal MemoryCore.recur, the loop of step, in values and gradients.")
def recur(case: CoreCase) -> None:
    """The core's window equals the default loop, values and gradients. Two windows for each pattern of starts."""
    core = case.make()
    for name, begun in case.start_patterns():
        _same_window(case, core, begun, name, unroll_by_steps, "the loop of step")


@check("A window must be its steps one after another, whatever its length: see recur, step and forward.")
def steps(case: CoreCase) -> None:
    """A window equals its steps one by one, values and gradients. Two windows for each of three patterns of starts."""
    core = case.make()
    for name, begun in islice(case.start_patterns(), 3):  # a single start at every position: see recur
        _same_window(case, core, begun, name, by_forward, "one-step calls")


@check("A window must not depend on where an earlier one ended: keep all of the past in the state.")
def halves(case: CoreCase) -> None:
    """A window in two halves is the window. Two windows, no gradients."""
    core, middle, begun = case.make(), case.begin, case.random_starts(0.2, seed=6)
    state, inputs = case.used_state(core), case.inputs()
    with torch.no_grad():
        whole = core.unroll(inputs, state, begun)
        first = core.unroll(inputs[:middle], state, begun[:middle])
        second = core.unroll(inputs[middle:], first.state, begun[middle:])
    outputs = torch.cat([first.outputs, second.outputs])
    agree("outputs of two halves and of the whole", outputs, whole.outputs, rtol=1e-10, atol=1e-12)
    agree_states("states after two halves and after the whole", second.state, whole.state, rtol=1e-10, atol=1e-12)


@check("Backward computes the chunks again: recur must give the same when it is called again within backward.")
def chunks(case: CoreCase) -> None:
    """A window in chunks that backward computes again is the window, values and gradients. Three windows."""

    in_chunks = partial(unroll_in_chunks, steps=case.begin)
    begun = case.random_starts(0.2, seed=6)
    _same_window(case, case.make(), begun, "with random starts", in_chunks, "recomputed chunks")


def _same_window(
    case: CoreCase, core: MemoryCore, begun: Tensor, name: str, other: Callable[..., Any], other_name: str
) -> None:
    """Compare ``core.unroll`` with another way to compute a window."""
    results: list[dict[str, Any]] = []
    for unroll in (MemoryCore.unroll, other):
        inputs, state = case.inputs().requires_grad_(), with_gradients(case.used_state(core))
        outputs, after, losses = unroll(core, inputs, state, begun)[:3]
        grads = all_gradients(core, inputs, state, (outputs, after, losses))
        results.append({"outputs": outputs, "states": state_leaves(after), "losses": losses, "gradients": grads})
    for what, seen in results[0].items():
        agree(f"{what} of unroll and of {other_name}, {name},", seen, results[1][what])
