"""The state at a window's start, found anew by the present weights before each epoch but the first."""

import copy

import numpy as np
import pytest
import torch

from memagents import RecurrentPPO, make_env
from memagents.algorithms.refresh import Past
from memagents.cores.core import map_state, restart_state, state_leaves
from memagents.runs import agent_files, trees
from memagents.runs.files import CheckpointError
from memagents.runs.layout import STATE_FILE
from tests.cores.support import SMALL
from tests.support.agents import Interrupted, assert_same_weights, interrupt_at, make, weights_of
from tests.support.toys import dummy

CORES = [("lstm", {}), ("gru", {"dropout": 0.5}), ("dnc", {}), ("sam", {}), ("gtrxl", {})]


class Watched(RecurrentPPO):
    """Keeps the minibatch of each epoch, and the weights as they are before its update."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, n_minibatches=1, **kwargs)
        self.windows = []  # of epochs

    def train(self):
        self.windows.append([])
        super().train()

    def _losses(self, batch, evaluated, *args):
        self.windows[-1].append((batch, evaluated, weights_of(self)))
        return super()._losses(batch, evaluated, *args)


def corridors():
    return make_env("memenvs/TMaze-v0", 4, length=5)


def watched(core="lstm", env=None, core_kwargs=None, **kwargs):
    policy_kwargs = {"core_kwargs": {**SMALL.get(core, {}), **(core_kwargs or {})}}
    kwargs = {"learning_rate": 1e-2, "n_epochs": 3, "refresh_states": True, "policy_kwargs": policy_kwargs, **kwargs}
    agent = make(dummy(4) if env is None else env, Watched, core, **kwargs)
    agent.policy.double()
    return agent


def by_row(batch):
    """The state before a minibatch of all rows, as a list of (leaves of one row) in the order of the rows."""
    order = batch.rows.argsort()
    return [[leaf[row : row + 1] for leaf in state_leaves(batch.initial_state)] for row in order]


def replayed(policy, observations, starts, state):
    """The state after a window of one row, step by step."""
    policy.set_training_mode(True)
    for t in range(len(starts)):
        if starts[t]:
            state = restart_state(torch.ones(1, dtype=torch.bool), policy.initial_state(1), state)
        encoded = policy.encode(observations[t : t + 1])
        state = policy.core.step(policy.core.project(encoded)[0], state).state
    return state_leaves(map_state(torch.Tensor.detach, state))


@pytest.mark.parametrize(("core", "core_kwargs"), CORES)
def test_it_is_the_slow_replay_of_the_window_before(core, core_kwargs):
    """Row by row and step by step, from the state kept at that window's start, by the weights of each epoch."""
    agent = watched(core, core_kwargs=core_kwargs)
    agent.learn(3 * 8 * 4)
    changed = 0
    for before, window in zip(agent.windows, agent.windows[1:], strict=False):
        last = before[-1][0]  # whose state is the one that is kept
        first = window[0][0]
        for batch, _, weights in window[1:]:
            agent.policy.load_state_dict(weights)
            for row, found in enumerate(by_row(batch)):
                place, stored = (one.rows.tolist().index(row) for one in (last, first))
                if first.starts[0, stored]:
                    expected = by_row(first)[row]
                else:
                    alone = slice(place, place + 1)
                    state = map_state(lambda leaf, alone=alone: leaf[alone], last.initial_state)
                    expected = replayed(agent.policy, last.observations[:, alone], last.starts[:, place], state)
                for ours, theirs in zip(found, expected, strict=True):
                    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
                changed += any(not torch.equal(a, b) for a, b in zip(found, by_row(first)[row], strict=True))
    assert changed > 4


