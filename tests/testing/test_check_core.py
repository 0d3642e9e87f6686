"""Cores with one planted fault each: the kit finds it and names it; a healthy core passes."""

import random
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memagents.cores import MemoryCore, make_core
from memagents.cores.core import Step, Unrolled, restart_state, stack_dicts
from memagents.testing import CORE_CHECKS, ConformanceError, check_core, core_case

# What is planted, the check that must find it, and what it must say.
FAULTS = {
    "leak over a start": ("starts", "at step 0 of row 1 on and of a fresh state differ.*survives a start"),
    "never reset": ("starts", "they are those without the start"),
    "late reset": ("starts", "comes one step late"),
    "leak of gradients": ("leaks", "gradients after a start at step 4 reach inputs before it"),
    "leak of NaN": ("leaks", "NaN in the state before a start is seen after it"),
    "mean over rows": ("rows", "outputs of other rows with other inputs in row 0 differ"),
    "another recur": ("recur", "outputs of unroll and of the loop of step, without starts, differ"),
    "project over time": ("pointwise", "project of a window and of its steps differ"),
    "state turns float32": (
        "states",
        r"leaf 0 of the state is torch\.float64 in initial_state and torch\.float32 after a step",
    ),
    "state grows": ("states", r"leaf 0 of the state after a step must have shape \(3, 4\), not \(3, 5\)"),
    "state as a list": ("states", "must be a NamedTuple, not list"),
    "key of floats": ("states", r"the leaf key must be int64 \(B,\)"),
    "shared initial state": ("initial_state", "leaves after a row of each was written to differ"),
    "trace without batch": ("shapes", r"trace\['gate'\] must have shape \(9, 3, \.\.\.\), not \(9, 4\)"),
    "trace unasked": ("shapes", r"a trace of \['hidden'\] without being asked"),
    "loss per unit": ("shapes", r"losses\['cost'\] must have shape \(9, 3\), not \(9, 3, 4\)"),
    "outputs too wide": ("shapes", r"outputs must have shape \(9, 3, 3\), not \(9, 3, 4\)"),
    "kept on self": ("nothing_kept", "a window left last on the module"),
    "counter on self": ("nothing_kept", "a window changed calls of the module"),
    "tensor beside the buffers": ("nothing_kept", "scale is a tensor but not a buffer"),
    "torch's generator": ("same_again", "draws from torch's global generator"),
    "NumPy's generator": ("same_again", "draws from NumPy's global generator"),
    "Python's generator": ("same_again", "draws from Python's global generator"),
    "state in place": ("arguments", "arguments before and after a window differ"),
    "detached history": ("history", "depend on the first input, but no gradient goes back"),
    "detached now and then": ("gradcheck", "Jacobian mismatch"),
    "idle parameter": ("reach", "no gradient reaches the parameters idle"),
    "wrong backward": ("gradcheck", "Jacobian mismatch"),
    "square root at zero": ("finite", "gradients are not finite with zero inputs"),
    "exponential": ("finite", "not finite with huge inputs"),
    "weights below zero": ("trace", "gate_weights falls to -"),
    "not saved": ("saving", "outputs of a core and of one with its state_dict differ"),
    "float32 initial state": (
        "states",
        r"leaf 0 of initial_state is torch\.float32 in a core of torch\.float64.*self\.\S+\.new_zeros\(batch_size,",
    ),
    "device forgotten": (
        "moves",
        r"initial_state ignores the core's device.*self\.\S+\.new_zeros\(batch_size, \.\.\.\)",
    ),
    "step as a tuple": (
        "states",
        r"step must return a memagents\.cores\.core\.Step\(features, state, losses, trace\), not a tuple",
    ),
}


class State(NamedTuple):
    hidden: Tensor  # (B, H)


class Keyed(NamedTuple):
    hidden: Tensor
    key: Tensor


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return 1.5 * grad


