"""Run folders: an interrupted run goes on exactly, an agent comes back whole, and no file can do harm."""

import contextlib
import copy
import errno
import json
import os
import pickle
import resource
import shutil
import sys
import threading
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from memagents import CheckpointError, Imitation, MemoryPolicy, RecurrentPPO, as_vec_env, load_agent, register_core
from memagents.algorithms.training_state import state_like
from memagents.cores.gru import GRU
from memagents.environments.spaces import space_to_json
from memagents.runs import agent_files, checkpoint, files, layout
from memagents.runs.layout import MANIFEST_FILE, WEIGHTS_FILE
from tests.cores.support import SMALL
from tests.support.agents import Interrupted, assert_same_weights, interrupt_at, make, weights_of
from tests.support.toys import ACTIONS, OBSERVATIONS, Floats, dummy, tmaze, underground
from tests.support.trees import Bomb, assert_equal

FILES = ["policy.json", "policy.safetensors", "checkpoint/state.safetensors"]
POLICY_JSON, WEIGHTS, STATE = FILES


def contents(folder):
    """Every file below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- going on -------------------------------------------------------------------------------------------------------


def copying():
    return as_vec_env(gym.make_vec("memenvs/Copy-v0", num_envs=4, width=3, length=(1, 2)))


LINEAR = LinearSchedule(1e-2, 0.0, 1.0)
RUNS = {
    "ppo tmaze lstm": (RecurrentPPO, "lstm", tmaze, {}),
    "ppo underground dnc": (RecurrentPPO, "dnc", underground, {}),
    "ppo conditioned": (RecurrentPPO, "gru", underground, {"condition_on": ["action", "reward"]}),
    "ppo normalized": (RecurrentPPO, "lstm", lambda: VecNormalize(Floats(underground())), {}),
    "ppo memory rate": (RecurrentPPO, "rmc", tmaze, {"memory_learning_rate": 1e-3, "target_kl": 0.01}),
    "ppo monitored": (RecurrentPPO, "none", lambda: VecMonitor(tmaze()), {}),
    "ppo optimizer": (
        *(RecurrentPPO, "lstm", tmaze),
        {"policy_kwargs": {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {"momentum": 0.9}}},
    ),
    "cloning underground dnc": (Imitation, "dnc", underground, {}),
    "cloning underground lstm": (Imitation, "lstm", underground, {}),
    "dagger tmaze": (Imitation, "lstm", tmaze, {"oracle_share": LinearSchedule(1.0, 0.0, 1.0)}),
    "dagger underground": (Imitation, "dnc", underground, {"oracle_share": 0.5, "condition_on": ["action"]}),
    "cloning whole episodes": (Imitation, "ntm", copying, {"whole_episodes": True, "n_steps": 7}),
    "dagger whole episodes": (Imitation, "shm", copying, {"whole_episodes": True, "oracle_share": 0.5}),
    "ppo bits conditioned": (
        *(RecurrentPPO, "kv", copying),
        {"condition_on": ["action", "reward"], "policy_kwargs": {"core_kwargs": {"length": 4}}},
    ),
    "cloning keys": (Imitation, "shm", tmaze, {"n_minibatches": 3, "n_epochs": 2}),
    "cloning dropout": (Imitation, "gru", underground, {"policy_kwargs": {"core_kwargs": {"dropout": 0.5}}}),
    "ppo dropout of drawn": (
        *(RecurrentPPO, "shm", tmaze),
        {"policy_kwargs": {"core_kwargs": {**SMALL["shm"], "dropout": 0.5}}},
    ),
    "ppo recall": (RecurrentPPO, "gru", tmaze, {"policy_kwargs": {"recall_lag": 2, "recall_weight": 0.3}}),
    "cloning recall": (Imitation, "dnc", tmaze, {"policy_kwargs": {"recall_lag": 1}}),
    "ppo complex": (RecurrentPPO, "s5", tmaze, {"policy_kwargs": {"core_kwargs": SMALL["s5"]}}),
    "cloning buffers": (Imitation, "lmu", tmaze, {"policy_kwargs": {"core_kwargs": SMALL["lmu"]}}),
    "ppo drawn edges": (RecurrentPPO, "gcm", tmaze, {"policy_kwargs": {"core_kwargs": {"edges": "learned"}}}),
}


@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_exactly(name, tmp_path):
    """N steps, a crash, N more: bit for bit 2N steps, in weights, optimiser, counters, memory, environments, dice."""
    cls, core, environment, kwargs = RUNS[name]
    kwargs = {"learning_rate": LINEAR, "checkpoint_interval": 1, **kwargs}
    window = 4 * kwargs.get("n_steps", 8)
    total = 6 * window
    straight = make(environment(), cls, core, **kwargs)
    straight.learn(total)

    agent = make(environment(), cls, core, **kwargs, run_dir=tmp_path / "run")
    with pytest.raises(Interrupted):
        agent.learn(total, callback=interrupt_at(3 * window + 11))
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002
    resumed = cls.resume(tmp_path / "run", environment(), device="cpu")
    assert resumed.num_timesteps == 3 * window
    assert resumed.remaining_timesteps == 3 * window
    resumed.learn(resumed.remaining_timesteps, reset_num_timesteps=False)
    expected, reached = straight.training_state(), resumed.training_state()
    for state in (expected, reached):  # VecMonitor also keeps the seconds, and numbers of NumPy's
        state["episodes"] = [(float(episode["r"]), int(episode["l"])) for episode in state["episodes"]]
    assert_same_weights(weights_of(resumed), weights_of(straight))
    # Random states last: equal only if all that was drawn was.
    assert_equal(reached, expected)
    for part in ("observations", "actions", "rewards", "values", "log_probs", "starts", "decisions", "labels"):
        assert_equal(getattr(resumed._window, part), getattr(straight._window, part))


def test_a_restored_memory_begins_where_a_new_one_does():
    """A tensor of a file begins at any address, and sums on the CPU depend on that to the last bit."""
    leaf = torch.arange(9.0)[1:]
    restored = state_like(torch.zeros(8), [leaf])
    assert torch.equal(restored, leaf) and restored.data_ptr() != leaf.data_ptr()
    assert restored.data_ptr() % 16 == 0


@pytest.mark.parametrize("stop", ["end", "callback"])
def test_learn_leaves_a_checkpoint(stop, tmp_path, monkeypatch):
    """Wherever it ends, the run goes on from there, and what is saved already is not saved again."""
    saved = []
    save = RecurrentPPO.save
    monkeypatch.setattr(RecurrentPPO, "save", lambda self, path: saved.append(self.num_timesteps) or save(self, path))
    ending = 5 * 32 if stop == "end" else 5 * 32 - 8
    agent = make(learning_rate=LINEAR, checkpoint_interval=2, run_dir=tmp_path)
    agent.learn(5 * 32, callback=lambda now, _: now["self"].num_timesteps < ending or stop == "end")
    assert saved == [32, 64, 128, ending]  # the first iteration, every second one, the end
    resumed = RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
    assert_equal(resumed.training_state(), agent.training_state())
    assert_same_weights(weights_of(resumed), weights_of(agent))
    saved.clear()
    resumed.learn(2 * 32, reset_num_timesteps=False)
    assert saved == ([192, 224] if stop == "end" else [ending + 64])


def test_a_run_may_be_interrupted_again_and_again(tmp_path):
    straight = make(learning_rate=LINEAR)
    straight.learn(6 * 32)
    agent = make(learning_rate=LINEAR, checkpoint_interval=1, run_dir=tmp_path)
    with pytest.raises(Interrupted):
        agent.learn(6 * 32, callback=interrupt_at(40))
    for step in (80, 81, 130):
        agent = RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
        with pytest.raises(Interrupted):
            agent.learn(agent.remaining_timesteps, callback=interrupt_at(step), reset_num_timesteps=False)
    agent = RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
    agent.learn(agent.remaining_timesteps, reset_num_timesteps=False)
    assert_same_weights(weights_of(agent), weights_of(straight))


def test_without_a_snapshot_episodes_begin_anew(tmp_path):
    """CartPole cannot be put back: all else goes on, and its episodes are not those of the beginning again."""

    def cartpoles():
        return gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")

    agent = make(cartpoles(), checkpoint_interval=1, run_dir=tmp_path)
    beginning = []
    with pytest.raises(Interrupted):
        agent.learn(
            200,
            callback=lambda now, _: (
                beginning.append(now["self"]._window.observations[0].clone()) or (interrupt_at(40)(now, _))
            ),
        )
    optimizer = agent.policy.optimizer.state_dict()
    agent = RecurrentPPO.resume(tmp_path, cartpoles(), device="cpu")
    assert agent.num_timesteps == 32
    assert_equal(agent.policy.optimizer.state_dict()["state"][0], optimizer["state"][0])
    agent.learn(16, reset_num_timesteps=False)
    assert agent._window.starts[0].all()
    assert agent.num_timesteps == 48
    assert not torch.equal(agent._window.observations[0], beginning[0])


def test_a_schedule_that_no_file_holds_is_given_again(tmp_path):
    def halving(left):
        return 1e-3 * 0.5 ** (5 * (1 - left))

    agent = make(learning_rate=halving, ent_coef=lambda left: 0.0, run_dir=tmp_path)
    with pytest.warns(UserWarning) as heard:
        agent.learn(64)
        agent.save(tmp_path)
    (warning,) = heard  # however many checkpoints there were
    message = (
        "learning_rate, ent_coef are functions, which no file can hold: pass them again to load or resume (a Linear"
    )
    assert str(warning.message).startswith(message)
    with pytest.raises(CheckpointError, match=r"policy\.json: learning_rate was .*halving.* pass learning_rate= anew"):
        RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
    acting = load_agent(tmp_path, tmaze(), device="cpu")
    assert_same_weights(weights_of(acting), weights_of(agent))
    acting.predict(acting.env.reset())
    with pytest.raises(ValueError, match=r"^learning_rate was .*halving.* pass learning_rate= anew"):
        acting.learn(32)
    acting.save(tmp_path / "again")  # still without them
    for folder in (tmp_path, tmp_path / "again"):
        loaded = RecurrentPPO.load(folder, tmaze(), device="cpu", learning_rate=halving)
        with pytest.raises(ValueError, match=r"ent_coef= anew to load or resume of its class \(a LinearSchedule of"):
            loaded.learn(32)
    agent = RecurrentPPO.resume(tmp_path, tmaze(), device="cpu", learning_rate=halving, ent_coef=0.0)
    agent.learn(64, reset_num_timesteps=False)
    assert agent.policy.optimizer.param_groups[0]["lr"] == pytest.approx(halving(0))


def test_what_does_not_fit_is_not_gone_on_with(tmp_path):
    agent = make(run_dir=tmp_path)
    agent.learn(64)
    agent.save(tmp_path)
    with pytest.raises(CheckpointError, match="the run had 4 environments, now there are 3"):
        RecurrentPPO.resume(tmp_path, tmaze(3), device="cpu")
    with pytest.raises(CheckpointError, match=r"observation_space was Multi.* that of env is Multi"):
        RecurrentPPO.resume(tmp_path, underground(), device="cpu")
    with pytest.raises(CheckpointError, match="is a run of RecurrentPPO, not of Imitation"):
        Imitation.resume(tmp_path, tmaze(), device="cpu")
    with pytest.raises(CheckpointError, match="wrapped in VecNormalize"):
        RecurrentPPO.resume(tmp_path, VecNormalize(tmaze(), norm_obs=False), device="cpu")
    with pytest.raises(ValueError, match="env"):
        RecurrentPPO.resume(tmp_path, None)
    longer = as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=4, length=5))
    with pytest.raises(CheckpointError, match=STATE):
        RecurrentPPO.resume(tmp_path, longer, device="cpu")


# --- saving and loading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observations", OBSERVATIONS)
@pytest.mark.parametrize("actions", ACTIONS)
def test_spaces_and_weights_come_back(observations, actions, tmp_path):
    env = dummy(2, observations=observations, actions=actions)
    agent = make(env, RecurrentPPO, "none", condition_on=["action"])
    agent.learn(16)
    agent.save(tmp_path / "run")
    again = RecurrentPPO.load(tmp_path / "run", device="cpu")
    assert again.observation_space == agent.observation_space
    assert again.action_space == agent.action_space
    assert again.num_timesteps == 16
    assert_same_weights(weights_of(again), weights_of(agent))
    seen = agent.get_env().reset()
    expected, _ = agent.predict(seen, deterministic=True)
    np.testing.assert_array_equal(again.predict(seen, deterministic=True)[0], expected)
    again = RecurrentPPO.load(tmp_path / "run", env, device="cpu")
    again.learn(16)


class Wide(CombinedExtractor):
    """An extractor of a user's."""

    def __init__(self, observation_space, gain=1.0):
        super().__init__(observation_space)
        self.gain = gain

    def forward(self, observations):
        return self.gain * super().forward(observations)


