"""Policies in files of their own: the same again, or one clear error; nothing is unpickled."""

import json
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from memagents import MFEC, NEC, CheckpointError, Imitation, MemoryPolicy, RecurrentPPO, register_core
from memagents.cores.gru import GRU
from memagents.nec.policy import EpisodicPolicy, ProjectionPolicy
from memagents.runs.trees import read_tree, write_tree
from tests.support.toys import OBSERVATIONS, Toy
from tests.support.trees import Bomb, assert_equal


def agent_of(kind, observations="box", actions="discrete", **policy_kwargs):
    kwargs = {} if kind is MFEC else {"n_steps": 4}
    agent = kind("MlpPolicy", Toy(observations, actions), policy_kwargs=policy_kwargs, seed=0, device="cpu", **kwargs)
    agent.learn(12)
    return agent


CASES = [
    (RecurrentPPO, "box", "box", {"log_std_init": -1.0, "core": "gru", "core_kwargs": {"hidden_size": 5}}),
    (RecurrentPPO, "dict", "multi_discrete", {"net_arch": {"pi": [5], "vf": []}, "activation_fn": nn.ReLU}),
    (RecurrentPPO, "symbols", "multi_binary", {"recall_lag": 2, "encoder": "flat"}),
    (RecurrentPPO, "discrete", "shifted", {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {"momentum": 0.5}}),
    (Imitation, "multi_binary", "discrete", {"core": "gru", "ortho_init": False}),
    (NEC, "box", "shifted", {"capacity": 20, "neighbours": 3}),
    (NEC, "multi_discrete", "discrete", {"core": "gru", "capacity": 20}),
    (MFEC, "dict", "discrete", {"capacity": 20}),
]


@pytest.mark.parametrize(("kind", "observations", "actions", "kwargs"), CASES)
def test_the_same_policy_again(kind, observations, actions, kwargs, tmp_path):
    policy = agent_of(kind, observations, actions, **kwargs).policy
    policy.save(tmp_path / "policy")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    again = type(policy).load(tmp_path / "policy", "cpu")
    assert type(again) is type(policy) and type(again.core) is type(policy.core)
    assert_equal(dict(again.state_dict()), dict(policy.state_dict()))
    assert (again.observation_space, again.action_space) == (policy.observation_space, policy.action_space)
    assert type(again.optimizer) is type(policy.optimizer)
    if kind in (NEC, MFEC):
        assert len(again.dictionary) == len(policy.dictionary) > 0
    state, other_state = None, None
    for _ in range(4):
        seen = OBSERVATIONS[observations].sample()
        action, state = policy.predict(seen, state, deterministic=True)
        other, other_state = again.predict(seen, other_state, deterministic=True)
        np.testing.assert_array_equal(action, other)
    again.save(tmp_path / "once more")
    assert_equal(read_tree(tmp_path / "once more"), read_tree(tmp_path / "policy"))


def test_it_goes_on_learning_in_an_agent(tmp_path):
    agent = agent_of(RecurrentPPO)
    agent.policy.save(tmp_path / "policy")
    fresh = RecurrentPPO("MlpPolicy", Toy(), n_steps=4, device="cpu")
    fresh.policy = MemoryPolicy.load(tmp_path / "policy", "cpu")
    fresh.learn(8)


def test_a_policy_of_another_class(tmp_path):
    agent_of(MFEC).policy.save(tmp_path / "mfec")
    agent_of(NEC).policy.save(tmp_path / "nec")
    assert isinstance(EpisodicPolicy.load(tmp_path / "mfec", "cpu"), ProjectionPolicy)  # a kind of it
    for file, kind in (("mfec", MemoryPolicy), ("nec", MemoryPolicy), ("nec", ProjectionPolicy)):
        with pytest.raises(CheckpointError, match=rf"holds a \w+Policy, not a {kind.__name__}"):
            kind.load(tmp_path / file, "cpu")


class Named(MemoryPolicy):
    def __init__(self, observation_space, action_space, lr_schedule, *, width=3, **kwargs):
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[width], **kwargs)


class Passed(MemoryPolicy):
    def __init__(self, *args, width=3, **kwargs):
        super().__init__(*args, net_arch=[width], **kwargs)


