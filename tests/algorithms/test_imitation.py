"""Learning from the oracle."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import LinearSchedule

import memenvs  # noqa: F401
from memagents import Imitation, RecurrentPPO, as_vec_env
from memagents.cores.core import select_rows, state_leaves
from tests.algorithms.support import slow_advantages
from tests.cores.support import SMALL
from tests.support.toys import Recorder, dummy


class Watched(Imitation):
    """Keeps every minibatch, its losses, and the memory that windows begin with."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.batches, self.losses, self.befores, self.afters = [], [], [], []

    def train(self):
        self.befores.append(self._window.initial_state)
        super().train()
        self.afters.append(self._state)

    def _update(self, batch, *args):
        self.batches.append(batch)
        return super()._update(batch, *args)

    def step_optimizer(self, losses):
        self.losses.append({name: loss.item() for name, loss in losses.items()})
        return super().step_optimizer(losses)


def make(env=None, core="lstm", **kwargs):
    kwargs = {"n_steps": 13, "seed": 0, "device": "cpu", **kwargs}
    policy_kwargs = {"core": core, "core_kwargs": SMALL.get(core)}
    return Watched("MlpPolicy", Recorder(dummy(4)) if env is None else env, policy_kwargs=policy_kwargs, **kwargs)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
def test_the_loss_is_the_cross_entropy_of_the_oracles_actions(share):
    """Against a loop over the steps, with the critic's returns from a slow account."""
    agent = make(oracle_share=share, n_minibatches=1, gamma=0.9, gae_lambda=0.8)
    agent.policy.double()
    weights = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    agent.learn(4 * 13)
    batch, losses = agent.batches[0], agent.losses[0]
    order = torch.argsort(batch.rows)
    agent.policy.load_state_dict(weights)
    policy, history = agent.policy, agent.get_env().history
    surprises, values, bootstrap = [], np.zeros((13, 4)), np.zeros((13, 4))
    last_values = np.zeros(4)
    for row, place in enumerate(order.tolist()):
        state = select_rows(policy.initial_state(4), [row])
        for t in range(13):
            seen, start = batch.observations[t, place][None], batch.starts[t, place][None]
            label = batch.labels[t, place].item()
            with torch.no_grad():
                outputs, state, _ = policy.unroll(seen[None], state, start[None])
                values[t, row] = policy.values(outputs).item()
                if label >= 0:
                    surprises.append(-policy.action_net(outputs[0, 0]).log_softmax(0)[label].item())
            _, _, _, dones, infos, _ = history[t]
            if dones[row] and infos[row]["TimeLimit.truncated"]:
                final = torch.from_numpy(infos[row]["terminal_observation"])[None]
                with torch.no_grad():
                    exact = policy.predict_values(final, state, torch.tensor([False])).item()
                # Cloning does not look beyond a step: what follows is taken to be worth what the step was.
                bootstrap[t, row] = values[t, row] if share == 1 else exact
        with torch.no_grad():
            last = torch.from_numpy(history[12][1][row])[None]
            exact = policy.predict_values(last, state, torch.from_numpy(history[12][3][[row]])).item()
        last_values[row] = values[12, row] if share == 1 else exact
    rewards, ends = (np.stack([step[i] for step in history]) for i in (2, 3))
    returned = slow_advantages(rewards, values, ends, bootstrap, last_values, 0.9, 0.8)
    assert 0 < len(surprises) < 52
    assert losses["cross_entropy_loss"] == pytest.approx(np.mean(surprises), abs=1e-12)
    assert losses["value_loss"] == pytest.approx(np.mean(returned**2), rel=1e-6)


@pytest.mark.parametrize("actions", ["discrete", "shifted"])
def test_what_the_oracle_says_is_done(actions):
    agent = make(Recorder(dummy(4, actions=actions)))
    start = int(agent.action_space.start)
    answers = []
    oracle = agent.get_env().venv.env_method
    agent.env.venv.env_method = lambda name, *args, **kwargs: answers.append(oracle(name)) or answers[-1]
    agent.learn(4 * 13)
    done = np.stack([step[0] for step in agent.get_env().history])
    said = np.array(answers)
    assert (said == -1).any()
    np.testing.assert_array_equal(done[said >= 0], said[said >= 0])
    window = agent._window
    np.testing.assert_array_equal(window.labels.numpy(), np.where(said == -1, -1, said - start))
    assert (window.labels.max(), done.min()) == (2, start)


