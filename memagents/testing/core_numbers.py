"""The promises of a core's gradients and numbers, of its trace, and of moving and saving it."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.func import functional_call

from memagents.cores import MemoryCore
from memagents.cores.core import map_state, state_leaves
from memagents.testing.conformance import Difference, agree, check, require
from memagents.testing.core_case import (
    CoreCase,
    all_gradients,
    as_the_parameters,
    float_leaves,
    gradients,
    is_float,
    outcome,
    trained,
    with_gradients,
)

# --- gradients --------------------------------------------------------------------------------------------------------


@check(
    "Never detach the core's own history (detach, no_grad, .data, .item()): the edge of the window is the cut. Where a "
    "paper asks for a stop-gradient, skip this check by name and say so in the docstring."
)
def history(case: CoreCase) -> None:
    """What later outputs depend on gets a gradient from them: the first input, and the state before. Three windows."""
    core = case.make()
    inputs, state = case.inputs().requires_grad_(), with_gradients(case.used_state(core))
    result = core.unroll(inputs, state, case.no_starts())
    leaves = float_leaves(state)
    to_inputs, *to_leaves = gradients(outcome(result.outputs[1:], (), {}), [inputs, *leaves])
    with torch.no_grad():
        moved = inputs.clone()
        moved[0] += 1e-3 * case.inputs(seed=4)[0]
        by_input = core.unroll(moved, state, case.no_starts()).outputs[1:] - result.outputs[1:]
        nudged = map_state(
            lambda leaf: leaf + 1e-3 * leaf.abs().mean() if is_float(leaf) and leaf.numel() else leaf, state
        )
        by_state = core.unroll(inputs, nudged, case.no_starts()).outputs[1:] - result.outputs[1:]
    seen = "later outputs depend on {}, but no gradient goes back to it"
    require(_small(by_input) or to_inputs[0].any(), seen.format("the first input"))
    require(_small(by_state) or any(grad.any() for grad in to_leaves), seen.format("the state before the window"))


def _small(change: Tensor) -> bool:
    return bool((change.abs() < 1e-9).all())


@check(
    "Use every parameter in project, step or readout, without detaching what it makes; freeze one on purpose with "
    "requires_grad=False. A parameter that only a long episode uses needs smaller sizes, or more steps."
)
def reach(case: CoreCase) -> None:
    """Gradients reach the input of every step of every row, and every trained parameter. One window."""
    core = case.make()
    inputs, state = case.inputs().requires_grad_(), with_gradients(case.used_state(core))
    result = core.unroll(inputs, state, case.random_starts(0.3))  # a learned initial state is reached from starts
    weights = trained(core)
    to_inputs, *to_weights = gradients(outcome(*result[:3]), [inputs, *weights.values()])
    missed = (to_inputs == 0).all(dim=2).nonzero().tolist()
    require(not missed, f"no gradient reaches the input of (step, row) {missed}")
    idle = [name for name, grad in zip(weights, to_weights, strict=True) if grad.numel() and not grad.any()]
    require(not idle, f"no gradient reaches the parameters {', '.join(idle)}")


@check(
    "Keep roots, norms, logarithms and divisions away from zero (a small constant inside), softmax and exponentials "
    "from overflow; keep the memory in float32 under autocast (memagents.cores.core.full_precision)."
)
def finite(case: CoreCase) -> None:
    """Outputs, states and gradients stay finite for zero, huge, repeated and random inputs, in float32 and under
    bfloat16 autocast; the state keeps its types. Eight windows of 12 steps."""
    core = case.make(torch.float32)
    random = case.inputs(12, torch.float32)
    kinds = {"zero": 0 * random, "huge": 1e4 * random, "repeated": random[:1].expand_as(random), "random": random}
    for kind, values in kinds.items():
        for autocast in (False, True):
            what = f"with {kind} inputs{' under bfloat16 autocast' if autocast else ''}"
            _require_finite(case, core, values.clone().requires_grad_(), autocast, what)


def _require_finite(case: CoreCase, core: MemoryCore, inputs: Tensor, autocast: bool, what: str) -> None:
    initial = with_gradients(core.initial_state(case.batch_size))
    begun = case.no_starts(len(inputs))
    begun[7, 0] = True
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs, state, losses, _ = core.unroll(inputs, initial, begun)
        step = core(inputs[0], state)
    for leaf, stepped, fresh in zip(*map(state_leaves, (state, step.state, initial)), strict=True):
        require(
            leaf.dtype == stepped.dtype == fresh.dtype,
            f"a leaf of the state is {fresh.dtype} at first and {leaf.dtype} after a window {what}",
            "Turn what step puts into the state into the type that the state had: new.to(old.dtype).",
        )
        require(
            not leaf.is_floating_point() or leaf.dtype == torch.float32, f"a leaf of the state is {leaf.dtype} {what}"
        )
        require(leaf.isfinite().all(), f"the state is not finite {what}")
    require(outputs.isfinite().all(), f"outputs are not finite {what}")
    grads = all_gradients(core, inputs, initial, (outputs.float(), state, losses))
    require(all(grad.isfinite().all() for grad in grads), f"gradients are not finite {what}")


@check("Under bfloat16 autocast only the matrix products may be rough; read and write the memory in full_precision.")
def autocast(case: CoreCase) -> None:
    """Under bfloat16 autocast the outputs change by little. Two windows, no gradients."""
    core, inputs = case.make(torch.float32), case.inputs(dtype=torch.float32)
    with torch.no_grad():
        exact = core.unroll(inputs, core.initial_state(case.batch_size), case.no_starts()).outputs
        with torch.autocast("cpu", torch.bfloat16):
            rough = core.unroll(inputs, core.initial_state(case.batch_size), case.no_starts()).outputs
    scale = max(1.0, exact.abs().max().item())
    agree("outputs with and without autocast", rough.float(), exact, rtol=0.05, atol=0.05 * scale)


@check(
    "Gradients and finite differences differ: look for detach, in-place changes, a backward of the core's own, "
    "rounding and sorting. A core with stop-gradients, ties or straight-through estimators skips this check and is "
    "compared with a dense reference in a test of its own."
)
def gradcheck(case: CoreCase) -> None:
    """Gradients equal finite differences in float64, with respect to inputs, state and parameters, from a used state.

    Three steps of two rows; a dozen windows.
    """
    core, small = case.make(), CoreCase(case.maker, case.parameters, case.input_size, batch_size=2, steps=3)
    state = with_gradients(small.used_state(core))
    leaves, weights = state_leaves(state), trained(core)
    places = [number for number, leaf in enumerate(leaves) if leaf.requires_grad and leaf.numel()]
    names = [f"core.{name}" for name in weights]

    def window(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        changed = list(leaves)
        for place, leaf in zip(places, rest, strict=False):
            changed[place] = leaf
        iterator = iter(changed)
        replaced = map_state(lambda _: next(iterator), state)
        replacing = dict(zip(names, rest[len(places) :], strict=True))
        outputs, after, losses, _ = functional_call(_Unroll(core), replacing, (inputs, replaced, small.no_starts()))
        return outputs, *(leaf for leaf in state_leaves(after) if leaf.requires_grad), *losses.values()

    sources = (small.inputs().requires_grad_(), *(leaves[place] for place in places), *weights.values())
    try:
        torch.autograd.gradcheck(window, sources, fast_mode=True)
    except GradcheckError as error:
        raise Difference(str(error)) from None


class _Unroll(nn.Module):
    """A module whose ``forward`` is ``unroll``, for ``functional_call``."""

    def __init__(self, core: MemoryCore):
        super().__init__()
        self.core = core

    def forward(self, *arguments: Any) -> Any:
        return self.core.unroll(*arguments)


# --- the trace --------------------------------------------------------------------------------------------------------


@check(
    "Entries named *_weights and *_modes are shown as shares: keep them non-negative, with a sum over the last "
    "dimension of at most 1 (of *_modes and of those named in distributions exactly 1), or name them otherwise."
)
def trace(case: CoreCase) -> None:
    """The trace is finite; weightings in it are weightings. One window of 20 steps, no gradients."""
    core = case.make()
    with torch.no_grad():
        shown = core.unroll(
            5 * case.inputs(20),
            core.initial_state(case.batch_size),
            case.random_starts(0.1, 20, seed=7),
            trace=True,
        ).trace
    missing = sorted(set(case.distributions) - shown.keys())
    require(not missing, f"distributions names {missing}, which the trace lacks; it has {sorted(shown)}")
    for name, tensor in shown.items():
        require(tensor.isfinite().all(), f"{name} is not finite")
        if name.endswith(("_weights", "_modes")):
            sums = tensor.sum(-1)
            require((tensor >= -1e-12).all(), f"{name} falls to {tensor.min():.3g}")
            require((sums <= 1 + 1e-9).all(), f"{name} has a sum of {sums.max():.3g}")
            if name in case.distributions or name.endswith("_modes"):
                agree(f"sums of {name} and 1", sums, torch.ones_like(sums), rtol=1e-9, atol=0)


# --- moving, saving, growing ------------------------------------------------------------------------------------------


@check(
    "Make states, masks and indices on the device and in the dtype of the parameters (weight.new_zeros); constants "
    "belong in buffers."
)
def moves(case: CoreCase) -> None:
    """``.to(float64)`` moves everything, states included, and so does another device. Three windows, no gradients."""
    core = case.make(torch.float32)
    with torch.no_grad():
        core.unroll(case.inputs(dtype=torch.float32), core.initial_state(case.batch_size), case.no_starts())
        core.to(torch.float64)
        outputs, state, _, _ = core.unroll(case.inputs(), core.initial_state(case.batch_size), case.no_starts())
        other = case.make()
        expected = other.unroll(case.inputs(), other.initial_state(case.batch_size), case.no_starts()).outputs
    for what, tensor in [("outputs", outputs), *(("a leaf of the state", leaf) for leaf in state_leaves(state))]:
        wrong = tensor.is_floating_point() and tensor.dtype != torch.float64
        require(not wrong, f"after .to(torch.float64) {what} is {tensor.dtype}")
    agree("outputs of a core moved to float64 and made so", outputs, expected, rtol=1e-4, atol=1e-5)
    meta = core.to("meta").initial_state(case.batch_size)
    there = all(leaf.device.type == "meta" for leaf in state_leaves(meta))
    require(there, "initial_state ignores the core's device", as_the_parameters(core))


@check("Make every tensor on the device of the parameters, and let nothing depend on the order of a device's sums.")
def gpu(case: CoreCase) -> None:
    """A GPU gives the same, values and gradients; nothing is asked where there is none. Two windows."""
    if not torch.cuda.is_available():
        return
    core, results = case.make(), []
    for device in ("cpu", "cuda"):
        core.to(device)
        inputs = case.inputs().to(device).requires_grad_()
        outputs, state, losses, _ = core.unroll(
            inputs, core.initial_state(case.batch_size), case.random_starts(0.3).to(device)
        )
        found = [outputs, *state_leaves(state), *losses.values()]
        require(all(tensor.device.type == device for tensor in found), f"on {device} something lies elsewhere")
        found.extend(gradients(outputs.square().sum(), [inputs, *trained(core).values()]))
        results.append([tensor.cpu() for tensor in found])
    agree("values and gradients on a GPU and on the CPU", results[1], results[0], rtol=1e-9, atol=1e-10)


@check("Keep all that is learned in parameters or buffers, and nothing that copy.deepcopy cannot copy.")
def saving(case: CoreCase) -> None:
    """``state_dict`` through a file, and ``copy.deepcopy``, give the same core to the last bit. Four windows."""
    core, other = case.make(), case.make(seed=9)

    def outputs(of: MemoryCore) -> Tensor:
        with torch.no_grad():
            return of.unroll(case.inputs(), of.initial_state(case.batch_size), case.no_starts()).outputs

    file = io.BytesIO()
    torch.save(core.state_dict(), file)
    file.seek(0)
    expected = outputs(core)
    if core.state_dict():
        require(not torch.equal(outputs(other), expected), "cores of other seeds give the same: no weight matters")
    other.load_state_dict(torch.load(file, weights_only=True))
    agree("outputs of a core and of one with its state_dict", outputs(other), expected, rtol=0, atol=0)
    agree("outputs of a core and of its copy", outputs(copy.deepcopy(core)), expected, rtol=0, atol=0)


@check("Leave unroll, check_window and the check in forward as they are in MemoryCore.")
def refusals(case: CoreCase) -> None:
    """Inputs and starts of the wrong shape get a ValueError that names them. No window."""
    core, size, rows = case.make(), case.input_size, case.batch_size
    state = core.initial_state(rows)
    wide, flat, empty = torch.zeros(case.steps, rows, size + 1), torch.zeros(rows, size), torch.zeros(0, rows, size)
    for inputs in (wide, flat, empty):
        begun = torch.zeros(len(inputs), rows, dtype=torch.bool)
        _refused("inputs", lambda inputs=inputs, begun=begun: core.unroll(inputs, state, begun))
    for begun in (case.no_starts(rows=rows + 1), case.no_starts(case.steps - 1), case.no_starts().float()):
        _refused("starts", lambda begun=begun: core.unroll(case.inputs(), state, begun))
    for inputs in (torch.zeros(rows, size + 1), torch.zeros(1, rows, size)):
        _refused("inputs", lambda inputs=inputs: core(inputs, state))


def _refused(name: str, call: Any) -> None:
    try:
        call()
    except ValueError as error:
        require(f"{name} must be" in str(error), f"wrong {name} are refused without saying what they must be: {error}")
    else:
        raise Difference(f"wrong {name} are taken")


@check(
    "with_more_slots takes the state_dict of such a core with fewer slots and returns one that this core can load; of "
    "its own it changes nothing."
)
def more_slots(case: CoreCase) -> None:
    """A core with an attribute ``slots`` takes the weights of one with fewer, where it offers that. One window."""
    core = case.make()
    slots = getattr(core, "slots", None)
    overridden = type(core).with_more_slots is not MemoryCore.with_more_slots
    if not isinstance(slots, int):
        return
    agree(
        "own weights before and after with_more_slots", core.with_more_slots(core.state_dict()), core.state_dict(), 0, 0
    )
    larger = case.with_parameters(slots=slots + 2).make()
    weights = core.state_dict()
    fits = all(larger.state_dict()[name].shape == tensor.shape for name, tensor in weights.items())
    if not overridden and not fits:
        return
    larger.load_state_dict(larger.with_more_slots(weights))
    with torch.no_grad():
        outputs = larger.unroll(case.inputs(), larger.initial_state(case.batch_size), case.no_starts()).outputs
    require(outputs.isfinite().all(), "with the weights of a core with fewer slots, outputs are not finite")
