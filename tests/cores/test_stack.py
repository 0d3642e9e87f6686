"""Cores at different rates, against an account of each row by itself."""

import pytest
import torch

from memagents import make_core
from memagents.cores.core import select_rows, state_leaves
from memagents.cores.stack import _levels

T, B, WIDTH = 14, 5, 3
KINDS = [
    {"cores": ["gru", "lstm", "gru"], "periods": [1, 3, 4], "cores_kwargs": {"hidden_size": 4}},
    {"cores": "lstm", "periods": [2, 5], "cores_kwargs": [{"hidden_size": 3}, {"hidden_size": 4}]},
    {
        "cores": ["dnc", "gtrxl"],
        "periods": [1, 2],
        "cores_kwargs": [
            {"slots": 3, "width": 4, "controller_size": 5, "write_penalty": 0.5},
            {"length": 3, "layers": 1, "width": 6, "heads": 2},
        ],
    },
]


def make(kind):
    torch.manual_seed(0)
    return make_core("stack", WIDTH, **kind).double()


def window():
    torch.manual_seed(1)
    starts = torch.rand(T, B) < 0.2
    starts[:, 0] = False
    return torch.randn(T, B, WIDTH, dtype=torch.float64), starts


def slowly(core, inputs, starts):
    """Each row by itself, step by step: what it has seen since a core's last step is kept as a list."""
    rows = []
    for row in range(inputs.shape[1]):
        clock, cores = 0, list(core.cores)
        states = [own.initial_state(1) for own in cores]
        waiting = [[] for _ in cores]
        outputs, losses = [torch.zeros(1, own.output_size).double() for own in cores], []
        steps = []
        for now, start in zip(inputs[:, row], starts[:, row], strict=True):
            if start:
                clock = 0
                states = [own.initial_state(1) for own in cores]
                waiting = [[] for _ in cores]
            loss = torch.zeros(1).double()
            for number, own in enumerate(cores):
                waiting[number].append(own.project(now[None]))
                if clock % core.periods[number] == 0:
                    step = own.step(torch.stack(waiting[number]).mean(0), states[number])
                    states[number], waiting[number] = step.state, []
                    outputs[number] = own.readout(step.features)
                    loss = loss + sum(step.losses.values())
            steps.append(torch.cat(outputs, dim=-1))
            losses.append(loss)
            clock += 1
        rows.append((torch.cat(steps), torch.cat(losses), states))
    return rows


@pytest.mark.parametrize("kind", KINDS, ids=["three", "none every step", "slots and a history"])
def test_each_core_steps_at_its_own_rate(kind):
    core, (inputs, starts) = make(kind), window()
    made = core.unroll(inputs, core.initial_state(B), starts)
    close = {"rtol": 0, "atol": 1e-12}
    for row, (outputs, losses, states) in enumerate(slowly(core, inputs, starts)):
        torch.testing.assert_close(made.outputs[:, row], outputs, **close)
        total = sum((values[:, row] for values in made.losses.values()), torch.zeros(T).double())
        torch.testing.assert_close(total, losses, **close)
        for level, state in zip(_levels(made.state.first), states, strict=True):
            found = state_leaves(select_rows(level.core, [row]))
            for own, expected in zip(found, state_leaves(state), strict=True):
                torch.testing.assert_close(own, expected, **close)


@pytest.mark.parametrize("cut", [1, 2, 5, 13])
@pytest.mark.parametrize("kind", KINDS, ids=["three", "none every step", "slots and a history"])
def test_a_window_cut_in_two_is_the_same(kind, cut):
    core, (inputs, starts) = make(kind), window()
    whole = core.unroll(inputs, core.initial_state(B), starts)
    with torch.no_grad():
        first = core.unroll(inputs[:cut], core.initial_state(B), starts[:cut])
        second = core.unroll(inputs[cut:], first.state, starts[cut:])
    torch.testing.assert_close(torch.cat([first.outputs, second.outputs]), whole.outputs, rtol=0, atol=1e-12)
    for own, expected in zip(state_leaves(second.state), state_leaves(whole.state), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-12)


def test_one_core_at_every_step_is_that_core():
    core, (inputs, starts) = make({"cores": "gru", "periods": [1], "cores_kwargs": {"hidden_size": 4}}), window()
    alone = core.cores[0]
    expected = alone.unroll(inputs, alone.initial_state(B), starts).outputs
    assert torch.equal(core.unroll(inputs, core.initial_state(B), starts).outputs, expected)


def test_a_slow_core_loses_no_input():
    """Its steps at 0, 4, 8 and 12 take the mean of what came since: the last of 14 alone reaches none of them."""
    core = make({"cores": "gru", "periods": [4], "cores_kwargs": {"hidden_size": 4}})
    inputs = window()[0].requires_grad_()
    core.unroll(inputs, core.initial_state(B), torch.zeros(T, B, dtype=torch.bool)).outputs[-1].sum().backward()
    reached = inputs.grad.abs().sum((1, 2)) > 0
    assert reached.tolist() == [True] * 13 + [False]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"periods": []}, "periods must be a list of positive integers"),
        ({"periods": 4}, "periods must be a list of positive integers"),
        ({"periods": [1, 0]}, "periods must be a positive integer, not 0"),
        ({"cores": ["gru"], "periods": [1, 2]}, "cores must be a str, or a list of 2, as periods has, not of 1"),
        ({"cores": 3}, "cores must be a str, or a list with one for each of periods, not 3"),
        ({"cores": "gruu"}, "there is no core 'gruu'"),
        ({"cores_kwargs": {"slots": 3}}, "core 'lstm' has no parameter 'slots'"),
        ({"cores_kwargs": [{}]}, "cores_kwargs must be a dict, or a list of 3, as periods has, not of 1"),
    ],
)
def test_what_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_core("stack", WIDTH, **wrong)
