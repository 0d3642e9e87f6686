"""CUDA graphs without a GPU: a tape of torch's operations stands for a graph, and "meta" for a device never read.

What a GPU alone can tell is in tests/algorithms/test_ppo.py.
"""

import contextlib
from typing import NamedTuple

import pytest
import torch
from stable_baselines3.common.utils import LinearSchedule
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from memagents import RecurrentPPO, core_names
from memagents.algorithms.cuda_graphs import GraphedFunction, look, values_unchecked
from memagents.cores import core
from memagents.kernels import choice
from memagents.memory import history
from tests.cores.support import SMALL
from tests.support.tape import Tape
from tests.support.toys import ACTIONS, dummy

CPU, META = torch.device("cpu"), torch.device("meta")


class Taped(GraphedFunction):
    """Records on the CPU, without a trace in the random numbers."""

    device_type = "cpu"
    recorded = 0

    def record(self, call):
        Taped.recorded += 1
        tape = Tape()
        with torch.random.fork_rng(devices=[]), tape:
            outputs = call()
        return tape.replay, outputs


@pytest.fixture(autouse=True)
def _none_recorded():
    Taped.recorded = 0


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


# --- a replayed function --------------------------------------------------------------------------------------------


def test_elsewhere_than_on_cuda_it_is_a_call():
    calls = []
    replayed = GraphedFunction(lambda *arguments: calls.append(arguments) or arguments, CPU)
    tensor = torch.ones(2)
    assert replayed({"a": tensor}, None)[0]["a"] is tensor
    replayed(tensor)
    assert len(calls) == 2


def test_inputs_are_copied_to_where_the_recording_reads_them():
    seen = []

    def function(pair, more):
        seen.append((pair.first, more["weight"]))
        return Pair(pair.first * more["weight"], pair.second + 1), {"none": more["none"]}

    replayed = Taped(function, CPU)
    for number in range(3):
        pair, weight = Pair(torch.full((3,), float(number)), torch.tensor([number])), torch.tensor(2.0 + number)
        (first, second), rest = replayed(pair, {"weight": weight, "none": None})
        assert first.tolist() == [number * (2.0 + number)] * 3
        assert second.tolist() == [number + 1]
        assert rest == {"none": None}
        assert pair.first.tolist() == [number] * 3
    assert len(seen) == Taped.recorded == 1
    assert seen[0][0] is not pair.first


def test_other_shapes_types_and_structures_are_recorded_anew():
    replayed = Taped(lambda x, y=None: x + 1 if y is None else x + y, CPU)
    assert replayed(torch.zeros(2)).tolist() == [1, 1]
    assert replayed(torch.zeros(3)).tolist() == [1, 1, 1]
    assert replayed(torch.zeros(2, dtype=torch.int64)).dtype == torch.int64
    assert replayed(torch.zeros(2), None).tolist() == [1, 1]
    assert replayed(torch.zeros(2), torch.ones(2) * 5).tolist() == [5, 5]
    assert Taped.recorded == 5
    assert replayed(torch.ones(2)).tolist() == [2, 2]
    assert replayed(torch.ones(3)).tolist() == [2, 2, 2]
    assert Taped.recorded == 5


def test_results_may_be_passed_on_though_they_are_arguments():
    """A register that is shifted: where a result is an argument, the next one must not be written before it is read."""
    replayed = Taped(lambda register, x: (x, *register[:2]), CPU)
    register = tuple(torch.tensor(number) for number in (3, 2, 1))
    for number in range(4, 8):
        register = replayed(register, torch.tensor(number))
        assert [place.item() for place in register] == [number, number - 1, number - 2]


def test_random_numbers_are_new_ones():
    replayed = Taped(lambda x: x + torch.rand(4), CPU)
    first = replayed(torch.zeros(4)).clone()
    assert not torch.equal(replayed(torch.zeros(4)), first)


def test_a_look_at_scalars():
    scalars = {"loss": torch.tensor(0.1, requires_grad=True), "rest": torch.tensor(2.0, dtype=torch.float64)}
    assert look(scalars) == {"loss": torch.tensor(0.1).item(), "rest": 2.0}


# --- the agent ------------------------------------------------------------------------------------------------------


