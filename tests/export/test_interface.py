"""What an exported step takes and gives: names, shapes, any number of rows, starts, every kind of space."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from memagents import as_vec_env
from memagents.cores.core import state_leaves
from memagents.environments.spaces import space_from_json
from memagents.export import export_run
from memagents.runs.random_states import random_states
from tests.export.support import ACTIONS, MIXED, opened, saved, session_of, worlds, zeros_of

ENDINGS = (".onnx", ".pt2")
NUMBERS_AND_CODE = spaces.Dict({"x": spaces.Box(-5, 5, (2,), np.float32), "code": spaces.Discrete(3)})
every_kind = pytest.mark.parametrize("ending", ENDINGS)


def play(agent, run, described, observations, starts):
    """Let the agent's ``predict`` and a file act on the same observations, and compare their actions and memories.

    :param observations: one batch a step, as the environment gives them
    """
    state, memory = None, zeros_of(described, len(starts[0]))
    for entries, begins in zip(observations, starts, strict=True):
        found = run({**entries, "episode_start": begins, **memory})
        seen = entries if isinstance(agent.observation_space, spaces.Dict) else entries["observation"]
        actions, state = agent.predict(seen, state, begins, deterministic=True)
        assert found["action"].dtype == actions.dtype
        np.testing.assert_allclose(found["action"], actions, atol=1e-5)
        memory = {name: found[name.replace("state", "next", 1)] for name in memory}
        for ours, theirs in zip(memory.values(), state_leaves(state), strict=True):
            theirs = torch.view_as_real(theirs) if theirs.is_complex() else theirs
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def drawn(space, rows, steps=6):
    """Batches of observations."""
    entries = space.spaces if isinstance(space, spaces.Dict) else {"observation": space}
    return [{n: np.stack([own.sample() for _ in range(rows)]) for n, own in entries.items()} for _ in range(steps)]


def some_starts(rows, steps=6):
    starts = np.random.default_rng(0).random((steps, rows)) < 0.3
    starts[0] = True
    return starts


@every_kind
@pytest.mark.parametrize("rows", [1, 5])
def test_it_acts_as_predict_does_in_batches_of_any_size(ending, rows, tmp_path):
    agent, folder = saved(tmp_path, core="lstm")
    run, described = opened(export_run(folder, tmp_path / f"policy{ending}").path)
    play(agent, run, described, drawn(agent.observation_space, rows), some_starts(rows))


def test_names_and_shapes(tmp_path):
    _, folder = saved(tmp_path, core="aler")
    session = session_of(export_run(folder, tmp_path / "policy.onnx").path)
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    outputs = {value.name: (value.type, value.shape) for value in session.get_outputs()}
    assert inputs["observation"] == ("tensor(float)", ["batch", 2])
    assert inputs["episode_start"] == ("tensor(bool)", ["batch"])
    assert inputs["state.memory"] == ("tensor(float)", ["batch", 3, 4])
    assert inputs["state.key"] == ("tensor(int64)", ["batch"])
    assert inputs["state.controller.hidden"] == ("tensor(float)", ["batch", 5])
    assert outputs["action"] == ("tensor(int64)", ["batch"])
    assert outputs["logits"] == ("tensor(float)", ["batch", 2])
    assert outputs["value"] == ("tensor(float)", ["batch"])
    states = {name.removeprefix("state."): facts for name, facts in inputs.items() if name.startswith("state.")}
    assert states == {name.removeprefix("next."): facts for name, facts in outputs.items() if name.startswith("next.")}


def test_where_an_episode_begins_the_state_does_not_matter(tmp_path):
    _, folder = saved(tmp_path, core="lstm")
    run, described = opened(export_run(folder, tmp_path / "policy.onnx").path)
    inputs = {"observation": np.ones((2, 2), np.float32), "episode_start": np.array([True, False])}
    zeros = zeros_of(described, 2)
    ones = {name: np.ones_like(leaf) for name, leaf in zeros.items()}
    of_zeros, of_ones = (run(inputs | state)["next.hidden"] for state in (zeros, ones))
    np.testing.assert_array_equal(of_zeros[0], of_ones[0])
    assert not np.allclose(of_zeros[1], of_ones[1])


@pytest.mark.parametrize("kind", ACTIONS)
def test_every_kind_of_action(kind, tmp_path):
    agent, folder = saved(tmp_path, worlds(None, ACTIONS[kind]))
    path, _ = export_run(folder, tmp_path / "policy.onnx")
    run, described = opened(path)
    assert space_from_json(described["action_space"]) == ACTIONS[kind]
    play(agent, run, described, drawn(agent.observation_space, 3), some_starts(3))
    found = run({**drawn(agent.observation_space, 3)[0], "episode_start": some_starts(3)[0], **zeros_of(described, 3)})
    if kind == "box":
        assert (np.abs(found["action"][:, 0]) <= 0.01).all() and (np.abs(found["mean"][:, 0]) > 0.01).any()
        np.testing.assert_allclose(found["log_std"], np.tile(agent.policy.log_std.detach().numpy(), (3, 1)))
    else:
        assert "mean" not in found and found["logits"].shape[0] == 3


def test_every_kind_of_entry(tmp_path):
    agent, folder = saved(tmp_path, worlds(MIXED))
    run, described = opened(export_run(folder, tmp_path / "policy.onnx").path)
    assert set(described["inputs"]) == {*MIXED, "episode_start", "state.hidden"}
    play(agent, run, described, drawn(MIXED, 3), some_starts(3))


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 255, (3, 36, 36), np.uint8), spaces.Box(0, 255, (12, 12, 1), np.uint8)], ids=str
)
def test_pictures(space, tmp_path):
    agent, folder = saved(tmp_path, worlds(space))
    run, described = opened(export_run(folder, tmp_path / "policy.onnx").path)
    play(agent, run, described, drawn(agent.observation_space, 2, 3), some_starts(2, 3))


def test_previous_action_and_reward_are_inputs(tmp_path):
    agent, folder = saved(tmp_path, worlds(None, spaces.Discrete(3)), condition_on=["action", "reward"])
    run, described = opened(export_run(folder, tmp_path / "policy.onnx").path)
    assert described["previous"] == ["action", "reward"]
    assert described["inputs"]["previous_action"] == {"dtype": "uint8", "shape": [3]}
    assert described["inputs"]["previous_reward"] == {"dtype": "float32", "shape": [1]}
    play(agent, run, described, drawn(agent.observation_space, 3), some_starts(3))


@every_kind
def test_a_memory_of_the_critics_own(ending, tmp_path):
    kwargs = {"critic_core": "lstm", "critic_core_kwargs": {"hidden_size": 3}, "net_arch": {"pi": [4], "vf": [3]}}
    agent, folder = saved(tmp_path, core="gru", policy_kwargs=kwargs)
    run, described = opened(export_run(folder, tmp_path / f"policy{ending}").path)
    states = [name for name in described["inputs"] if name.startswith("state.")]
    assert states == ["state.actor.hidden", "state.critic.hidden", "state.critic.cell"]
    assert described["critic_core"] == "lstm" and described["critic_core_kwargs"] == {"hidden_size": 3}
    play(agent, run, described, drawn(agent.observation_space, 3), some_starts(3))


@every_kind
@pytest.mark.parametrize("space", [None, NUMBERS_AND_CODE])
def test_layers_between_encoder_and_memory(space, ending, tmp_path):
    env = worlds(space)
    agent, folder = saved(tmp_path, env, core="gru", policy_kwargs={"encoder_layers": [6, 5]})
    run, described = opened(export_run(folder, tmp_path / f"policy{ending}").path)
    play(agent, run, described, drawn(agent.observation_space, 3), some_starts(3))


@pytest.mark.parametrize("space", [None, NUMBERS_AND_CODE])
def test_observations_are_normalised_within(space, tmp_path):
    keys = None if space is None else ["x"]
    env = VecNormalize(as_vec_env(worlds(space)), norm_obs_keys=keys)
    agent, folder = saved(tmp_path, env, n_steps=16, n_minibatches=1)
    agent.learn(64)
    agent.save(folder)
    run, described = opened(export_run(folder, tmp_path / "policy.onnx").path)
    name = "observation" if space is None else "x"
    assert list(described["normalization"]["entries"]) == [name]
    env.training = False
    raw = drawn(env.venv.observation_space, 3)
    for entries in raw:
        entries[name] = 3 * entries[name]
        found = run({**entries, "episode_start": np.ones(3, bool), **zeros_of(described, 3)})
        seen = env.normalize_obs(dict(entries) if space is not None else entries[name])
        expected, _ = agent.predict(seen, None, np.ones(3, bool), deterministic=True)
        np.testing.assert_array_equal(found["action"], expected)


def test_normalised_and_conditioned(tmp_path):
    env = VecNormalize(as_vec_env(worlds()))
    agent, folder = saved(tmp_path, env, n_steps=16, n_minibatches=1, condition_on=["action"])
    agent.learn(64)
    agent.save(folder)
    _, described = opened(export_run(folder, tmp_path / "policy.pt2").path)
    assert list(described["normalization"]["entries"]) == ["observation"]


def test_complex_numbers_are_pairs(tmp_path):
    agent, folder = saved(tmp_path, core="ffm")
    run, described = opened(export_run(folder, tmp_path / "policy.onnx").path)
    assert described["complex"] == ["state.memory"]
    assert described["inputs"]["state.memory"] == {"dtype": "float32", "shape": [3, 2, 2]}
    play(agent, run, described, drawn(agent.observation_space, 3), some_starts(3))


def test_more_slots(tmp_path):
    _, folder = saved(tmp_path, core="mann")
    _, described = opened(export_run(folder, tmp_path / "policy.pt2", slots=9).path)
    assert described["inputs"]["state.memory"]["shape"] == [9, 4]


def test_draws_go_on_as_if_nothing_had_been_exported(tmp_path):
    _, folder = saved(tmp_path, core="gru")
    before = random_states()
    export_run(folder, tmp_path / "policy.pt2")
    after = random_states()
    assert torch.equal(after["torch"], before["torch"])
    assert np.array_equal(after["numpy"][1], before["numpy"][1])


def test_half_precision_is_made_full(tmp_path):
    _, folder = saved(tmp_path, policy_kwargs={"mixed_precision": True})
    assert export_run(folder, tmp_path / "policy.onnx").difference.size < 1e-5


def test_dropout_is_left_out(tmp_path):
    agent, folder = saved(tmp_path, policy_kwargs={"core_kwargs": {"hidden_size": 5, "dropout": 0.5}})
    run, described = opened(export_run(folder, tmp_path / "policy.onnx").path)
    assert described["inputs"]["state.key"] == {"dtype": "int64", "shape": []}
    play(agent, run, described, drawn(agent.observation_space, 3), some_starts(3))


@every_kind
def test_nothing_of_this_machine_is_in_the_file(ending, tmp_path):
    _, folder = saved(tmp_path)
    data = export_run(folder, tmp_path / f"policy{ending}").path.read_bytes()
    for name in (str(tmp_path), "site-packages", "memagents/", "policies/"):
        assert name.encode() not in data


def test_entries_may_have_the_names_of_values_within_the_graph(tmp_path):
    space = spaces.Dict({"linear": spaces.Box(-1, 1, (2,)), "val_0": spaces.Box(-1, 1, (2,))})
    _, folder = saved(tmp_path, worlds(space))
    assert export_run(folder, tmp_path / "policy.onnx").difference.size < 1e-5
