"""Recordings hold what happened, what the agent made of it, and what its memory did."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from memagents import MFEC, NEC, core_names
from memagents.cores.core import MemoryCore, Step, map_state, unroll_by_steps
from memagents.cores.gru import GRUState
from memagents.environments import make_env
from memagents.experiments.evaluation import evaluate
from memagents.inspection import Recording, examine, recorder
from memagents.inspection.recorder import record
from memagents.runs.files import CheckpointError
from tests.inspection.support import make_agent, registered


def state_like(state, leaves):
    leaves = iter(leaves)
    return map_state(lambda _: next(leaves), state)


@pytest.fixture(autouse=True)
def short_windows(monkeypatch):
    monkeypatch.setattr(recorder, "WINDOW", 8)


@pytest.mark.parametrize("core", core_names())
def test_the_trace_is_what_the_plain_loop_does_with_the_recorded_observations(core, tmp_path):
    agent = make_agent(n_envs=1, policy_kwargs={"core": core}, length=6)  # another batch would round otherwise
    recording = record(agent, tmp_path / "recording", episodes=3, deterministic=False)
    assert recording.description["replay_error"] < 1e-5
    for episode in recording.episodes:
        steps = episode.read()
        observations = torch.from_numpy(steps["observation"])[:, None]
        starts = torch.zeros(episode.length, 1, dtype=torch.bool)
        starts[0] = True
        with torch.no_grad():
            encoded = agent.policy.encode(observations)
            state = state_like(agent.policy.initial_state(1), next(episode.windows()).state)
            again = unroll_by_steps(agent.policy.core, encoded, state, starts, trace=True)
        assert np.allclose(again.outputs[:, 0], steps["outputs"], atol=1e-5)
        traced = {name.removeprefix("trace.") for name in steps if name.startswith("trace.")}
        assert traced == again.trace.keys()
        assert traced or core == "none"
        axes = recording.description["axes"]
        assert {name: len(names) for name, names in axes.items()} == {
            name: steps[f"trace.{name}"].ndim - 1 for name in traced
        }
        for name, values in again.trace.items():
            assert np.allclose(values[:, 0], steps[f"trace.{name}"], atol=1e-4), name
        appraised = agent.policy.appraise(again.outputs, torch.from_numpy(steps["actions"])[:, None])
        assert np.allclose(appraised.values[:, 0].detach(), steps["values"], atol=1e-5)
        assert np.allclose(steps["probabilities"].sum(1), 1, atol=1e-5)
        chosen = np.take_along_axis(steps["probabilities"], steps["actions"][:, None], 1)[:, 0]
        assert np.allclose(np.log(chosen), steps["log_probs"], atol=1e-5)


@pytest.mark.parametrize("episodes", [1, 2, 7])
def test_the_episodes_are_those_of_an_evaluation(episodes, tmp_path):
    agent = make_agent(length=(2, 9))
    played = evaluate(agent, agent.env, episodes, deterministic=False, seed=3)
    recording = record(agent, tmp_path / "recording", episodes, deterministic=False, seed=3)
    assert len(recording.episodes) == episodes
    assert sorted(episode.length for episode in recording.episodes) == sorted(played.lengths)
    assert np.isclose(sum(episode.total for episode in recording.episodes), played.returns.sum())
    for episode in recording.episodes:
        steps = episode.read("rewards", "observation")
        assert steps.keys() == {"rewards", "observation"}
        assert len(steps["observation"]) == episode.length
        assert np.isclose(steps["rewards"].sum(), episode.total)
        assert episode.info["success"] == (episode.total > 0.5)


def test_a_long_episode_is_on_disk_window_by_window_and_each_goes_on_from_its_state(tmp_path):
    agent = make_agent(n_envs=1, length=40, policy_kwargs={"core": "gru"})
    (episode,) = record(agent, tmp_path / "recording", 1, deterministic=False).episodes
    windows = list(episode.windows())
    assert [window.first for window in windows] == list(range(0, episode.length, 8))
    assert not windows[0].state[0].any()
    hidden = episode.read("trace.hidden")["trace.hidden"]
    for window in windows[1:]:
        (before,) = window.state
        assert np.allclose(before[0], hidden[window.first - 1], atol=1e-6)


def test_episodes_of_many_rows_share_a_file_and_are_read_in_part(tmp_path):
    """One file for each window of all rows; an episode reads its own steps, and the arrays asked for alone."""
    recording = record(make_agent(length=(2, 9), n_envs=4), tmp_path / "recording", 12, texts=True)
    windows = {piece.window for episode in recording.episodes for piece in episode.pieces}
    assert len(list((tmp_path / "recording").glob("window-*"))) == len(windows) < len(recording.episodes)
    for episode in recording.episodes:
        whole, rewards, texts = (list(episode.windows(*names)) for names in ([], ["rewards"], ["texts"]))
        assert sum(len(window.steps["actions"]) for window in whole) == episode.length
        for window, only, said in zip(whole, rewards, texts, strict=True):
            assert only.steps.keys() == {"rewards"} and not only.texts
            assert not said.steps and said.texts == window.texts != []
            assert np.array_equal(only.steps["rewards"], window.steps["rewards"])


def test_what_is_damaged_is_told(tmp_path):
    recording = record(make_agent(length=3), tmp_path / "recording", 2)
    (window,) = (tmp_path / "recording").glob("window-*")
    whole = window.read_bytes()
    window.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"window-00000000\.safetensors is truncated"):
        recording.episodes[0].read()
    window.unlink()
    with pytest.raises(CheckpointError, match=r"window-00000000\.safetensors does not exist"):
        recording.episodes[0].read()
    description = json.loads((tmp_path / "recording" / "recording.json").read_text())
    description["episodes"][0]["pieces"][0][3] += 1
    (tmp_path / "recording" / "recording.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"recording\.json is damaged"):
        Recording.open(tmp_path / "recording")


def test_without_a_trace_the_fused_outputs_and_estimates_are_the_same(tmp_path):
    agent = make_agent(length=6)
    full, plain = (record(agent, tmp_path / str(trace), 2, trace=trace) for trace in (True, False))
    for one, other in zip(full.episodes, plain.episodes, strict=True):
        with_trace, without = one.read(), other.read()
        assert without.keys() == {name for name in with_trace if not name.startswith("trace.")}
        assert all(np.array_equal(with_trace[name], values) for name, values in without.items())
    assert plain.description["replay_error"] is None


@pytest.mark.parametrize("kind", [NEC, MFEC])
def test_episodic_control_shows_the_situations_that_answer(kind, tmp_path):
    agent = kind("MlpPolicy", make_env("memenvs/TMaze-v0", 2, length=4), seed=0)
    agent.learn(1500)
    steps = record(agent, tmp_path / "recording", 2).episodes[0].read()
    rows, weights, values, ages = (steps[f"trace.neighbour_{name}"] for name in ("rows", "weights", "values", "ages"))
    assert rows.shape == weights.shape == values.shape == ages.shape
    assert rows.shape[:2] == steps["action_values"].shape
    assert np.allclose((weights * values).sum(-1), steps["action_values"], atol=1e-5)
    assert np.allclose(weights.sum(-1), rows[..., 0] >= 0, atol=1e-5)
    assert ((ages >= 0) == (rows >= 0)).all()
    counts = agent.policy.dictionary.counts
    assert all((ages[:, action] < count).all() for action, count in enumerate(counts))


def test_continuous_and_several_actions_have_their_distributions(tmp_path):
    continuous = make_agent("Pendulum-v1", 1)
    steps = record(continuous, tmp_path / "continuous", 1).episodes[0].read("action_mean", "action_std", "actions")
    assert steps["action_mean"].shape == steps["actions"].shape == steps["action_std"].shape == (200, 1)


def test_entries_of_observations_keep_their_names_and_pictures_are_those_of_the_environment(tmp_path):
    agent = make_agent("memenvs/MiniGrid-MemoryS7-v0", 2, render_mode="rgb_array")
    recording = record(agent, tmp_path / "recording", 2, deterministic=False)
    episode = recording.episodes[0]
    assert {"observation.image", "observation.direction"} <= episode.read("observation").keys()
    pictures = episode.pictures()
    assert len(pictures) == episode.length
    shown = np.asarray(Image.open(io.BytesIO(pictures[0])))
    agent.env.seed(0)
    agent.env.reset()
    assert any(np.array_equal(shown, image) for image in agent.env.get_images())


@pytest.mark.parametrize("core", ["lstm", "dnc", "shm", "gtrxl"])
def test_states_are_those_before_each_step(core, tmp_path):
    agent = make_agent(n_envs=1, policy_kwargs={"core": core}, length=4)
    recording = record(agent, tmp_path / "recording", 2, deterministic=False, states=True)
    assert recording.description["replay_error"] < 1e-5
    for episode in recording.episodes:
        states, windows = episode.read("state"), list(episode.windows())
        for window in windows:
            for number, leaf in enumerate(window.state):
                assert np.allclose(states[f"state.{number}"][window.first], leaf[0], atol=1e-6)
    with pytest.raises(ValueError, match="states needs trace"):
        record(agent, tmp_path / "other", 1, states=True, trace=False)


def test_texts_are_those_of_the_environment(tmp_path):
    agent = make_agent(n_envs=2, length=5)
    episode = record(agent, tmp_path / "recording", 2, texts=True).episodes[1]
    texts = episode.texts()
    assert len(texts) == episode.length
    agent.env.seed(0)
    agent.env.reset()
    assert texts[0] in agent.env.env_method("texts")
    assert record(agent, tmp_path / "other", 1).episodes[0].texts() == []
    without = make_agent("CartPole-v1", 1)
    assert record(without, tmp_path / "without", 1, texts=True).episodes[0].texts() == []


class OddlyTraced(MemoryCore):
    """A core whose trace has shapes of its own."""

    def __init__(self, input_size: int, wrong: bool = False):
        super().__init__(input_size, input_size)
        self.wrong, self.weight = wrong, torch.nn.Parameter(torch.ones(1))

    def initial_state(self, batch_size):
        return GRUState(self.weight.new_zeros(batch_size, self.input_size))

    def step(self, x, state):
        hidden = (state.hidden + self.weight * x).tanh()
        trace = {"scalar": hidden[:, 0], "cube": hidden[:, None, None, None].expand(-1, 2, 3, 4, -1)}
        return Step(hidden, GRUState(hidden), {}, {"whole": hidden.sum()} if self.wrong else trace)


def test_a_trace_of_odd_shapes_is_recorded_and_one_without_rows_is_told(tmp_path):
    with registered("oddly_traced", OddlyTraced):
        agent = make_agent(n_envs=2, length=3, policy_kwargs={"core": "oddly_traced"})
        recording = record(agent, tmp_path / "recording", 2)
        steps = recording.episodes[0].read("trace")
        assert steps["trace.scalar"].ndim == 1
        assert steps["trace.cube"].shape[1:4] == (2, 3, 4)
        assert recording.description["axes"]["cube"][-2:] == ["row", "column"]
        wrong = make_agent(n_envs=2, length=3, policy_kwargs={"core": "oddly_traced", "core_kwargs": {"wrong": True}})
        with pytest.raises(ValueError, match="trace of OddlyTraced: 'whole' must be a tensor"):
            record(wrong, tmp_path / "wrong", 2)


class Writing(OddlyTraced):
    """A core that shows the weights of one write head, and what else it calls weights."""

    def step(self, x, state):
        hidden = (state.hidden + self.weight * x).tanh()
        one, three = (torch.full((len(x), count, 5), 0.2) for count in (1, 3))
        trace = {"write_weights": one, "read_weights": three, "usage": one[:, 0], "hidden": one}
        return Step(
            hidden, GRUState(hidden), {}, trace if not self.wrong else {**trace, "read_weights": three[..., :4]}
        )


@pytest.mark.parametrize("other", [False, True])
def test_weights_of_slots_of_any_core_are_known_as_such(tmp_path, other):
    with registered("writing", Writing):
        agent = make_agent(n_envs=1, length=3, policy_kwargs={"core": "writing", "core_kwargs": {"wrong": other}})
        recording = record(agent, tmp_path / "recording", 1)
        axes = {name: tuple(names) for name, names in recording.description["axes"].items()}
        assert axes["write_weights"] == ("head", "slot") and axes["usage"] == ("column",)
        assert axes["read_weights"] == (("row", "column") if other else ("head", "slot"))
        assert axes["hidden"] == ("row", "column")
        signs = {sign.name: sign.value for sign in examine(agent, steps=4).signs}
        assert abs(signs["writes_per_step"] - 1) < 1e-6


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({}, "LSTM"),
        ({"core": "gru", "core_kwargs": {"dropout": 0.5}}, "GRU"),
        ({"critic_core": "same"}, "LSTM, critic LSTM"),
        ({"core": "gru", "core_kwargs": {"dropout": 0.5}, "critic_core": "none"}, "GRU, critic Memoryless"),
    ],
)
def test_memories_are_told_by_their_names(kwargs, named, tmp_path):
    recording = record(make_agent(n_envs=1, length=2, policy_kwargs=kwargs), tmp_path / "recording", 1)
    assert recording.description["core"] == named


def test_bad_input_is_told_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"agent must be one of memagents"):
        record(object(), tmp_path / "a")
    agent = make_agent(length=3)
    with pytest.raises(ValueError, match="episodes must be"):
        record(agent, tmp_path / "a", 0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="no recording"):
        record(agent, tmp_path / "mine", overwrite=True)
    record(agent, tmp_path / "a", 1)
    with pytest.raises(ValueError, match="overwrite"):
        record(agent, tmp_path / "a", 1)
    assert len(record(agent, tmp_path / "a", 2, overwrite=True).episodes) == 2
    (tmp_path / "a" / "recording.json").unlink()
    with pytest.raises(CheckpointError, match="not finished"):
        Recording.open(tmp_path / "a")
    agent.env = None
    with pytest.raises(ValueError, match="environment to play in"):
        record(agent, tmp_path / "b")


def test_recordings_know_which_actions_matter(tmp_path):
    """In Copy those of the answer, which begins after the input."""
    (episode,) = record(make_agent("memenvs/Copy-v0", 1), tmp_path / "copy", 1).episodes
    decisions = episode.read("decisions")["decisions"]
    answer = (episode.length - 2) // 2  # as long as the input, which stands between two marks
    assert decisions.tolist() == [False] * (episode.length - answer) + [True] * answer
    (journey,) = record(make_agent("memenvs/Underground-v0", 1), tmp_path / "journey", 1, texts=True).episodes
    travels = [text.startswith("travel") for text in journey.texts()]
    assert journey.read("decisions")["decisions"].tolist() == travels
    assert record(make_agent(length=3, n_envs=1), tmp_path / "maze", 1).episodes[0].read("decisions")["decisions"].all()
