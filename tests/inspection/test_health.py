"""Sick memories, made on purpose, are told by the right sentence; healthy ones by none."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import KVWriter, Logger

from memagents import NEC, RecurrentPPO, core_names
from memagents.cores.core import MemoryCore, Step, Unrolled
from memagents.cores.dnc import DNCInterface
from memagents.cores.gru import GRUState
from memagents.cores.ntm import NTMInterface
from memagents.environments import make_env
from memagents.experiments.evaluation import Interval
from memagents.inspection import HealthCallback, examine, health
from memagents.inspection.forgetting import Forgetting
from memagents.inspection.health import Report, play
from memagents.inspection.lags import gradient_by_lag, longest_stretches
from memagents.inspection.signs import Sign, signs_of, staleness
from tests.inspection.support import make_agent, registered


class Leaking(MemoryCore):
    """A core that forgets to forget: its own recur goes on over the starts of episodes."""

    def __init__(self, input_size: int):
        super().__init__(input_size, input_size)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def initial_state(self, batch_size):
        return GRUState(self.weight.new_zeros(batch_size, self.input_size))

    def step(self, x, state):
        hidden = state.hidden + self.weight * x
        return Step(hidden, GRUState(hidden), {}, {})

    def recur(self, x, state, starts, trace=False):
        outputs = state.hidden + (self.weight * x).cumsum(0)
        return Unrolled(outputs, GRUState(outputs[-1]), {}, {})


class KeptLog(KVWriter):
    """A log that keeps the names of what was written to it."""

    def __init__(self):
        self.names = set()

    def write(self, key_values, key_excluded, step=0):
        self.names |= set(key_values)


@pytest.fixture(autouse=True, scope="module")
def leaking():
    """The core among those of the catalogue, for this module alone."""
    with registered("leaking", Leaking):
        yield


def advice_of(agent, steps=64):
    signs = signs_of(agent.policy, play(agent.policy, agent.env, steps, seed=0))
    return {sign.name: sign.advice for sign in signs if sign.advice is not None}


def healthy(core):
    """An agent whose memory matters to its policy."""
    kwargs = {"gate_bias": 0} if core == "gtrxl" else {}  # else its gates are nearly shut before it has learned
    agent = make_agent(n_envs=4, length=12, policy_kwargs={"core": core, "core_kwargs": kwargs})
    agent.policy.action_net.weight.data.mul_(1000 if core in ("entnet", "gtrxl") else 300)
    return agent


@pytest.mark.parametrize("core", ["lstm", "gru", "dnc", "ntm", "sam", "sdnc", "kv", "gtrxl", "ffm", "rmc", "entnet"])
def test_a_healthy_memory_is_left_alone(core):
    assert advice_of(healthy(core)) == {}


def test_a_saturated_gate():
    agent = healthy("lstm")
    agent.policy.core.input_gates.bias.data.chunk(4)[1].fill_(40)
    (advice,) = advice_of(agent).values()
    assert "forget gate is open in 100%" in advice
    agent.policy.core.input_gates.bias.data.chunk(4)[1].fill_(-40)
    assert "forget gate is shut in 100%" in advice_of(agent)["forget_gate_saturated"]


def test_one_slot_takes_all_writes():
    agent = healthy("ntm")
    with torch.no_grad():
        interface_part(agent.policy.core, "interpolation_gates").fill_(-40)  # where it was before
        interface_part(agent.policy.core, "shifts").copy_(torch.tensor([-40.0, 40.0, -40.0]).repeat(2))
    assert "1 took all" in advice_of(agent, 128)["slots_per_write"]


def interface_part(core, name):
    """The biases of a part of the interface of a DNC or an NTM."""
    fields = {"DNC": DNCInterface, "NTM": NTMInterface}[type(core).__name__]._fields
    return dict(zip(fields, core.interface.bias.split(core.interface_sizes), strict=True))[name]


def test_a_shut_write_gate_and_dead_reads():
    agent = healthy("dnc")
    with torch.no_grad():
        interface_part(agent.policy.core, "write_gate").fill_(-40)
    found = advice_of(agent)
    assert "write gate is shut" in found["writes_per_step"]
    assert "100% of what is read was never written" in found["read_unwritten"]


def test_a_leaking_reset():
    agent = make_agent(n_envs=4, length=5, policy_kwargs={"core": "leaking"})
    assert "something of the one before" in advice_of(agent)["leak"]


@pytest.mark.parametrize("core", ["lstm", "gru"])
def test_gradients_that_vanish(core):
    agent = healthy(core)
    biases = agent.policy.core.input_gates.bias.data
    for kept in biases.chunk(4)[1:2] if core == "lstm" else biases.chunk(3)[:2]:  # forget; reset and update
        kept.fill_(-4)
    assert "gradients vanish" in advice_of(agent)["gradient_reach"]


@pytest.mark.parametrize("core", core_names())
def test_every_memory_has_a_gradient_by_lag_and_only_it(core):
    agent = make_agent(n_envs=2, length=5, policy_kwargs={"core": core})
    norms = gradient_by_lag(agent.policy, play(agent.policy, agent.env, 12, seed=0))
    assert np.isfinite(norms).all() and norms[0] > 0
    assert norms[1:].any() == (core != "none")


class Growing(Leaking):
    """A core whose state is three times as large in each step."""

    def step(self, x, state):
        hidden = 3 * state.hidden + self.weight * x
        return Step(hidden, GRUState(hidden), {}, {})

    recur = MemoryCore.recur


def test_gradients_that_explode():
    with registered("growing", Growing):
        agent = make_agent(n_envs=4, length=6, policy_kwargs={"core": "growing"})
        assert "gradients explode: those of earlier steps are" in advice_of(agent)["gradient_growth"]


def test_the_gradient_by_lag_is_that_of_finite_differences():
    agent = make_agent(n_envs=3, length=6, policy_kwargs={"core": "lstm", "core_kwargs": {"hidden_size": 5}})
    policy = agent.policy.double()
    seen = play(policy, agent.env, 16, seed=0)
    norms = gradient_by_lag(policy, seen)
    inputs, epsilon = policy.encode(seen.observations).detach(), 1e-6
    vector = torch.randn(5, generator=torch.Generator().manual_seed(0)).double()
    vector /= vector.norm()
    last, ages = longest_stretches(seen.starts.numpy())
    assert ages == [steps - 1 for steps in _longest(seen.starts.numpy())]

    def output(row, changed):
        with torch.no_grad():
            outputs = policy.core.unroll(changed, seen.initial_state, seen.starts).outputs
        return float(outputs[last[row], row] @ vector)

    squares = [[] for _ in norms]
    for row, (step, age) in enumerate(zip(last, ages, strict=True)):
        for lag in range(age + 1):
            total = 0.0
            for number in range(inputs.shape[-1]):
                sides = []
                for sign in (1, -1):
                    changed = inputs.clone()
                    changed[step - lag, row, number] += sign * epsilon
                    sides.append(output(row, changed))
                total += ((sides[0] - sides[1]) / (2 * epsilon)) ** 2
            squares[lag].append(total)
    assert np.allclose(norms, [np.sqrt(np.mean(own)) for own in squares], rtol=1e-5, atol=1e-9)


def _longest(starts):
    """The steps of the longest stretch of each row."""
    return [max(np.diff([0, *np.flatnonzero(own[1:]) + 1, len(own)])) for own in starts.T]


def test_a_memory_that_is_never_needed():
    agent = healthy("gru")
    agent.policy.action_net.weight.data.zero_()
    assert "hardly used" in advice_of(agent)["use"]


@pytest.mark.parametrize(("factor", "sentence"), [(1e6, "float32 soon cannot add"), (1e38, "not finite")])
def test_numbers_too_large(factor, sentence):
    agent = make_agent(n_envs=4, length=12, policy_kwargs={"core": "leaking"})
    seen = play(agent.policy, agent.env, 64, seed=0)
    agent.policy.core.weight.data.mul_(factor)
    agent.policy.action_net.weight.data.zero_()
    signs = {sign.name: sign for sign in signs_of(agent.policy, seen)}
    assert sentence in signs["largest_number"].advice


def test_stale_states():
    agent = healthy("gru")
    seen = play(agent.policy, agent.env, 32, seed=0)
    state = agent.policy.unroll(seen.observations, seen.initial_state, seen.starts)[1]
    now = seen._replace(starts=torch.zeros_like(seen.starts), initial_state=state)  # in the midst of episodes
    assert staleness(agent.policy, seen, now).advice is None
    agent.policy.core.input_gates.bias.data.neg_().mul_(30)
    assert "stale" in staleness(agent.policy, seen, now).advice


def test_a_report_says_what_the_memory_is_worth():
    agent = healthy("lstm")
    report = examine(agent, steps=32, ages=(0, 2), episodes=8)
    assert report.forgetting is not None
    assert report.forgetting.ages == (0, 2)
    assert all(sign.advice is None for sign in report.signs)
    assert report.table().row_count == len(report.signs) + 4
    assert report.to_json()["forgetting"]["ages"] == [0, 2]
    agent.env = None
    with pytest.raises(ValueError, match="env must be given"):
        examine(agent)


def interval(mean, width=0.05):
    return Interval(mean, mean - width, mean + width)


def test_a_report_does_not_contradict_itself():
    """A policy may act on little: what is worth something is used."""
    idle = Sign("use", 1e-5, "", "the memory is hardly used")
    worth = Forgetting("return", (0, 2), [interval(0.5), interval(0.9)], interval(0.9))
    assert health._reconciled(idle, worth).advice is None
    assert health._reconciled(idle, worth._replace(scores=[interval(0.9)] * 2)).advice is not None
    nothing = Report([], Forgetting("success", (0,), [interval(0)], interval(0)))
    assert ["nothing has been learned" in advice for advice in nothing.advice] == [True]
    assert "there is nothing to lose" in list(nothing.table().columns[2].cells)


@pytest.mark.parametrize("core", ["none", "gru"])
def test_a_policy_that_remembers_nothing_is_told_so(core):
    agent = make_agent(n_envs=2, length=3, policy_kwargs={"core": core})
    report = examine(agent, steps=16, ages=(0,), episodes=4)
    assert report.remembers == (core != "none") == (report.forgetting is not None)
    assert core != "none" or report.table().caption == "nothing is remembered from step to step"


def test_advice_is_taken_back(capsys):
    callback = HealthCallback()
    for advice in ("it is sick", None, None):
        callback._advise(Sign("use", 0.0, "", advice))
    assert capsys.readouterr().out == "health: it is sick\nhealth: use no longer looks wrong\n"


def test_training_logs_signs_and_gives_each_advice_once(capsys):
    agent = RecurrentPPO("MlpPolicy", make_env("memenvs/TMaze-v0", 4, length=3), n_steps=16, seed=0)
    callback = HealthCallback(interval=2, rows=2)
    kept = KeptLog()
    agent.set_logger(Logger(None, [kept]))
    agent.learn(16 * 4 * 4, callback=callback)
    assert {
        "health/use",
        "health/leak",
        "health/largest_number",
        "health/staleness",
        "health/gradient_reach",
    } <= kept.names
    assert capsys.readouterr().out.count("hardly used") == 1
    assert "use" in callback.advice


def test_an_agent_without_windows_is_refused():
    agent = NEC("MlpPolicy", make_env("memenvs/TMaze-v0", 1))
    with pytest.raises(ValueError, match="learns from windows"):
        agent.learn(10, callback=HealthCallback())
    signs = examine(agent, steps=8).signs
    assert all(np.isfinite(sign.value) for sign in signs)
