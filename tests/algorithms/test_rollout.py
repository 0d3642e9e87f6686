"""Windows of experience: what is stored is what happened, and advantages are those of whole episodes."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from memagents import RecurrentPPO, core_names
from memagents.algorithms.rollout import Window, advantages
from memagents.cores.core import map_state, select_rows, state_leaves
from tests.algorithms.support import slow_advantages
from tests.cores.support import SMALL
from tests.support.toys import OBSERVATIONS, Recorder, dummy

T, B = 13, 5


@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_advantages_episode_by_episode(gamma, gae_lambda):
    rng = np.random.default_rng(0)
    rewards, values, bootstrap = (rng.normal(size=(T, B)) for _ in range(3))
    ends = rng.random((T, B)) < 0.25
    cut = ends & (rng.random((T, B)) < 0.5)
    ends[-1, 0] = ends[0, 1] = True
    bootstrap *= cut
    last_values = rng.normal(size=B)
    arrays = rewards, values, ends, bootstrap, last_values
    ours = advantages(*(torch.from_numpy(a) for a in arrays), gamma=gamma, gae_lambda=gae_lambda)
    np.testing.assert_allclose(ours.numpy(), slow_advantages(*arrays, gamma, gae_lambda), atol=1e-12)


def test_with_lambda_1_the_advantage_is_the_return():
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    zeros, never = torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.bool)
    result = advantages(rewards, zeros, never, zeros, torch.tensor([8.0]), gamma=0.5, gae_lambda=1.0)
    assert result.flatten().tolist() == [1 + 1 + 1 + 1, 2 + 2 + 2, 4 + 4]


# --- storage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_keep_their_type(name):
    space = OBSERVATIONS[name]
    window = Window(T, B, space, spaces.Discrete(2), 3, torch.device("cpu"))
    space.seed(0)
    drawn = [space.sample() for _ in range(B)]
    if isinstance(space, spaces.Dict):
        batch = {key: np.stack([one[key] for one in drawn]) for key in space.spaces}
        stored = window.store_observation(4, batch)
        for key, values in batch.items():
            np.testing.assert_array_equal(stored[key].numpy(), values)
            assert stored[key].numpy().dtype == values.dtype
            np.testing.assert_array_equal(window.observation(4)[key].numpy(), values)
    else:
        stored = window.store_observation(4, np.stack(drawn))
        np.testing.assert_array_equal(stored.numpy(), np.stack(drawn))
        assert stored.numpy().dtype == space.dtype
        np.testing.assert_array_equal(window.observations[4].numpy(), np.stack(drawn))


def test_only_the_first_state_is_kept():
    agent = RecurrentPPO(
        "MlpPolicy", dummy(4), n_steps=16, policy_kwargs={"core": "dnc", "core_kwargs": SMALL["dnc"]}, device="cpu"
    )
    agent.learn(64)
    states = state_leaves(agent._window.initial_state)
    assert [leaf.shape for leaf in states] == [leaf.shape for leaf in state_leaves(agent.policy.initial_state(4))]
    assert not any(leaf.requires_grad for leaf in states)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_minibatches_are_environments_with_their_whole_window(count):
    window = Window(T, B, OBSERVATIONS["dict"], spaces.Discrete(2), 3, torch.device("cpu"))
    names = ("actions", "starts", "ends", "decisions", "labels", "rewards", "values", "log_probs", "bootstrap")
    for name in (*names, "advantages", "returns"):
        storage = getattr(window, name)
        storage.copy_(torch.randint(0, 2, storage.shape))
    window.observations["place"].random_(0, 4)
    window.initial_state = torch.arange(float(B))
    seen = []
    for batch in window.minibatches(count):
        seen += batch.rows.tolist()
        assert batch.initial_state.tolist() == batch.rows.tolist()
        torch.testing.assert_close(batch.observations["place"], window.observations["place"][:, batch.rows])
        for name in (*names, "advantages", "returns"):
            torch.testing.assert_close(getattr(batch, name), getattr(window, name)[:, batch.rows])
        assert abs(len(batch.rows) - B / count) < 1
    assert sorted(seen) == list(range(B))


# --- collecting -----------------------------------------------------------------------------------------------------


class Keeper(BaseCallback):
    """Keeps a copy of every window before it is learned from, with the memory before and after it."""

    def __init__(self):
        super().__init__()
        self.windows = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        window, agent = self.model._window, self.model
        names = ("actions", "starts", "ends", "decisions", "rewards", "values", "log_probs", "bootstrap")
        kept = {name: getattr(window, name).clone() for name in (*names, "advantages", "returns")}
        kept["observations"] = window.observations.clone()
        kept["before"], kept["after"] = window.initial_state, map_state(torch.clone, agent.memory_state())
        kept["weights"] = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
        self.windows.append(kept)


def collected(core, windows=2):
    env = Recorder(dummy(4, tells=True))
    agent = RecurrentPPO(
        "MlpPolicy",
        env,
        n_steps=T,
        gamma=0.9,
        gae_lambda=0.8,
        policy_kwargs={"core": core, "core_kwargs": SMALL.get(core)},
        seed=1,
        device="cpu",
    )
    agent.policy.double()
    keeper = Keeper()
    agent.learn(windows * 4 * T, callback=keeper)
    return agent, env, keeper.windows


@pytest.mark.parametrize("core", core_names())
def test_a_window_is_what_happened(core):
    """Against a slow account, environment by environment and step by step, of everything the environments gave.

    At a time limit the value is that of the final observation with the memory after the last step; where an episode
    terminated there is none.
    """
    agent, env, windows = collected(core)
    policy = agent.policy
    cuts = terminations = 0
    for row in range(4):
        observation, begins, decision = env.first[row], True, env.first_decisions[row]
        state = select_rows(windows[0]["before"], [row])  # an initial state, but for the row's random key
        for number, window in enumerate(windows):
            policy.load_state_dict(window["weights"])
            if number:  # what the memory held when the window began was computed by the weights of then
                state = select_rows(window["before"], [row])
            for t in range(T):
                actions, observations, rewards, dones, infos, decisions = env.history[number * T + t]
                np.testing.assert_array_equal(window["observations"][t, row].numpy(), observation)
                assert window["starts"][t, row] == begins
                assert window["decisions"][t, row] == decision
                seen, done = torch.from_numpy(observation)[None, None], window["actions"][t, row][None, None]
                with torch.no_grad():
                    evaluated = policy.evaluate_actions(seen, done, state, torch.tensor([[begins]]))
                assert actions[row] == window["actions"][t, row]
                assert abs(evaluated.log_probs.item() - window["log_probs"][t, row].item()) < 1e-12
                assert abs(evaluated.values.item() - window["values"][t, row].item()) < 1e-12
                state = evaluated.state
                assert window["rewards"][t, row] == rewards[row]
                assert window["ends"][t, row] == dones[row]
                expected = 0.0
                if dones[row] and infos[row]["TimeLimit.truncated"]:
                    cuts += 1
                    final = torch.from_numpy(infos[row]["terminal_observation"])[None]
                    with torch.no_grad():
                        expected = policy.predict_values(final, state, torch.tensor([False])).item()
                    assert expected != 0
                elif dones[row]:
                    terminations += 1
                assert abs(window["bootstrap"][t, row].item() - expected) < 1e-12
                observation, begins, decision = observations[row], bool(dones[row]), decisions[row]
            for ours, theirs in zip(state_leaves(state), state_leaves(window["after"]), strict=True):
                torch.testing.assert_close(ours[0], theirs[row], rtol=0, atol=1e-12)
            with torch.no_grad():
                last = policy.predict_values(torch.from_numpy(observation)[None], state, torch.tensor([begins])).item()
            columns = (window[name][:, [row]].numpy() for name in ("rewards", "values", "ends", "bootstrap"))
            slow = slow_advantages(*columns, last_values=np.array([last]), gamma=0.9, gae_lambda=0.8)[:, 0]
            np.testing.assert_allclose(window["advantages"][:, row].numpy(), slow, atol=1e-12)
            np.testing.assert_allclose(window["returns"][:, row].numpy(), slow + window["values"][:, row].numpy())
    assert cuts > 3
    assert terminations > 3


@pytest.mark.parametrize("core", core_names())
def test_a_finished_episode_leaks_nothing(core):
    """Other observations up to an episode's end change nothing after it, in no row and in no gradient."""
    agent, _, windows = collected(core, windows=1)
    window, policy = windows[0], agent.policy
    ends = [int(window["ends"][:, row].nonzero()[0]) for row in range(4)]
    other = window["observations"].clone()
    for row, end in enumerate(ends):
        other[: end + 1, row] = torch.randn(end + 1, 3)
    other = other.to(torch.float64).requires_grad_()
    before = map_state(torch.clone, window["before"])
    with torch.no_grad():
        first = policy.evaluate_actions(window["observations"], window["actions"], before, window["starts"])
    second = policy.evaluate_actions(other, window["actions"], before, window["starts"])
    after = torch.stack([torch.arange(T) > end for end in ends], dim=1)
    assert 0 < after.sum() < after.numel()
    close = {"rtol": 0, "atol": 1e-12 if core == "stack" else 0}  # a single step of its GRU is another sum in learning
    torch.testing.assert_close(second.values[after], first.values[after], **close)
    torch.testing.assert_close(second.log_probs[after], first.log_probs[after], **close)
    assert not torch.equal(second.values[~after], first.values[~after])
    (second.values[after].sum() + second.log_probs[after].sum()).backward()
    assert other.grad[after].any()
    assert not other.grad[~after].any()