class Own(MemoryPolicy):
    """A policy of a user's."""


def test_hyperparameters_come_back(tmp_path):
    given = {
        "learning_rate": LinearSchedule(1e-3, 1e-4, 0.5),
        "memory_learning_rate": FloatSchedule(2e-4),
        "clip_range": ConstantSchedule(0.3),
        "clip_range_vf": 0.7,
        "max_grad_norm": float("inf"),
        "gamma": np.float32(0.5),
        "n_epochs": np.int64(3),
        "condition_on": ["reward"],
        "target_kl": 0.5,
        "normalize_advantage": False,
        "stats_window_size": 7,
    }
    policy_kwargs = {
        "net_arch": {"pi": [4], "vf": (5, 6)},
        "activation_fn": torch.nn.ReLU,
        "features_extractor_class": Wide,
        "features_extractor_kwargs": {"gain": 2.5},
        "optimizer_class": torch.optim.AdamW,
        "optimizer_kwargs": {"betas": (0.8, 0.9), "eps": 1e-5},
        "core": "dnc",
        "core_kwargs": SMALL["dnc"],
    }
    agent = RecurrentPPO(Own, dummy(3), policy_kwargs=policy_kwargs, n_steps=4, seed=3, device="cpu", **given)
    agent.learn(24)
    agent.save(tmp_path)
    again = RecurrentPPO.load(tmp_path, dummy(3), device="cpu")
    assert type(again.policy) is Own
    for name in agent.hyperparameters:
        ours, theirs = getattr(again, name), getattr(agent, name)
        if callable(theirs):
            assert [FloatSchedule(ours)(left) for left in (1, 0.7, 0.2)] == [
                FloatSchedule(theirs)(left) for left in (1, 0.7, 0.2)
            ]
        else:
            assert ours == theirs, name
    assert type(again.policy.features_extractor) is Wide
    assert again.policy.features_extractor.gain == 2.5
    assert isinstance(again.policy.optimizer, torch.optim.AdamW)
    assert again.policy.optimizer.param_groups[0]["betas"] == (0.8, 0.9)
    assert [layer.out_features for layer in again.policy.critic if hasattr(layer, "out_features")] == [5, 6]
    assert_same_weights(weights_of(again), weights_of(agent))
    again.learn(24)