@pytest.mark.parametrize(("core", "core_kwargs"), CORES)
def test_what_an_episode_does_not_remember_is_not_changed(core, core_kwargs):
    """Rows that begin an episode with the window, those that began one in the window before, and what is kept."""
    agent = watched(core, dummy(8), core_kwargs, n_steps=2)
    agent.learn(3 * 2 * 8)
    past, window, policy = agent._before, agent.window, agent.policy
    kept = Past.of(window)._replace(**{name: copy.deepcopy(value) for name, value in past._asdict().items()})
    state = past.refreshed(policy, window)
    for ours, theirs in zip(_tensors(kept), _tensors(past), strict=True):
        assert torch.equal(ours, theirs), "what is kept is only looked at"

    def disturbed(leaf):
        return leaf + torch.rand_like(leaf) if leaf.is_floating_point() else leaf

    other = past._replace(initial_state=map_state(disturbed, past.initial_state)).refreshed(policy, window)
    begun = past.starts.any(0) | window.starts[0]
    assert 0 < begun.sum() < 8
    for ours, theirs in zip(state_leaves(state), state_leaves(other), strict=True):
        assert torch.equal(ours[begun], theirs[begun])
    assert any(not torch.equal(a, b) for a, b in zip(state_leaves(state), state_leaves(other), strict=True))
    window.starts[0, 1] = True
    for ours, theirs in zip(
        state_leaves(past.refreshed(policy, window)), state_leaves(window.initial_state), strict=True
    ):
        assert torch.equal(ours[1], theirs[1])


def _tensors(past):
    return [past.observations, past.starts, *state_leaves(past.initial_state)]


def test_an_episode_that_begins_in_the_window_is_unaffected():
    agent = watched()
    agent.learn(2 * 8 * 4)
    window, policy = agent.window, agent.policy
    stored = agent.windows[1][0][0]
    order = stored.rows.argsort()
    state = map_state(lambda leaf: leaf[order], stored.initial_state)
    with torch.no_grad():
        outputs = [policy.unroll(window.observations, s, window.starts)[0] for s in (state, window.initial_state)]
    begun = window.starts.cumsum(0) > 0
    assert begun.any() and not begun.all()
    assert torch.equal(outputs[0][begun], outputs[1][begun])
    assert not torch.equal(outputs[0][~begun], outputs[1][~begun])


def states(window):
    return [[leaf[batch.rows.argsort()] for leaf in state_leaves(batch.initial_state)] for batch, _, _ in window]


def same(window):
    first, *others = states(window)
    return all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_the_first_epoch_learns_from_what_was_acted_by():
    agent = watched("gru", core_kwargs={"dropout": 0.5})
    agent.learn(4 * 8 * 4)
    assert [same(window) for window in agent.windows] == [True, False, False, False]
    for (batch, evaluated, _), *_ in agent.windows:
        assert (evaluated.log_probs - batch.log_probs).abs().max() < 1e-9
        assert (evaluated.values - batch.values).abs().max() < 1e-9


def test_without_a_window_before_the_state_stays():
    """After learn begins anew, in another environment, after a stop within a window; and where it is not asked for."""
    agent = watched()
    agent.learn(2 * 8 * 4)
    agent.learn(2 * 8 * 4)
    assert [same(window) for window in agent.windows] == [True, False, True, False]
    agent.learn(8 * 4, reset_num_timesteps=False)
    assert not same(agent.windows[-1])
    agent.set_env(dummy(4))
    agent.learn(8 * 4, reset_num_timesteps=False)
    assert same(agent.windows[-1])
    agent.learn(8 * 4, reset_num_timesteps=False, callback=lambda now, _: now["t"] < 3)
    agent.learn(2 * 8 * 4, reset_num_timesteps=False)
    assert len(agent.windows) == 8
    assert [same(window) for window in agent.windows[-2:]] == [True, False]
    plain = watched(refresh_states=False)
    plain.learn(3 * 8 * 4)
    assert all(same(window) for window in plain.windows)
    assert plain._past is None