@pytest.mark.parametrize("condition_on", [(), ("reward",), ("action",), ("action", "reward")])
def test_what_an_agent_sees_of_its_actions_is_random_where_the_oracle_has_nothing_to_say(condition_on):
    """Else it would learn with action 0 before its eyes where it will see its own, which nobody taught it."""
    agent = make(as_vec_env(dummy(64), condition_on=condition_on), n_steps=16)
    agent.learn(64 * 16)
    window = agent._window
    asked = window.labels >= 0
    assert (window.actions == window.labels)[asked].all()
    chosen = torch.bincount(window.actions[~asked].long(), minlength=3)
    if "action" not in condition_on:
        assert chosen[1:].sum() == 0
        return
    assert (chosen > 20).all(), chosen
    seen = window.observations["previous_action"][1:]
    goes_on = ~window.starts[1:]
    assert torch.equal(seen[goes_on].argmax(-1), window.actions[:-1][goes_on].long())


def test_the_share_of_the_oracle():
    agent = make(dummy(64), oracle_share=0.5, n_steps=64)
    agent.learn(64 * 64)
    window = agent._window
    followed = (window.actions == window.labels)[window.labels >= 0].double().mean().item()
    assert abs(followed - (0.5 + 0.5 / 3)) < 0.05  # the policy agrees by chance in a third of the rest
    alone = make(dummy(64), oracle_share=0.0, n_steps=64)
    alone.learn(64 * 64)
    window = alone._window
    assert abs((window.actions == window.labels)[window.labels >= 0].double().mean().item() - 1 / 3) < 0.05


def test_a_share_holds_for_a_whole_window():
    """The schedule moves between collecting and learning; both must know whether the policy has acted."""
    shares, starts = [], []

    class Shares(Watched):
        def train(self):
            shares.append((self._share, bool(self._window.values.any())))
            super().train()

    agent = Shares("MlpPolicy", dummy(4), n_steps=13, oracle_share=LinearSchedule(1.0, 0.0, 1.0), device="cpu", seed=0)
    for _ in range(2):
        agent.learn(4 * 52)
        starts.append(shares.copy())
        shares.clear()
    expected = [(1.0, False), (0.75, True), (0.5, True), (0.25, True)]
    assert starts == [expected, expected]