def test_a_policy_of_ones_own(tmp_path, monkeypatch):
    """Whichever way it passes its arguments on; its class must be known where it is loaded."""
    for kind in (Named, Passed):
        agent = RecurrentPPO(kind, Toy(), policy_kwargs={"width": 7, "core": "none"}, device="cpu")
        agent.policy.save(tmp_path / "own")
        again = MemoryPolicy.load(tmp_path / "own", "cpu")
        assert type(again) is kind and again.actor[0].out_features == 7
        assert_equal(dict(again.state_dict()), dict(agent.policy.state_dict()))
    monkeypatch.delitem(globals(), "Passed")
    with pytest.raises(CheckpointError, match=r"policy is the class .*:Passed; import its module first"):
        MemoryPolicy.load(tmp_path / "own", "cpu")


@register_core("core_of_mine")
class Mine(GRU):
    pass


def test_a_core_of_ones_own_is_not_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cores_of_mine", types.ModuleType("cores_of_mine"))
    kwargs = {"core": "cores_of_mine:core_of_mine", "core_kwargs": {"hidden_size": 3}, "critic_core": None}
    agent = RecurrentPPO("MlpPolicy", Toy(), n_steps=4, device="cpu", policy_kwargs=kwargs)
    agent.policy.save(tmp_path / "policy")
    assert type(MemoryPolicy.load(tmp_path / "policy", "cpu").core) is Mine
    monkeypatch.delitem(sys.modules, "cores_of_mine")
    (tmp_path / "cores_of_mine.py").write_text("raise SystemExit('a file imported it')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"the core is 'cores_of_mine:core_of_mine', .* add --imports cores_of_mine "
    ):
        MemoryPolicy.load(tmp_path / "policy", "cpu")


class Anything(FlattenExtractor):
    def __init__(self, observation_space, what):
        super().__init__(observation_space)


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path):
    own = {"features_extractor_class": Anything, "features_extractor_kwargs": {"what": object()}}
    policy = MemoryPolicy(spaces.Discrete(3), spaces.Discrete(2), lambda _: 1e-3, **own)
    with pytest.raises(TypeError, match=r"features_extractor_kwargs\['what'\] cannot be saved"):
        policy.save(tmp_path / "policy")
    assert not list(tmp_path.iterdir())


# --- files of others ------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "policy"
    agent_of(RecurrentPPO).policy.save(path)
    return path


def refused(path, match=""):
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CheckpointError, match=match):
        MemoryPolicy.load(path, "cpu")
    assert before is None or path.read_bytes() == before


def test_a_truncated_file(saved):
    whole = saved.read_bytes()
    for length in (*range(0, len(whole), 997), len(whole) - 1):
        saved.write_bytes(whole[:length])
        refused(saved, "policy is truncated, or not a file of memagents|holds no policy")


@pytest.mark.parametrize("write", ["torch", "torch of old", "pickle", "zip"])
def test_a_pickle_is_refused_by_name_and_not_opened(write, saved, tmp_path):
    path = tmp_path / "theirs.pt"
    if write == "zip":  # as Stable-Baselines3 saves an agent
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("policy.pth", pickle.dumps(Bomb()))
            file.writestr("_stable_baselines3_version", "2.9.0")
    elif write == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"policy": Bomb()}, path, _use_new_zipfile_serialization=write == "torch")
    kinds = {"zip": "an agent that Stable-Baselines3 or sb3-contrib saved", "torch": "a file of torch.save"}
    refused(path, f"theirs.pt is {kinds.get(write, 'a pickle')}.*unpickles nothing: see docs/from_sb3_contrib.md")


def test_missing_and_foreign_files(tmp_path):
    refused(tmp_path / "nothing", "nothing does not exist")
    refused(tmp_path, "does not exist|is no regular file")
    (tmp_path / "text").write_text("hello")
    refused(tmp_path / "text", "text is truncated, or not a file of memagents")
    write_tree(tmp_path / "tree", {"weights": {}})
    refused(tmp_path / "tree", "tree holds no policy that can be made")
    write_tree(tmp_path / "list", [1, 2])
    refused(tmp_path / "list", "list holds no policy that can be made")