def make(core_name="gru", actions="discrete", **kwargs):
    env = dummy(4, observations="dict", actions=actions, tells=True)
    policy_kwargs = {"core": core_name, "core_kwargs": SMALL.get(core_name), **kwargs.pop("policy_kwargs", {})}
    return RecurrentPPO("MlpPolicy", env, n_steps=7, policy_kwargs=policy_kwargs, seed=0, device="cpu", **kwargs)


@pytest.mark.parametrize(
    ("core_name", "actions"), [("entnet", "discrete"), ("rmc", "box"), ("memn2n", "multi_discrete")]
)
def test_training_is_the_same_bit_for_bit(core_name, actions, monkeypatch):
    """Coefficients follow schedules; a tape would keep those of its first minibatch if they were not tensors.

    Torch alone computes here: a tape does not hear what a kernel of our own does on the CPU.
    """
    monkeypatch.setattr(choice, "window_for", lambda *arguments, **sizes: None)
    monkeypatch.setattr(history, "trimmed", lambda rows, first: (rows, first))  # as on an accelerator
    monkeypatch.setattr("memagents.algorithms.ppo.GraphedFunction", Taped)
    monkeypatch.setattr(core, "reset_steps", lambda starts: [True] * len(starts))  # as on an accelerator
    schedules = {name: LinearSchedule(start, 0.0, 1.0) for name, start in (("clip_range", 0.1), ("ent_coef", 0.1))}
    kwargs = {"n_epochs": 2, "n_minibatches": 3, "learning_rate": 1e-2, **schedules}
    agents = [make(core_name, actions, cuda_graphs=graphs, **kwargs).learn(3 * 28) for graphs in (False, True)]
    assert Taped.recorded == 3  # acting, and minibatches of two sizes
    for ours, theirs in zip(*(tree_leaves(dict(agent.policy.state_dict())) for agent in agents), strict=True):
        assert torch.equal(ours, theirs)
    for name in ("initial_state", "values", "log_probs", "returns"):
        ours, theirs = (tree_leaves(getattr(agent._window, name)) for agent in agents)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


class Unseen(TorchDispatchMode):
    """Refuses what brings numbers to the device or from it; to read one on "meta" is an error anyway."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        assert all(tensor.device == META for tensor in tensors), f"{operation} of the host"
        return operation(*args, **(kwargs or {}))


def unseen(agent):
    """Act and update on a device that has no numbers, a second time while it is watched."""
    agent._setup_learn(1)
    window = agent._window
    window.initial_state = agent._state
    agent.policy.to(META)
    agent.device = META
    batch = tree_map_only(torch.Tensor, lambda tensor: tensor.to(META), window.minibatch(torch.arange(4)))
    clip = torch.zeros((), device=META)

    def act_and_update():
        with torch.no_grad():
            observations = tree_map_only(torch.Tensor, lambda values: values[0], batch.observations)
            agent.policy(observations, batch.initial_state, batch.starts[0])
        agent._update(batch, clip, clip, {"value_loss": clip})

    with values_unchecked():
        act_and_update()
        with Unseen(), pytest.MonkeyPatch.context() as patch:
            for name in ("tensor", "from_numpy"):  # each would copy from the host to a GPU
                patch.setattr(torch, name, None)
            act_and_update()


@pytest.fixture
def meta(monkeypatch):
    """The device "meta" knows no autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("core_name", core_names())
def test_the_host_looks_at_nothing(core_name):
    unseen(make(core_name))


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("actions", [name for name in ACTIONS if name != "discrete"])
def test_the_host_looks_at_no_action(actions):
    unseen(make(actions=actions))


@pytest.mark.usefixtures("meta")
def test_the_host_looks_at_nothing_in_chunks_and_recalling():
    unseen(make(policy_kwargs={"recompute_steps": 3, "recall_lag": 2}))


@pytest.mark.usefixtures("meta")
def test_a_look_would_be_seen():
    for look_at in (
        lambda projected: bool(projected.any()),
        lambda projected: projected + torch.tensor([1.0], device=META),
    ):
        agent = make()
        project = agent.policy.project
        calls = []

        def looking(observations, project=project, look_at=look_at, calls=calls):
            calls.append(observations)
            projected = project(observations)
            if len(calls) > 2:  # while it is watched
                look_at(projected)
            return projected

        agent.policy.project = looking
        with pytest.raises((RuntimeError, TypeError)):
            unseen(agent)
        assert len(calls) == 3