def test_what_cannot_be_saved_is_known_at_once(tmp_path):
    encoder = {"features_extractor_class": Wide, "features_extractor_kwargs": {"gain": torch.ones(1)}}
    agent = make(dummy(4, observations="dict"), policy_kwargs=encoder)
    with pytest.raises(TypeError, match=r"\['features_extractor_kwargs'\]\['gain'\] cannot be saved: Tensor"):
        agent.save(tmp_path)
    assert not contents(tmp_path)
    agent.run_dir = tmp_path
    with pytest.raises(TypeError, match="cannot be saved"):
        agent.learn(1000)
    assert agent.num_timesteps == 0


def test_arguments_may_be_changed_while_loading(tmp_path):
    make(learning_rate=0.1).save(tmp_path)
    agent = RecurrentPPO.load(tmp_path, tmaze(7), device="cpu", learning_rate=0.25, n_steps=5)
    assert (agent.learning_rate, agent.n_steps, agent.n_envs) == (0.25, 5, 7)
    agent.learn(70)
    assert agent.num_timesteps == 70


def test_an_agent_without_environment_can_be_given_one(tmp_path):
    make().save(tmp_path)
    agent = RecurrentPPO.load(tmp_path, device="cpu")
    with pytest.raises(ValueError, match="no environment to learn in"):
        agent.learn(10)
    agent.set_env(tmaze())
    agent.learn(64)
    assert agent.num_timesteps == 64


def test_what_is_shown_and_logged_comes_back(tmp_path, capsys):
    agent = make(verbose=1, tensorboard_log=tmp_path / "tb")
    agent.save(tmp_path / "run")
    again = RecurrentPPO.load(tmp_path / "run", tmaze(), device="cpu")
    assert (again.verbose, again.tensorboard_log) == (1, str(tmp_path / "tb"))
    again.learn(32)
    assert (tmp_path / "tb" / "run_1").is_dir()
    assert "Using cpu device" in capsys.readouterr().out
    relative = make(tensorboard_log="logs")
    relative.save(tmp_path / "relative")
    assert RecurrentPPO.load(tmp_path / "relative", device="cpu").tensorboard_log == "logs"
    assert RecurrentPPO.load(tmp_path / "run", device="cpu", verbose=0, tensorboard_log=None).tensorboard_log is None