@pytest.mark.parametrize("core", ["lstm", "dnc"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_memory_goes_on_from_window_to_window(core, share):
    """The memory before the second window is that of stepping through the first, if weights stay."""
    agent = make(core=core, learning_rate=lambda _: 0.0, oracle_share=share, n_minibatches=3, n_epochs=2)
    agent.policy.double()
    agent.learn(2 * 52)
    state = agent.policy.initial_state(4)
    windows = 2 if share == 1 else 1
    history = agent.get_env().history
    seen, starts = agent.get_env().first, np.ones(4, bool)
    for t in range(13 * windows):
        with torch.no_grad():
            state = agent.policy.unroll(torch.from_numpy(seen)[None], state, torch.from_numpy(starts)[None])[1]
        seen, starts = history[t][1], history[t][3]
        if t == 12:
            for ours, theirs in zip(state_leaves(agent.befores[1]), state_leaves(state), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for ours, theirs in zip(state_leaves(agent.afters[windows - 1]), state_leaves(state), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        assert not ours.requires_grad


@pytest.mark.parametrize("actions", ["multi_binary", "multi_discrete"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_actions_of_several_entries(actions, share):
    """The loss is the sum over the entries of each one's cross-entropy; right is what is right in all of them."""
    agent = make(Recorder(dummy(4, actions=actions)), oracle_share=share, n_minibatches=1, learning_rate=lambda _: 0.0)
    agent.policy.double()
    with torch.no_grad():
        agent.policy.action_net.weight.mul_(100)  # not all alike
    agent.learn(4 * 13)
    batch, losses = agent.batches[0], agent.losses[0]
    outputs, _, _ = agent.policy.unroll(batch.observations, batch.initial_state, batch.starts)
    logits = agent.policy.action_net(outputs).detach()
    surprises, right = [], []
    for t in range(13):
        for b in range(4):
            label = batch.labels[t, b].tolist()
            assert -1 not in label or set(label) == {-1}
            if -1 in label:
                continue
            one = logits[t, b]
            if actions == "multi_binary":
                chances = [one[i].sigmoid() if bit else 1 - one[i].sigmoid() for i, bit in enumerate(label)]
                best = (one > 0).long().tolist()
            else:
                parts = [one[:3].softmax(0), one[3:].softmax(0)]
                chances, best = [part[i] for part, i in zip(parts, label, strict=True)], [p.argmax() for p in parts]
            surprises.append(-sum(chance.log().item() for chance in chances))
            right.append(best == label)
    assert 0 < len(surprises) < 52
    assert losses["cross_entropy_loss"] == pytest.approx(np.mean(surprises), abs=1e-9)
    assert list(agent.recent_accuracies) == [pytest.approx(np.mean(right))]
    assert 0 < np.mean(right) < 1


def test_thoughts_of_the_oracle_are_learned_but_count_for_no_accuracy():
    """What it says where no action matters, of which nobody can be right in all."""
    task = {"task": "shortest_path", "answers": "edges", "stepwise": True, "planning": 3, "stations": 4, "exits": 2}
    env = as_vec_env(gym.make_vec("memenvs/Underground-v0", num_envs=4, **task, distance=2, labels=4))
    agent = make(env, n_steps=40, n_minibatches=1, learning_rate=lambda _: 0.0)
    with torch.no_grad():
        agent.policy.action_net.weight.mul_(100)  # not all alike
    agent.learn(4 * 40)
    batch = agent.batches[0]
    asked = (batch.labels >= 0).all(-1)
    assert 0 < (batch.decisions & asked).sum() == batch.decisions.sum() < asked.sum()
    outputs, _, _ = agent.policy.unroll(batch.observations, batch.initial_state, batch.starts)
    distribution = agent.policy.distribution(outputs[asked])
    right = (distribution.mode() == batch.labels[asked]).all(-1)
    surprise = -distribution.log_prob(batch.labels[asked].float()).mean().item()
    assert agent.losses[0]["cross_entropy_loss"] == pytest.approx(surprise, rel=1e-5)
    assert list(agent.recent_accuracies) == [pytest.approx(right[batch.decisions[asked]].float().mean().item())]


def test_bits_are_counted_over_whole_episodes():
    agent = make(n_minibatches=1, learning_rate=lambda _: 0.0)
    agent.policy.double()
    agent.learn(52, log_interval=0)  # what is logged is not written, and stays
    logged = agent.logger.name_to_value
    batch = agent.batches[0]
    outputs, _, _ = agent.policy.unroll(batch.observations, batch.initial_state, batch.starts)
    chances = agent.policy.action_net(outputs).log_softmax(-1)
    total, count = 0.0, 0
    for b in range(4):
        bits = None
        for t in range(13):
            if batch.starts[t, b]:
                bits = 0.0
            label = batch.labels[t, b]
            if bits is not None and label >= 0:
                bits -= chances[t, b, label].item() / np.log(2)
            if batch.ends[t, b] and bits is not None:
                total, count, bits = total + bits, count + 1, None
    assert count > 4
    assert logged["train/bits_per_sequence"] == pytest.approx(total / count)


def test_whole_episodes_begin_with_every_window():
    starts = {}
    for whole in (False, True):
        agent = make(whole_episodes=whole)
        agent.learn(3 * 52)
        starts[whole] = [bool(batch.starts[0].all()) for batch in agent.batches]
    assert all(starts[True])
    assert not all(starts[False])


def test_no_oracle_no_imitation():
    with pytest.raises(ValueError, match="no oracle"):
        Imitation("MlpPolicy", "CartPole-v1", n_steps=4, device="cpu").learn(4)
    with pytest.raises(ValueError, match="imitation needs Discrete, MultiDiscrete or MultiBinary actions, not Box"):
        make(dummy(2, actions="box"))
    with pytest.raises(ValueError, match=r"oracle_share must be a number in \[0, 1\], not 1.5"):
        make(oracle_share=1.5)


def test_a_tiny_underground_is_learned_and_ppo_goes_on(tmp_path):
    """Three stations with one exit each and three labels: guessing among the exits seen reaches a share of 0.62."""
    env = gym.make_vec("memenvs/Underground-v0", num_envs=64, stations=3, exits=1, labels=3, distance=1)
    agent = Imitation(
        "MlpPolicy",
        env,
        learning_rate=3e-3,
        n_steps=10,
        n_minibatches=1,
        policy_kwargs={
            "core": "dnc",
            "core_kwargs": {"slots": 8, "width": 12, "read_heads": 1, "controller_size": 64},
        },
        seed=1,
        device="cpu",
    )
    accuracy = []
    update = agent._update

    def watched(batch, cloning, log):
        state = update(batch, cloning, log)
        accuracy.append(log["right"][-1] / log["asked"][-1])
        return state

    agent._update = watched
    agent.learn(64 * 10 * 800, callback=lambda *_: np.mean(accuracy[-20:] or [0]) < 0.9)
    assert np.mean(accuracy[-20:]) >= 0.9
    agent.save(tmp_path / "imitation")
    ppo = RecurrentPPO.load(tmp_path / "imitation", env, device="cpu", learning_rate=3e-4, n_epochs=2)
    ppo.learn(64 * 10 * 8)
    assert np.mean(ppo.ep_success_buffer) > 0.75
