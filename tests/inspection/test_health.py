"""Sick memories, made on purpose, are told by the right sentence; healthy ones by none."""

import contextlib

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
from memagents.inspection.lags import gradients_by_lag, longest_stretches
from memagents.inspection.signs import Sign, signs_of, staleness
from tests.inspection.support import SHARED, make_agent, registered


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


class Integrating(Leaking):
    """A core that adds up what it sees in an episode."""

    recur = MemoryCore.recur


class Growing(Integrating):
    """A core whose state is three times as large in each step."""

    def step(self, x, state):
        return super().step(x, GRUState(3 * state.hidden))


class Overflowing(Integrating):
    """A core that adds up, whose gradients grow ten-billionfold in each step."""

    def step(self, x, state):
        return super().step(x, GRUState(state.hidden + 1e10 * (state.hidden - state.hidden.detach())))


class KeptLog(KVWriter):
    """A log that keeps the names of what was written to it."""

    def __init__(self):
        self.names = set()

    def write(self, key_values, key_excluded, step=0):
        self.names |= set(key_values)


@pytest.fixture(autouse=True, scope="module")
def cores_of_this_module():
    """The cores above among those of the catalogue, for this module alone."""
    with contextlib.ExitStack() as stack:
        for core in (Leaking, Integrating, Growing, Overflowing):
            stack.enter_context(registered(core.__name__.lower(), core))
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
    found = gradients_by_lag(agent.policy, play(agent.policy, agent.env, 12, seed=0))
    assert list(found) == ([] if core == "none" else [""])
    for norms in found.values():
        assert np.isfinite(norms).all() and norms[0] > 0 and norms[1:].any()


@pytest.mark.parametrize("critic_gradient", [True, False])
def test_the_critics_own_memory_has_gradients_of_its_own(critic_gradient):
    kwargs = {"core": "gru", "critic_core": "lstm", "critic_gradient": critic_gradient}
    agent = make_agent(n_envs=4, length=30, policy_kwargs=kwargs)
    seen = play(agent.policy, agent.env, 64, seed=0)
    assert not any("gradients" in advice for advice in advice_of(agent).values())
    before = gradients_by_lag(agent.policy, seen)
    agent.policy.core.critic.input_gates.bias.data.chunk(4)[1].fill_(-4)
    after = gradients_by_lag(agent.policy, seen)
    assert np.array_equal(before[""], after[""])
    assert after["critic_"][8] < before["critic_"][8] / 1000
    found = advice_of(agent)
    assert "gradients of the critic's memory vanish" in found["critic_gradient_reach"]
    assert "gradient_reach" not in found


def test_a_critic_with_a_memory_beside_an_actor_without():
    agent = make_agent(n_envs=2, length=30, policy_kwargs={"core": "none", "critic_core": "lstm"})
    assert list(gradients_by_lag(agent.policy, play(agent.policy, agent.env, 32, seed=0))) == ["critic_"]


def test_windows_that_are_learned_in_chunks_are_asked_in_chunks(monkeypatch):
    norms = []
    for steps in (None, 5):
        agent = make_agent(n_envs=2, length=12, policy_kwargs={"core": "gru", "recompute_steps": steps})
        asked = []
        unroll = agent.policy.core.unroll
        monkeypatch.setattr(
            agent.policy.core,
            "unroll",
            lambda x, *rest, unroll=unroll, asked=asked: asked.append(len(x)) or unroll(x, *rest),
        )
        norms.append(gradients_by_lag(agent.policy, play(agent.policy, agent.env, 32, seed=0))[""])
        assert max(asked) == (steps or 32)
    assert np.allclose(*norms, rtol=1e-5, atol=1e-9)


def test_an_integrator_reaches_back_through_the_whole_episode():
    agent = make_agent(n_envs=4, length=30, policy_kwargs={"core": "integrating"})
    seen = play(agent.policy, agent.env, 64, seed=0)
    norms = gradients_by_lag(agent.policy, seen)[""]
    assert np.allclose(norms, norms[0], rtol=1e-5)
    signs = {sign.name: sign for sign in signs_of(agent.policy, seen)}
    assert signs["gradient_reach"].value == len(norms) - 1 > 16
    assert np.isclose(signs["gradient_growth"].value, 1)
    assert not any(sign.advice for name, sign in signs.items() if "gradient" in name)


@pytest.mark.parametrize("core", ["lstm", "gru"])
def test_a_horizon_makes_gradients_reach_back(core):
    reaches = []
    for kwargs in ({}, {"horizon": 50}):
        agent = make_agent(n_envs=4, length=60, policy_kwargs={"core": core, "core_kwargs": kwargs})
        signs = {sign.name: sign for sign in signs_of(agent.policy, play(agent.policy, agent.env, 128, seed=0))}
        assert signs["gradient_reach"].advice is None and signs["gradient_growth"].advice is None
        reaches.append(signs["gradient_reach"].value)
    assert reaches[0] < 20 < 60 < reaches[1]