HOSTILE = {
    "policy_class": [
        {"class": "os:system"},
        {"class": "subprocess:Popen"},
        {"class": "torch.nn:Linear"},
        "memagents:MemoryPolicy",
        None,
        {"class": 3},
    ],
    "arguments": [
        {"core": "os:system"},
        {"core": "no_such_module:Core"},
        {"core": "lsmt"},
        {"core": 3},
        {"activation_fn": {"class": "builtins:eval"}},
        {"features_extractor_class": {"class": "subprocess:Popen"}},
        {"optimizer_class": {"class": "torch.nn:Linear"}},
        {"net_arch": "big"},
        {"no_such_argument": 1},
        {"observation_space": 3},
        {"lr_schedule": 3},
        [],
        None,
    ],
    "observation_space": [{"type": "Text"}, None, {"type": "Dict", "spaces": {}}, {"type": "Discrete"}],
    "action_space": [None, {"type": "Dict", "spaces": {}}, 3],
    "weights": [{}, None, [], {"actor.0.weight": 3}],
    "memory": [{"keys": 3}, 3],
    "format": [10**6, "new", None],
}


@pytest.mark.parametrize(("part", "value"), [(part, value) for part, values in HOSTILE.items() for value in values])
def test_a_hostile_file_is_an_error_and_runs_nothing(part, value, saved, monkeypatch):
    tree = read_tree(saved)
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("a file ran a command"))
    monkeypatch.setattr("subprocess.Popen.__init__", lambda *_, **__: pytest.fail("a file ran a command"))
    write_tree(saved, {**tree, part: value})
    if part == "format":  # the file's own is what counts
        MemoryPolicy.load(saved, "cpu")
        return
    refused(saved)


def test_nothing_is_pickled_or_unpickled(tmp_path, monkeypatch):
    agent = agent_of(NEC)
    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, lambda *_, **__: pytest.fail("pickle was used"))
    monkeypatch.setattr(torch, "save", lambda *_, **__: pytest.fail("torch.save was used"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was used"))
    agent.policy.save(tmp_path / "policy")
    EpisodicPolicy.load(tmp_path / "policy", "cpu")


# --- layers of the heads --------------------------------------------------------------------------------------------


def widths(net):
    return [layer.out_features for layer in net if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize(
    ("net_arch", "actor", "critic"),
    [
        (None, [], []),
        ([], [], []),
        ([5, 6], [5, 6], [5, 6]),
        ((5,), [5], [5]),
        ({"pi": [5], "vf": [6, 7]}, [5], [6, 7]),
        ({"pi": [5]}, [5], []),
        ({"vf": (6,)}, [], [6]),
    ],
)
def test_hidden_layers(net_arch, actor, critic):
    policy = MemoryPolicy(spaces.Discrete(3), spaces.Discrete(2), lambda _: 1e-3, net_arch=net_arch)
    assert (widths(policy.actor), widths(policy.critic)) == (actor, critic)


def test_hidden_layers_as_they_were_written_of_old():
    with pytest.warns(UserWarning, match="since Stable-Baselines3 1.8") as heard:
        agent = RecurrentPPO("MlpPolicy", Toy(), policy_kwargs={"net_arch": [{"pi": [5], "vf": [6]}]}, device="cpu")
    assert (widths(agent.policy.actor), widths(agent.policy.critic)) == ([5], [6])
    assert heard[0].filename == __file__


@pytest.mark.parametrize(
    "net_arch",
    [3, "64", [0], [-1], [5.5], [True], [[5]], [5, {"pi": [5]}], {"pi": 5}, {"actor": [5]}, {"pi": [None]}, [None]],
    ids=json.dumps,
)
def test_what_are_no_hidden_layers(net_arch):
    with pytest.raises(ValueError, match="net_arch must be a list of sizes"):
        RecurrentPPO("MlpPolicy", Toy(), policy_kwargs={"net_arch": net_arch}, device="cpu")
    if not isinstance(net_arch, dict):
        with pytest.raises(ValueError, match="net_arch must be a list of sizes"):
            NEC("MlpPolicy", Toy(), policy_kwargs={"net_arch": net_arch}, device="cpu")