def test_more_minibatches_than_environments(tmp_path):
    make(n_minibatches=4).save(tmp_path)
    with pytest.raises(CheckpointError, match=r"number of environments \(2\).*; n_minibatches=… changes it"):
        RecurrentPPO.load(tmp_path, tmaze(2), device="cpu")
    assert RecurrentPPO.load(tmp_path, tmaze(2), device="cpu", n_minibatches=2).n_minibatches == 2


def test_slots_may_differ_where_no_weight_depends_on_them(tmp_path):
    make(core="dnc").save(tmp_path)
    more = {"core": "dnc", "core_kwargs": {**SMALL["dnc"], "slots": 9}}
    agent = RecurrentPPO.load(tmp_path, tmaze(), device="cpu", policy_kwargs=more)
    state = agent.policy.initial_state(1)
    assert state.actor.memory.shape[1] == state.critic.memory.shape[1] == 9
    agent.learn(32)


def test_one_agent_begins_with_anothers_weights(tmp_path):
    imitation = make(cls=Imitation, oracle_share=0.5)
    imitation.learn(32)
    imitation.save(tmp_path)
    agent = RecurrentPPO.load(tmp_path, tmaze(), device="cpu")
    assert_same_weights(weights_of(agent), weights_of(imitation))
    shared = {"critic_core": None}
    other = make(policy_kwargs=shared)
    other.set_parameters(tmp_path)
    assert_same_weights(weights_of(other), weights_of(imitation))
    parameters = imitation.get_parameters()
    third = make(seed=5, policy_kwargs=shared)
    third.set_parameters(parameters)
    assert_same_weights(weights_of(third), weights_of(imitation))


def test_the_ending_that_sb3_adds(tmp_path):
    agent = make()
    agent.save(tmp_path / "best_model.zip")
    assert sorted(os.listdir(tmp_path)) == ["best_model"]
    for path in (tmp_path / "best_model", tmp_path / "best_model.zip", str(tmp_path / "best_model")):
        RecurrentPPO.load(path, device="cpu")
    agent.save(tmp_path / "run.v2")
    assert (tmp_path / "run.v2" / POLICY_JSON).is_file()


# --- nothing is unpickled -------------------------------------------------------------------------------------------