def test_episodes_that_a_callback_begins():
    """As a curriculum does at a window's end, with other random keys."""
    agent = watched("gru", core_kwargs={"dropout": 0.5})
    collect = agent.collect

    def collect_and_begin(callback):
        full = collect(callback)
        agent.begin_episodes()
        return full

    agent.collect = collect_and_begin
    agent.learn(3 * 8 * 4)
    assert all(same(window) for window in agent.windows)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"core": "gru", "policy_kwargs": {"core_kwargs": {"hidden_size": 6, "dropout": 0.5}}},
        {"bonus": "count", "bonus_kwargs": {"coef": 0.5}},
        {"condition_on": ["reward"], "policy_kwargs": {"critic_core": "same"}},
    ],
    ids=["lstm", "dropout", "bonus", "dict"],
)
def test_an_interrupted_run_goes_on_exactly(kwargs, tmp_path):
    kwargs = {"refresh_states": True, "learning_rate": 1e-2, **kwargs}
    whole = make(corridors(), **kwargs)
    whole.learn(6 * 32)
    agent = make(corridors(), run_dir=tmp_path, checkpoint_interval=1, **kwargs)
    with pytest.raises(Interrupted):
        agent.learn(6 * 32, callback=interrupt_at(100))
    assert trees.read_tree(tmp_path / STATE_FILE)["own"]["past"]["starts"].shape == (8, 4)
    again = RecurrentPPO.resume(tmp_path, corridors(), device="cpu")
    assert again._past is not None
    again.learn(again.remaining_timesteps, reset_num_timesteps=False)
    assert_same_weights(weights_of(again), weights_of(whole))
    other = make(corridors(), **{**kwargs, "refresh_states": False})
    other.learn(6 * 32)
    ours, theirs = weights_of(whole), weights_of(other)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_resumed_run_may_change_its_mind(tmp_path):
    """Either way, and where the environment offers no snapshot."""
    agent = make(dummy(4), refresh_states=True, bonus="rnd", run_dir=tmp_path)
    agent.learn(3 * 32)
    for refresh_states in (False, True):
        again = RecurrentPPO.resume(tmp_path, dummy(4), device="cpu", refresh_states=refresh_states, run_dir=None)
        again.learn(32, reset_num_timesteps=False)
        assert (again._past is not None) == refresh_states
    plain = make(dummy(4), bonus="rnd", run_dir=tmp_path / "plain")
    plain.learn(32)
    again = RecurrentPPO.resume(tmp_path / "plain", dummy(4), device="cpu", refresh_states=True)
    again.learn(2 * 32, reset_num_timesteps=False)
    assert again._past is not None


def test_a_checkpoint_of_other_environments_is_refused(tmp_path):
    agent = make(corridors(), refresh_states=True, run_dir=tmp_path)
    agent.learn(2 * 32)
    state = agent_files.read_training_state(tmp_path)
    (tmp_path / "manifest.json").unlink()
    for name, wrong in (("starts", torch.zeros(8, 3, dtype=torch.bool)), ("observations", torch.zeros(8, 2, 3))):
        past = {**state["own"]["past"], name: wrong}
        trees.write_tree(tmp_path / STATE_FILE, {**state, "own": {"bonus": None, "past": past}})
        with pytest.raises(CheckpointError, match="the window before the checkpoint is of other environments"):
            RecurrentPPO.resume(tmp_path, corridors(), device="cpu")


def test_it_learns_to_remember():
    env = make_env("memenvs/TMaze-v0", 32, seed=0, length=3)
    kwargs = {"learning_rate": 5e-3, "gamma": 0.95, "ent_coef": 0.01, "refresh_states": True}
    agent = RecurrentPPO("MlpPolicy", env, n_steps=24, seed=0, device="cpu", **kwargs)

    def unsolved(now, _):
        recent = now["self"].ep_success_buffer
        return len(recent) < 100 or np.mean(recent) < 0.97

    agent.learn(32 * 24 * 80, callback=unsolved)
    assert not unsolved({"self": agent}, None)
