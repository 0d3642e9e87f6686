"""A training state that is not what it should be is refused by name, before torch sees it."""

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces

from memagents import CheckpointError, RecurrentPPO
from memagents.algorithms.state_checks import check_observations, check_optimizer, check_past_episodes, threads_here
from memagents.checks import most_threads
from memagents.runs import agent_files, trees
from memagents.runs.layout import MANIFEST_FILE, STATE_FILE
from tests.support.agents import make
from tests.support.toys import tmaze


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make(run_dir=folder).learn(32)
    return folder


def put(value, *path):
    """A change of one entry of a tree, found by its keys."""

    def change(tree):
        node = tree
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value(node[path[-1]]) if callable(value) else value

    return change


FIRST = ("optimizer", "state", 0)
WRONG = {
    "shape": (put(torch.zeros(3), *FIRST, "exp_avg"), r"the optimiser's exp_avg of parameter 0 is \(3,\), the param"),
    "scalar": (put(torch.tensor(0.0), *FIRST, "exp_avg_sq"), r"exp_avg_sq of parameter 0 is \(\)"),
    "dtype": (put(lambda t: t.to(torch.int64), *FIRST, "exp_avg"), "exp_avg of parameter 0 is of torch.int64"),
    "not finite": (put(lambda t: t * torch.nan, *FIRST, "exp_avg"), "exp_avg of parameter 0 is not finite"),
    "steps": (put(torch.ones(2), *FIRST, "step"), r"step of parameter 0 is \(2,\)"),
    "word": (put("many", *FIRST, "step"), "step of parameter 0 is 'many', neither a tensor"),
    "unknown parameter": (put({}, "optimizer", "state", 999), "a parameter 999 that there is not"),
    "no state": (put(3, "optimizer", "state"), "lacks 'state', or that is no Mapping"),
    "no optimiser": (put(None, "optimizer"), "lacks 'param_groups'"),
    "groups": (put([], "optimizer", "param_groups"), "has 0 groups of parameters"),
    "order": (put([1, 0], "optimizer", "param_groups", 0, "params"), "is of other parameters"),
    "rate": (put("high", "optimizer", "param_groups", 0, "lr"), "the optimiser's lr is 'high'"),
    "infinite rate": (put(float("inf"), "optimizer", "param_groups", 0, "lr"), "the optimiser's lr is inf"),
    "unknown setting": (put([1], "optimizer", "param_groups", 0, "odd"), r"the optimiser's odd is \[1\]"),
    "threads": (put("all", "threads"), "threads must be a positive integer, not 'all'"),
    "no threads": (put(0, "threads"), "threads must be a positive integer, not 0"),
    "counter": (put(-3, "counters", "iteration"), "iteration must be a count, not -3"),
    "counter a word": (put("first", "counters", "num_timesteps"), "lacks 'num_timesteps', or that is no int"),
    "progress": (put(float("nan"), "counters", "_current_progress_remaining"), "must be finite"),
    "episodes": (put([{"r": "much", "l": 3}], "episodes"), "episodes must hold a return r and a length l"),
    "no episodes": (put(None, "episodes"), "lacks 'episodes'"),
    "successes": (put(["yes"], "successes"), "successes must be numbers, not 'yes'"),
    "observations": (put(np.zeros((4, 99)), "last_obs"), "last_obs must be numbers of shape"),
    "no observations": (put(None, "last_obs"), "last_obs must be numbers of shape"),
    "starts": (put(np.zeros(4), "last_episode_starts"), "last_episode_starts must be 4 booleans"),
    "decisions": (put(np.zeros(2, bool), "decisions"), "decisions must be 4 booleans"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_named(kind, trained, tmp_path):
    change, message = WRONG[kind]
    agent_files.read_description(trained)
    tree = agent_files.read_training_state(trained)
    change(tree)
    for name in ("policy.json", "policy.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    trees.write_tree(tmp_path / STATE_FILE, tree)
    assert not (tmp_path / MANIFEST_FILE).exists()  # as in a stranger's folder, who could write one that fits
    before = torch.get_num_threads()
    with pytest.raises(CheckpointError, match=message):
        RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (torch.optim.Adam, {"amsgrad": True}),
        (torch.optim.AdamW, {}),
        (torch.optim.SGD, {}),
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.RMSprop, {"centered": True, "momentum": 0.1}),
        (torch.optim.Adafactor, {}),
        (torch.optim.NAdam, {}),
        (torch.optim.RAdam, {}),
        (torch.optim.Rprop, {}),
        (torch.optim.Adagrad, {}),
        (torch.optim.Adamax, {}),
        (torch.optim.ASGD, {}),
    ],
)
def test_states_that_optimisers_make_pass(kind, kwargs):
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = kind([{"params": layers[0].parameters()}, {"params": layers[1].parameters(), "lr": 0.5}], **kwargs)
    for _ in range(2):
        layers(torch.ones(5, 3)).square().sum().backward()
        optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    check_optimizer(optimizer, saved)
    check_optimizer(kind([{"params": layers[0].parameters()}, {"params": layers[1].parameters()}], **kwargs), saved)


def test_threads_stay_within_the_machine():
    assert threads_here(1) == 1
    assert threads_here(10**6) == most_threads()


def test_observations_of_a_dict_are_looked_at_by_their_entries():
    space = spaces.Dict({"a": spaces.Box(0, 1, (3,)), "b": spaces.Discrete(2)})
    seen = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.int64)}
    check_observations(seen, space, 2, "last_obs")
    for wrong in ({"a": seen["a"]}, {**seen, "c": seen["b"]}, {**seen, "b": np.zeros((2, 1))}, [3]):
        with pytest.raises(ValueError, match="last_obs"):
            check_observations(wrong, space, 2, "last_obs")


def test_what_others_make_passes():
    """Optimisers and schedulers of others have entries of their own; figures of episodes may be arrays."""

    class Own(torch.optim.SGD):
        pass

    layer = torch.nn.Linear(3, 4)
    optimizer = Own(layer.parameters(), lr=0.1)
    optimizer.state[layer.weight]["preconditioner"] = torch.eye(3)
    torch.optim.lr_scheduler.StepLR(optimizer, 5)
    check_optimizer(Own(layer.parameters(), lr=0.1), copy.deepcopy(optimizer.state_dict()))
    episode = {"r": np.ones(1), "l": np.array([5])}
    check_past_episodes({"episodes": [episode], "successes": [True, np.bool_(0)], "accuracies": [0.5]})