def test_nothing_is_pickled_or_unpickled(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a pickle")

    env, other = underground(), underground()
    make(underground(), core="dnc", condition_on=["action"]).learn(64)  # Numba's cache has pickles of its own
    import torch._dynamo  # which an optimiser imports late, and whose classes are of pickle's

    for module, names in (
        (pickle, ["load", "loads", "dump", "dumps", "Unpickler", "Pickler"]),
        (torch, ["load", "save"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, forbidden)
    agent = make(env, core="dnc", condition_on=["action"], checkpoint_interval=1, run_dir=tmp_path)
    agent.learn(64)
    RecurrentPPO.load(tmp_path, device="cpu")
    agent.set_parameters(tmp_path)
    RecurrentPPO.resume(tmp_path, other, device="cpu").learn(32, reset_num_timesteps=False)


# --- crashes --------------------------------------------------------------------------------------------------------


def test_a_kill_while_saving_leaves_one_moment(tmp_path, monkeypatch):
    """All files are of the checkpoint before or all of the new one, and what is saved next is whole, too."""
    run = tmp_path / "run"
    agent = make(run_dir=run, checkpoint_interval=1)
    agent.learn(32)
    moments = [(weights_of(agent), copy.deepcopy(agent.training_state()))]
    replace, left = os.replace, []

    def killed_after(source, target):
        replace(source, target)
        if not str(target).endswith("progress.csv"):  # the log is written before
            left.append(shutil.copytree(run, tmp_path / f"left-{len(left)}"))

    monkeypatch.setattr(os, "replace", killed_after)
    agent.learn(32, reset_num_timesteps=False)
    monkeypatch.undo()
    moments.append((weights_of(agent), agent.training_state()))
    assert len(left) == 7  # three files beside their places, the manifest, three in their places
    for renames, folder in enumerate(left, 1):
        weights, state = moments[renames >= 4]
        loaded = RecurrentPPO.load(folder, device="cpu")
        assert loaded.num_timesteps == (64 if renames >= 4 else 32)
        assert_same_weights(weights_of(loaded), weights)
        resumed = RecurrentPPO.resume(folder, tmaze(), device="cpu")
        assert_same_weights(weights_of(resumed), weights)
        assert_equal(resumed.training_state(), state)
        (folder / ".policy.json.99999").write_text("{")  # of a process that was killed
        (folder / "checkpoint" / "..state.safetensors.next.99999").write_text("{")
        (folder / ".mine").write_text("a person's own")
        resumed.learn(32, reset_num_timesteps=False)
        assert RecurrentPPO.load(folder, device="cpu").num_timesteps == loaded.num_timesteps + 32
        assert [path.name for path in folder.rglob(".*")] == [".mine"]


@pytest.mark.parametrize("failing", range(1, 8))
def test_a_checkpoint_that_cannot_be_written_leaves_one_moment(failing, tmp_path, monkeypatch):
    agent = make(run_dir=tmp_path, checkpoint_interval=1)
    agent.learn(32)
    before, replace, count = contents(tmp_path), os.replace, 0

    def full(source, target):
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left") if failing <= 4 else contextlib.nullcontext():
        agent.save(tmp_path)
    monkeypatch.undo()
    if failing <= 4:  # the manifest, or before it
        assert contents(tmp_path) == before
    for _ in range(2):
        assert_same_weights(weights_of(RecurrentPPO.load(tmp_path, device="cpu")), weights_of(agent))
        RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
        agent.save(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_that_changed_is_noticed(name, good, tmp_path):
    whole = (good / name).read_bytes()
    for place in np.random.default_rng(0).integers(len(whole), size=20):
        folder = shutil.copytree(good, tmp_path / "run", dirs_exist_ok=True)
        (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert_refused(folder, f"{name} is damaged, or was changed by hand", *USED_BY[name])


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "manifest.json is no readable JSON file"),
        ('{"format": 1}', "manifest.json is damaged: KeyError"),
        ('{"format": 1, "files": [3]}', "manifest.json is damaged: AttributeError"),
        ('{"format": 1, "files": {"policy.json": {"bytes": "many", "sha256": ""}}}', "manifest.json is damaged: Value"),
        ('{"format": 9, "files": {}}', "manifest.json has format 9"),
    ],
)
def test_a_manifest_that_cannot_be_used(manifest, message, spoiled):
    (spoiled / MANIFEST_FILE).write_text(manifest)
    assert_refused(spoiled, message)


@pytest.mark.parametrize("name", [*FILES, MANIFEST_FILE])
def test_what_is_no_file_is_not_read(name, spoiled):
    """Whoever opened a pipe would wait for its other end."""
    (spoiled / name).unlink(missing_ok=True)
    os.mkfifo(spoiled / name)
    refusal = f"{name} is no regular file"
    load, resume = USED_BY.get(name, (True, True))
    if load:
        with pytest.raises(CheckpointError, match=refusal):
            RecurrentPPO.load(spoiled, device="cpu")
    if resume:
        with pytest.raises(CheckpointError, match=refusal):
            RecurrentPPO.resume(spoiled, tmaze(), device="cpu")


def test_a_training_may_replace_what_is_being_read(tmp_path, monkeypatch):
    agent = make(run_dir=tmp_path / "run", checkpoint_interval=1)
    agent.learn(32)
    read_bytes = files.read_bytes

    def meanwhile(path, *rest):
        data = read_bytes(path, *rest)
        if path.name == MANIFEST_FILE:  # between manifest and file
            monkeypatch.undo()
            agent.num_timesteps += 1
            agent.save(tmp_path / "run")
        return data

    monkeypatch.setattr(files, "read_bytes", meanwhile)
    assert agent_files.read_description(tmp_path / "run")["num_timesteps"] == 33


def test_a_file_may_take_its_place_between_two_looks(tmp_path, monkeypatch):
    agent = make(run_dir=tmp_path, checkpoint_interval=1)
    agent.learn(32)
    place, read_as = tmp_path / WEIGHTS_FILE, checkpoint._read_as
    layout.beside(place).write_bytes(place.read_bytes())
    place.write_bytes(b"of the checkpoint before")

    def meanwhile(entry, path):
        found = read_as(entry, path)
        if layout.beside(place).exists():
            layout.beside(place).replace(place)
        return found

    monkeypatch.setattr(checkpoint, "_read_as", meanwhile)
    RecurrentPPO.load(tmp_path, device="cpu")


def test_an_agent_is_loaded_as_it_was_at_one_moment(tmp_path, monkeypatch):
    agent = make(run_dir=tmp_path / "run", checkpoint_interval=1)
    agent.learn(32)
    read_weights, reads = agent_files.read_weights, []

    def meanwhile(path):
        reads.append(path)
        if len(reads) == 1:  # between description and weights
            agent.num_timesteps += 1
            agent.save(tmp_path / "run")
        return read_weights(path)

    monkeypatch.setattr(agent_files, "read_weights", meanwhile)
    assert RecurrentPPO.load(tmp_path / "run", device="cpu").num_timesteps == 33

    def always(path):
        agent.num_timesteps += 1
        agent.save(tmp_path / "run")
        return read_weights(path)

    monkeypatch.setattr(agent_files, "read_weights", always)
    with pytest.raises(CheckpointError, match="is saved more often than it can be read"):
        RecurrentPPO.load(tmp_path / "run", device="cpu")


def test_a_disk_that_is_full_for_a_while_costs_checkpoints_only(tmp_path, monkeypatch):
    agent = make(run_dir=tmp_path, checkpoint_interval=1)
    save, attempts = RecurrentPPO.save, []

    def full_at_first(self, path):
        attempts.append(self.num_timesteps)
        if len(attempts) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path)

    monkeypatch.setattr(RecurrentPPO, "save", full_at_first)
    with pytest.warns(UserWarning, match="no checkpoint at step (32|64), the last one stays: .*No space left"):
        agent.learn(4 * 32)
    assert attempts == [32, 64, 96, 128]
    assert RecurrentPPO.load(tmp_path, device="cpu").num_timesteps == 128
    attempts.clear()
    with pytest.warns(UserWarning, match="no checkpoint"), pytest.raises(OSError, match="No space left"):
        agent.learn(32)  # the end has no next time


def test_checkpoints_come_by_time(tmp_path, monkeypatch):
    now, saved = 0.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(RecurrentPPO, "save", lambda self, path: saved.append(self.num_timesteps))
    agent = make(run_dir=tmp_path, checkpoint_minutes=2)

    def a_minute_a_step(*_):
        nonlocal now
        now += 60 / 8  # of the 8 in a window
        return True

    agent.learn(6 * 32, callback=a_minute_a_step)
    assert saved == [32, 96, 160, 192]  # the first window, then every two minutes, and the end
    with pytest.raises(ValueError, match="checkpoint_minutes must be a finite number above 0, not 0"):
        make(checkpoint_minutes=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value, spoiled):
    spoil(lambda w: w.update({"value_net.bias": torch.tensor([value])}))(spoiled, WEIGHTS)
    assert_refused(spoiled, f"{WEIGHTS}: the weight .*value_net.bias is not finite", resume=False)


def test_no_thread_or_file_outlives_learning(tmp_path):
    def held():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    agent = make(run_dir=tmp_path)
    agent.learn(32)
    before = held()
    for _ in range(3):
        agent.learn(32, reset_num_timesteps=False)
        RecurrentPPO.resume(tmp_path, tmaze(), device="cpu").learn(32, reset_num_timesteps=False)
    assert held() == before


@pytest.mark.parametrize("name", ["{0}/thesis.tex", "../thesis.tex", "config.yaml"])
def test_a_manifest_reaches_no_other_file(name, spoiled, tmp_path):
    name = name.format(tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / ".thesis.tex.next").write_text("mine, too")
    (spoiled / MANIFEST_FILE).write_text(json.dumps({"format": 1, "files": {name: {"bytes": 1, "sha256": "x"}}}))
    assert_refused(spoiled, "manifest.json names what is no file of a checkpoint: ")
    other = make()
    other.claim(spoiled)
    with pytest.raises(CheckpointError, match="names what is no file of a checkpoint"):
        other.save(spoiled)
    assert (tmp_path / "thesis.tex").exists() and (tmp_path / ".thesis.tex.next").exists()


def test_two_may_save_into_one_folder(tmp_path):
    """One after the other, each whole."""
    agents = [make(core="gru", seed=seed) for seed in range(2)]
    ends = [threading.Thread(target=lambda a=agent: [a.save(tmp_path) for _ in range(15)]) for agent in agents]
    for end in ends:
        end.start()
    for end in ends:
        end.join()
    loaded = weights_of(RecurrentPPO.load(tmp_path, device="cpu"))
    assert any(all(torch.equal(loaded[n], w) for n, w in weights_of(agent).items()) for agent in agents)
    assert not list(tmp_path.rglob(".*"))


def test_a_first_checkpoint_that_has_not_taken_its_place_is_one(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("")
    agent = make()
    agent.claim(tmp_path)
    monkeypatch.setattr(Path, "replace", lambda *_: None)  # killed when the manifest was there
    agent.save(tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / POLICY_JSON).exists() and layout.without_checkpoint(tmp_path) is None
    RecurrentPPO.load(tmp_path, device="cpu")
    with pytest.raises(ValueError, match="exists; add --overwrite"):
        layout.empty(tmp_path, overwrite=False)
    layout.empty(tmp_path, overwrite=True)
    assert list(tmp_path.rglob("*")) == []


def test_the_logger_goes_on_after_learning(tmp_path):
    agent = make(run_dir=tmp_path)
    agent.learn(32)
    agent.logger.record("mine", 1.0)
    agent.logger.dump(32)
    assert "mine" in (tmp_path / "progress.csv").read_text()


class Spoiled(gym.vector.VectorWrapper):
    """Rewards become NaN after some steps."""

    def __init__(self, env, after):
        super().__init__(env)
        self.remaining = after

    def step(self, actions):
        observations, rewards, *rest = self.env.step(actions)
        self.remaining -= 1
        return observations, rewards * (np.nan if self.remaining < 0 else 1), *rest


@pytest.mark.parametrize("cls", [RecurrentPPO, Imitation])
def test_nan_in_a_loss_stops_and_keeps_the_last_checkpoint(cls, tmp_path):
    env = gym.make_vec("memenvs/TMaze-v0", num_envs=4, length=3)
    agent = make(Spoiled(env, after=20), cls, run_dir=tmp_path, checkpoint_interval=1)
    kept = {}

    def before(now, _):
        kept.update(weights_of(now["self"]))
        return True

    losses = "policy_gradient_loss and value_loss are" if cls is RecurrentPPO else "value_loss is"
    why = "the reward of environment 0 at step 84 is nan; the last good checkpoint is in"
    with pytest.raises(FloatingPointError, match=f"^{losses} not finite at step 96: {why} {tmp_path}$"):
        agent.learn(160, callback=before)
    assert_same_weights(weights_of(agent), kept)
    resumed = cls.resume(tmp_path, tmaze(), device="cpu")
    assert resumed.num_timesteps == 64
    assert_same_weights(weights_of(resumed), kept)
    resumed.learn(resumed.remaining_timesteps, reset_num_timesteps=False)
    assert resumed.num_timesteps == 160


def test_a_loss_may_be_infinite_where_its_gradient_is_not():
    agent = make(max_grad_norm=1.0)
    before = weights_of(agent)
    weight = agent.policy.value_net.bias
    with pytest.raises(FloatingPointError, match="ponder_loss is not finite"):
        agent.step_optimizer({"value_loss": weight.sum(), "ponder_loss": weight.sum() + torch.inf})
    with pytest.raises(FloatingPointError, match="the norm of the gradient is not finite"):
        agent.step_optimizer({"value_loss": (weight - weight.detach()).abs().pow(0.5).sum()})
    assert_same_weights(weights_of(agent), before)


# --- files that cannot be used --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good run folder; copy it before it is spoiled."""
    folder = tmp_path_factory.mktemp("runs") / "good"
    agent = make(policy_kwargs={"core_kwargs": {"hidden_size": 4}}, run_dir=folder, checkpoint_interval=1)
    agent.learn(64)
    return folder


@pytest.fixture
def spoiled(good, tmp_path):
    """A copy of the good one, whose files nobody vouches for."""
    shutil.copytree(good, tmp_path / "run")
    (tmp_path / "run" / MANIFEST_FILE).unlink()
    return tmp_path / "run"


def assert_refused(folder, name, load=True, resume=True):
    """Assert that load and resume refuse a folder, with an error that names the file, and change nothing."""
    before, agent = contents(folder), make(policy_kwargs={"core_kwargs": {"hidden_size": 4}})
    ours = weights_of(agent)
    if load:
        with pytest.raises(CheckpointError, match=name):
            RecurrentPPO.load(folder, device="cpu")
        if name == WEIGHTS:
            with pytest.raises(CheckpointError, match=name):
                agent.set_parameters(folder)
    if resume:
        with pytest.raises(CheckpointError, match=name):
            RecurrentPPO.resume(folder, tmaze(), device="cpu")
    assert_same_weights(weights_of(agent), ours)
    assert contents(folder) == before


USED_BY = {POLICY_JSON: (True, True), WEIGHTS: (True, False), STATE: (False, True)}


@pytest.mark.parametrize("name", FILES)
def test_truncated_files(name, spoiled):
    file = spoiled / name
    whole = file.read_bytes()
    for length in sorted({0, 1, 7, 8, 9, len(whole) // 3, len(whole) // 2, len(whole) - 9, len(whole) - 3}):
        file.write_bytes(whole[:length])
        assert_refused(spoiled, name, *USED_BY[name])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [pickle.dumps(Bomb()), b"\x00" * 1000, b"[]", b"null", b"\xff\xd8\xff\xe0 a picture"]
)
def test_foreign_files(name, content, spoiled):
    (spoiled / name).write_bytes(content)
    assert_refused(spoiled, name, *USED_BY[name])


@pytest.mark.parametrize("name", FILES)
def test_missing_files(name, spoiled):
    (spoiled / name).unlink()
    assert_refused(spoiled, f"{name} does not exist", *USED_BY[name])
    (spoiled / name).mkdir()
    assert_refused(spoiled, name, *USED_BY[name])


def test_missing_folders(tmp_path):
    for attempt in (RecurrentPPO.load, lambda path: RecurrentPPO.resume(path, tmaze())):
        with pytest.raises(CheckpointError, match=f"no run folder {tmp_path / 'nowhere'}"):
            attempt(tmp_path / "nowhere")
    sb3.PPO("MlpPolicy", "CartPole-v1", n_steps=8, device="cpu").save(tmp_path / "theirs")
    for path in (tmp_path / "theirs", tmp_path / "theirs.zip", str(tmp_path / "theirs.zip")):
        with pytest.raises(CheckpointError, match=r"theirs\.zip is an agent that Stable-Baselines3 .*from_sb3_contrib"):
            RecurrentPPO.load(path)
        with pytest.raises(CheckpointError, match="is an agent that Stable-Baselines3 or sb3-contrib saved"):
            load_agent(path)
    torch.save({"policy": Bomb()}, tmp_path / "theirs.pt")
    with pytest.raises(CheckpointError, match=r"theirs\.pt is a file of torch\.save.* unpickles nothing"):
        RecurrentPPO.load(tmp_path / "theirs.pt")
    (tmp_path / "model.zip").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="no run folder"):
        RecurrentPPO.load(tmp_path / "model.zip")


def test_weights_of_torch_save(spoiled):
    torch.save({"policy": Bomb()}, spoiled / WEIGHTS)
    assert_refused(spoiled, f"{WEIGHTS} is a file of torch.save, .*memagents reads only its own", resume=False)


def spoil(change):
    """The weights of a folder, changed."""

    def spoiling(folder, name):
        weights = load_file(folder / name)
        change(weights)
        save_file(weights, folder / name)

    return spoiling


SPOILED_WEIGHTS = {
    "missing": (lambda w: w.pop("value_net.bias"), r"value_net.bias is missing, in the policy it is \(1,\)"),
    "unknown": (lambda w: w.update(more=torch.ones(2)), r"more is \(2,\), in the policy it is missing"),
    "other shape": (
        lambda w: w.update({"value_net.bias": torch.ones(2)}),
        r"bias is \(2,\), in the policy it is \(1,\)",
    ),
    "scalar": (lambda w: w.update({"value_net.bias": torch.tensor(1.0)}), r"bias is \(\), in the policy it is \(1,\)"),
}


@pytest.mark.parametrize("kind", SPOILED_WEIGHTS)
def test_weights_that_are_not_the_policys(kind, spoiled):
    change, message = SPOILED_WEIGHTS[kind]
    spoil(change)(spoiled, WEIGHTS)
    assert_refused(spoiled, f"{WEIGHTS}: the weight .*{message}", resume=False)


LAMBDA = {"not_saved": "<function at 0x7f>"}
DESCRIPTIONS = {
    "newer": ({"format": 2}, "has format 2, this memagents reads up to 1"),
    "no format": ({"format": None}, "names no format"),
    "no spaces": ({"observation_space": None}, "lacks 'observation_space'"),
    "strange space": ({"action_space": {"type": "Text"}}, "no agent can be made of it"),
    "huge space": (
        {"observation_space": {"type": "MultiBinary", "dtype": "int8", "n": [10**15]}},
        "no agent can be made of it|observation_space was",
    ),
    "unknown core": ({"policy_kwargs": {"core": "brain"}}, "there is no core 'brain'; there are: "),
    "core no name": ({"policy_kwargs": {"core": 3}}, "core must be a name"),
    "core to import": (
        {"policy_kwargs": {"core": "antigravity:core"}},
        "'antigravity:core', .* add --imports antigravity",
    ),
    "core in a stack": (
        {"policy_kwargs": {"core": "stack", "core_kwargs": {"cores": ["lstm", "antigravity:core"]}}},
        "the cores is 'antigravity:core', and a file imports nothing",
    ),
    "unknown parameter": ({"policy_kwargs": {"core_kwargs": {"size": 3}}}, "has no parameter 'size'"),
    "strange argument": ({"policy_kwargs": {"colour": "red"}}, "colour"),
    "policy_kwargs a list": ({"policy_kwargs": [1]}, "lacks 'policy_kwargs'"),
    "out of range": ({"hyperparameters": {"n_steps": -5}}, "n_steps must be a positive integer, not -5"),
    "endless": ({"hyperparameters": {"n_epochs": 10**9}}, "n_epochs must be at most 10,000, not 1,000,000,000"),
    "a word": ({"hyperparameters": {"gamma": "high"}}, "gamma must be a number"),
    "counter a word": ({"num_timesteps": "many"}, "lacks 'num_timesteps'"),
    "counter a truth": ({"n_envs": True}, "lacks 'n_envs'"),
    "schedule": ({"hyperparameters": {"learning_rate": {"linear_schedule": [1]}}}, "no agent can be made of it"),
    "function": ({"policy_kwargs": {"activation_fn": LAMBDA}}, "was <function at 0x7f>, which no file"),
    "class not imported": (
        {"policy_kwargs": {"activation_fn": {"class": "antigravity:fly"}}},
        r"policy_kwargs\['activation_fn'\] is the class antigravity:fly; import its module first",
    ),
    "function as a class": ({"policy_kwargs": {"activation_fn": {"class": "os:system"}}}, "os:system, no torch module"),
    "another class": ({"policy_class": {"class": "subprocess:Popen"}}, "subprocess:Popen, no torch module"),
    "class a number": ({"policy_class": {"class": 3}}, "no agent can be made of it"),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_descriptions_that_are_not_of_an_agent(kind, spoiled):
    changes, message = DESCRIPTIONS[kind]
    description = json.loads((spoiled / POLICY_JSON).read_text())
    (spoiled / POLICY_JSON).write_text(json.dumps({**description, **changes}))
    assert_refused(spoiled, f"{POLICY_JSON}.*({message})")
    assert "antigravity" not in sys.modules


HUGE = {
    "core": {"core_kwargs": {"hidden_size": 40_000}},
    "layers": {"net_arch": [30_000, 30_000]},
    "controller": {"core": "dnc", "core_kwargs": {"controller_size": 30_000}},
}


@pytest.mark.parametrize("kind", HUGE)
def test_sizes_are_not_believed_before_the_weights_are_seen(kind, spoiled):
    description = json.loads((spoiled / POLICY_JSON).read_text())
    description["policy_kwargs"] |= HUGE[kind]
    (spoiled / POLICY_JSON).write_text(json.dumps(description))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_refused(spoiled, f"{POLICY_JSON}: no agent can be made of it: it would take more than .* bytes of {WEIGHTS}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


def test_a_file_runs_nothing(spoiled, tmp_path):
    """Any class called with arguments of the file's choice could run programs: subprocess.Popen is one."""
    description = json.loads((spoiled / POLICY_JSON).read_text())
    description["observation_space"] = space_to_json(
        spaces.Dict({"-c": spaces.Discrete(2), f"touch {tmp_path}/harm": spaces.Discrete(2)})
    )
    description["policy_kwargs"] = {
        "features_extractor_class": {"class": "subprocess:Popen"},
        "features_extractor_kwargs": {"executable": "/bin/sh"},
    }
    (spoiled / POLICY_JSON).write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="Popen, no torch module or optimiser"):
        RecurrentPPO.load(spoiled, device="cpu")
    assert not (tmp_path / "harm").exists()


def test_other_spaces(good):
    for env in (underground(), dummy(2)):
        with pytest.raises(CheckpointError, match=rf"{POLICY_JSON}: observation_space was .* that of env is "):
            RecurrentPPO.load(good, env, device="cpu")


def test_a_state_of_another_kind(spoiled, tmp_path):
    """State and description are of different agents."""
    other = make(policy_kwargs={"core_kwargs": {"hidden_size": 5}})
    other.learn(32)
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / STATE, spoiled / STATE)
    assert_refused(spoiled, f"{STATE}: the weight", load=False)


def test_cores_of_a_users_own(tmp_path):
    @register_core("own_gru")
    class OwnGRU(GRU):
        pass

    for name in ("own_gru", f"{__name__}:own_gru"):
        make(policy_kwargs={"core": name}).save(tmp_path)
        core = RecurrentPPO.load(tmp_path, device="cpu").policy.core
        assert type(core.actor) is type(core.critic) is OwnGRU


def test_more_slots_than_in_training(tmp_path):
    """A DNC of more slots acts alike while the memory is not full: what is free holds nothing."""
    env = tmaze(4)
    small = {"slots": 8, "width": 6, "read_heads": 1, "controller_size": 8}
    policy_kwargs = {"core": "dnc", "core_kwargs": small, "critic_core": None}
    agent = RecurrentPPO("MlpPolicy", env, policy_kwargs=policy_kwargs, seed=0, device="cpu")
    agent.save(tmp_path / "dnc")
    more = RecurrentPPO.load(tmp_path / "dnc", env, device="cpu", slots=20)
    assert more.policy.core.slots == 20
    assert more.policy_kwargs["core_kwargs"]["slots"] == 20
    for (name, ours), theirs in zip(more.policy.state_dict().items(), agent.policy.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert RecurrentPPO.load(tmp_path / "dnc", env, device="cpu").policy.core.slots == 8
    with pytest.raises(ValueError, match="slots must be a positive integer, not 0"):
        RecurrentPPO.load(tmp_path / "dnc", env, device="cpu", slots=0)
    for core, message in (("gru", "slots: the core 'gru' of .* has none"), ("rmc", "in the policy it is")):
        RecurrentPPO("MlpPolicy", env, policy_kwargs={"core": core}, device="cpu").save(tmp_path / core)
        with pytest.raises(ValueError, match=message):
            RecurrentPPO.load(tmp_path / core, env, device="cpu", slots=20)