class Healthy(MemoryCore):
    """h' = tanh(W x + U h): what a user writes. ``fault`` plants one."""

    def __init__(self, input_size, hidden_size=4, fault=None):
        super().__init__(input_size, 3 if fault == "outputs too wide" else hidden_size)
        self.fault, self.hidden_size = fault, hidden_size
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size)
        if fault == "idle parameter":
            self.idle = nn.Parameter(torch.ones(2))
        if fault == "tensor beside the buffers":
            self.scale = torch.ones(hidden_size)
        if fault == "not saved":
            self.offset = torch.randn(1).item()
        self.calls = 0

    def initial_state(self, batch_size):
        like, size = self.recurrent.weight, (batch_size, self.hidden_size)
        if self.fault == "shared initial state":
            return State(like.new_zeros(1, self.hidden_size).expand(size))
        if self.fault == "state as a list":
            return [like.new_zeros(size)]
        if self.fault == "float32 initial state":
            return State(torch.zeros(size))
        if self.fault == "key of floats":
            return Keyed(like.new_zeros(size), like.new_zeros(batch_size))
        if self.fault == "device forgotten":
            return State(torch.zeros(size, dtype=like.dtype))
        return State(like.new_zeros(size))

    def project(self, inputs):
        x = self.inputs(inputs)
        return x.cumsum(0) if self.fault == "project over time" and inputs.dim() == 3 else x

    def step(self, x, state):
        fault, hidden = self.fault, state[0]
        if fault == "detached history":
            hidden = hidden.detach()
        if fault == "detached now and then" and (hidden.abs().sum() > 3):
            hidden = hidden.detach() + 0.5 * (hidden - hidden.detach())
        if fault == "mean over rows":
            hidden = hidden - hidden.mean(0)
        if fault == "state in place":
            hidden.data.mul_(0.5)
        before = x + self.recurrent(hidden[:, : self.hidden_size])
        hidden = before.tanh().to(state[0].dtype)
        hidden = self.random(hidden)
        if fault == "wrong backward":
            hidden = Wrong.apply(hidden)
        if fault == "square root at zero":
            hidden = hidden + (x - self.inputs.bias).square().sum(-1, keepdim=True).sqrt()
        if fault == "exponential":
            hidden = hidden + 1e-3 * x.exp()
        if fault == "not saved":
            hidden = hidden + self.offset
        self.keep(hidden)
        losses = {"cost": hidden.abs() if fault == "loss per unit" else hidden.abs().mean(-1)}
        trace = {"hidden": hidden, "gate": hidden.sigmoid()}
        if fault == "trace without batch":
            trace["gate"] = hidden[0]
        if fault == "weights below zero":
            trace["gate_weights"] = hidden / 10
        step = Step(hidden, self.after(hidden, state), losses, trace)
        return tuple(step) if fault == "step as a tuple" else step

    def random(self, hidden):
        if self.fault == "torch's generator":
            return hidden + torch.rand(())
        if self.fault == "NumPy's generator":
            return hidden + np.random.rand()  # noqa: NPY002
        if self.fault == "Python's generator":
            return hidden + random.random()
        return hidden

    def keep(self, hidden):
        if self.fault == "kept on self":
            self.last = hidden
        if self.fault == "counter on self":
            self.calls += 1

    def after(self, hidden, state):
        if self.fault == "state turns float32":
            return State(hidden.float())
        if self.fault == "state grows":
            return State(torch.cat([hidden, state[0][:, self.hidden_size - 1 :]], dim=1))
        if self.fault == "state as a list":
            return [hidden]
        if self.fault == "key of floats":
            return Keyed(hidden, state[1] + 1)
        return State(hidden)


class OwnRecur(Healthy):
    """Core with a ``recur`` of its own, as a faster core has; with a fault in it, if any."""

    def recur(self, x, state, starts, trace=False):
        initial, steps = self.initial_state(x.shape[1]), []
        for now, start in zip(x, starts, strict=True):
            if self.fault != "late reset" and start.any():
                state = self.reset(start, initial, state)
            steps.append(self.step(now, state))
            state = steps[-1].state
            if self.fault == "late reset":
                state = self.reset(start, initial, state)
        outputs = self.readout(torch.stack([step.features for step in steps]))
        shown = stack_dicts([s.trace for s in steps]) if trace or self.fault == "trace unasked" else {}
        if self.fault == "trace unasked":
            shown = {"hidden": shown["hidden"]} if not trace else shown
        if self.fault == "another recur":
            outputs = outputs * (1 + 1e-6)
        return Unrolled(outputs, state, stack_dicts([s.losses for s in steps]), shown)

    def reset(self, start, initial, state):
        begins = start.unsqueeze(1)
        if self.fault == "never reset":
            return state
        if self.fault == "leak over a start":
            return State(torch.where(begins, 0.01 * state.hidden, state.hidden))
        if self.fault == "leak of gradients":
            return State(torch.where(begins, state.hidden - state.hidden.detach(), state.hidden))
        if self.fault == "leak of NaN":
            return State(state.hidden * ~begins)
        return restart_state(start, initial, state)


@pytest.mark.parametrize("core", [Healthy, OwnRecur, lambda input_size: OwnRecur(input_size, hidden_size=5), "gru"])
def test_healthy_cores_pass(core):
    check_core(core)
    check_core(core, input_size=2, batch_size=2, steps=5)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(fault):
    name, seen = FAULTS[fault]
    with pytest.raises(ConformanceError, match=rf"(?s){seen}") as caught:
        check_core(OwnRecur, fault=fault)
    assert caught.value.check == name
    assert str(caught.value).startswith(f"{name}: {caught.value.seen}\nAdvice: {caught.value.advice}")


def test_every_check_but_these_is_seen_to_fail():
    found = {name for name, _ in FAULTS.values()}
    others = {
        "steps",
        "picked_rows",
        "halves",
        "chunks",
        "autocast",
        "gpu",
        "refusals",
        "more_slots",
    }  # tested below, or need a GPU
    assert found | others == {check.name for check in CORE_CHECKS}