def test_gradients_that_explode():
    agent = make_agent(n_envs=4, length=6, policy_kwargs={"core": "growing"})
    assert "explode: those of earlier steps are" in advice_of(agent)["gradient_growth"]
    assert "times those of the present one" in advice_of(agent)["gradient_growth"]


def test_gradients_that_are_not_finite():
    agent = make_agent(n_envs=4, length=12, policy_kwargs={"core": "overflowing"})
    report = examine(agent, steps=64)
    (advice,) = [advice for advice in report.advice if "gradients" in advice]
    assert "explode: those of earlier steps are not finite" in advice
    kept = {sign["name"]: sign["value"] for sign in report.to_json()["signs"]}
    assert kept["gradient_growth"] is None
    assert "gradient_reach" not in kept


def test_the_gradient_by_lag_is_that_of_finite_differences():
    agent = make_agent(n_envs=3, length=6, policy_kwargs={"core": "lstm", "core_kwargs": {"hidden_size": 5}})
    policy = agent.policy.double()
    seen = play(policy, agent.env, 16, seed=0)
    norms = gradients_by_lag(policy, seen)[""]
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
    assert report.table().row_count == len([s for s in report.signs if "_lag_" not in s.name]) + 1 + 4
    assert report.to_json()["forgetting"]["ages"] == [0, 2]
    agent.env = None
    with pytest.raises(ValueError, match="env must be given"):
        examine(agent)


def interval(mean, width=0.05):
    return Interval(mean, mean - width, mean + width)


def test_gradients_by_lag_are_one_row_a_memory_and_signs_of_their_own():
    names = ["gradient_growth", "gradient_lag_1", "gradient_lag_2", "gradient_reach", "critic_gradient_lag_1"]
    report = Report([Sign(name, 1 / (place + 1), f"of {name}") for place, name in enumerate(names)], None)
    rows = list(zip(*(column.cells for column in report.table().columns), strict=True))
    assert rows == [
        ("gradient_growth", "1", "of gradient_growth"),
        ("gradient_lag_…", "", "gradient by the input 1, 2 steps before over that by the present: 0.5, 0.333"),
        ("gradient_reach", "0.25", "of gradient_reach"),
        ("critic_gradient_lag_…", "", "gradient by the input 1 step before over that by the present: 0.2"),
    ]
    assert [sign["name"] for sign in report.to_json()["signs"]] == names


def test_a_report_does_not_contradict_itself():
    """A policy may act on little: what is worth something is used."""
    idle = Sign("use", 1e-5, "", "the memory is hardly used")
    worth = Forgetting("return", (0, 2), [interval(0.5), interval(0.9)], interval(0.9))
    assert health._reconciled(idle, worth).advice is None
    assert health._reconciled(idle, worth._replace(scores=[interval(0.9)] * 2)).advice is not None
    nothing = Report([], Forgetting("success", (0,), [interval(0)], interval(0)))
    assert ["nothing has been learned" in advice for advice in nothing.advice] == [True]
    assert "there is nothing to lose" in list(nothing.table().columns[2].cells)


@pytest.mark.parametrize(("scores", "told"), [((0.5, 0.5), True), ((0.2, 0.5), False), ((0.2, 0.2), False)])
def test_a_memory_that_is_used_in_vain(scores, told):
    found = Forgetting("success", (0, 2), [interval(score) for score in scores], interval(0.5))
    used, idle = Sign("use", 0.3, ""), Sign("use", 0.0, "", "the memory is hardly used")
    report = Report([used], found)
    assert ["with none at all it scores as well" in advice for advice in report.advice] == [True] * told
    assert (report.table().caption == "nothing looks wrong") is not told
    assert Report([idle], found).advice == ["the memory is hardly used"]
    assert Report([], found).advice == []  # where nothing is said of its use


@pytest.mark.parametrize("core", ["none", "gru"])
def test_a_policy_that_remembers_nothing_is_told_so(core):
    agent = make_agent(n_envs=2, length=3, policy_kwargs={"core": core})
    report = examine(agent, steps=16, ages=(0,), episodes=4)
    assert report.remembers == (core != "none") == (report.forgetting is not None)
    assert core != "none" or report.table().caption == "nothing is remembered from step to step"


def test_advice_is_taken_back(caplog):
    caplog.set_level("INFO", "memagents")
    callback = HealthCallback()
    for advice in ("it is sick", None, None):
        callback._advise(Sign("use", 0.0, "", advice))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "health: it is sick"),
        ("INFO", "health: use no longer looks wrong"),
    ]


def test_training_logs_signs_and_gives_each_advice_once(caplog):
    env = make_env("memenvs/TMaze-v0", 4, length=3)
    agent = RecurrentPPO("MlpPolicy", env, n_steps=16, policy_kwargs=SHARED, seed=0)
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
    assert caplog.text.count("hardly used") == 1
    assert "use" in callback.advice


def test_an_agent_without_windows_is_refused():
    agent = NEC("MlpPolicy", make_env("memenvs/TMaze-v0", 1))
    with pytest.raises(ValueError, match="learns from windows"):
        agent.learn(10, callback=HealthCallback())
    signs = examine(agent, steps=8).signs
    assert all(np.isfinite(sign.value) for sign in signs)