class Joined(Healthy):
    """Whose outputs depend on the number of rows."""

    def step(self, x, state):
        return super().step(x * len(x), state)


class Positions(OwnRecur):
    """Core that counts the steps of a window outside the state."""

    def recur(self, x, state, starts, trace=False):
        result = super().recur(x, state, starts, trace)
        return result._replace(outputs=result.outputs + torch.arange(len(x)).view(-1, 1, 1))


class LongWindows(Healthy):
    """Whose windows of 2 to 8 steps have other gradients."""

    def recur(self, x, state, starts, trace=False):
        result = super().recur(x, state, starts, trace)
        return result if len(x) in (1, 9) else result._replace(outputs=2 * result.outputs - result.outputs.detach())


class Rough(Healthy):
    """Core that counts in bfloat16 under autocast."""

    def step(self, x, state):
        product = x.new_ones(1, 1) @ x.new_full((1, 1), 1.003)
        return super().step(x + (200 * (product.double() - 1.003)).to(x.dtype), state)


class OtherSteps(Healthy):
    """Whose single steps are not those of a window."""

    def forward(self, inputs, state):
        step = super().forward(inputs, state)
        return step._replace(outputs=1.01 * step.outputs)


class Slots(Healthy):
    """Core with weights for each slot that do not grow, though it says so."""

    def __init__(self, input_size, slots=2):
        super().__init__(input_size)
        self.slots, self.of_slots = slots, nn.Parameter(torch.randn(slots))

    def step(self, x, state):
        return super().step(x + self.of_slots.sum(), state)

    def with_more_slots(self, weights):
        return weights


class AnyShape(Healthy):
    """Core that takes what it should refuse."""

    def check_window(self, inputs, starts):
        pass


@pytest.mark.parametrize(
    ("core", "name"),
    [
        (Joined, "picked_rows"),
        (Positions, "halves"),
        (LongWindows, "chunks"),
        (Rough, "autocast"),
        (AnyShape, "refusals"),
        (OtherSteps, "steps"),
        (Slots, "more_slots"),
    ],
)
def test_the_other_checks_fail_as_well(core, name):
    (check,) = (check for check in CORE_CHECKS if check.name == name)
    check(core_case(OwnRecur))
    with pytest.raises(ConformanceError, match=f"^{name}: "):
        check(core_case(core))


def test_exceptions_of_the_core_are_kept():
    class Broken(Healthy):
        def step(self, x, state):
            raise RuntimeError("no step")

    with pytest.raises(ConformanceError, match="states: RuntimeError: no step") as caught:
        check_core(Broken)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_checks_can_be_skipped_by_name():
    check_core(OwnRecur, fault="wrong backward", skip=("gradcheck",))
    for skip in ("gradchek", ["shapes", "gradchek"]):
        with pytest.raises(ValueError, match="skip names no check by 'gradchek'; there are: states, shapes,"):
            check_core(Healthy, skip=skip)


def test_distributions_must_sum_to_one():
    class Shares(Healthy):
        def step(self, x, state):
            step = super().step(x, state)
            return step._replace(trace={"read_weights": 0.9 * step.features.softmax(-1)})

    check_core(Shares)
    with pytest.raises(ConformanceError, match="trace: sums of read_weights and 1 differ"):
        check_core(Shares, distributions=["read_weights"])
    with pytest.raises(ConformanceError, match=r"trace: distributions names \['gate'\], which the trace lacks"):
        check_core(Shares, distributions=["gate"])


def test_the_callers_generators_are_left_alone():
    before = torch.get_rng_state()
    check_core(Healthy)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("core", "arguments", "message"),
    [
        (Healthy(5), {}, "core must be a registered name, a subclass of MemoryCore or a function of input_size"),
        (nn.Linear, {}, "core must be a subclass of MemoryCore, which Linear is not"),
        (3, {}, "core must be a registered name"),
        (lambda size: nn.Linear(size, 2), {}, "core must make a MemoryCore, not Linear"),
        ("lsmt", {}, "there is no core 'lsmt'"),
        ("gru", {"hidden": 3}, "core 'gru' has no parameter 'hidden'"),
        (Healthy, {"batch_size": 1}, "batch_size must be an integer of at least 2, not 1"),
        (Healthy, {"steps": 3}, "steps must be an integer of at least 4, not 3"),
        (Healthy, {"input_size": True}, "input_size must be an integer of at least 1, not True"),
    ],
)
def test_wrong_arguments_are_named(core, arguments, message):
    with pytest.raises(ValueError, match=message):
        check_core(core, **arguments)


def test_wrapped_cores_are_examined_as_they_are():
    check_core(lambda input_size: make_core("gru", input_size, hidden_size=4, dropout=0.5))
