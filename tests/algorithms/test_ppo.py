"""Proximal policy optimisation: the gold tests of its update, and that it learns to remember."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule

import memenvs  # noqa: F401
from memagents import RecurrentPPO, core_names
from memagents.algorithms.cuda_graphs import GraphedFunction, look
from memagents.algorithms.ppo import masked_mean, normalize
from memagents.algorithms.rollout import Minibatch
from memagents.policies.actor_critic import Evaluated
from tests.cores.support import SMALL
from tests.support.toys import ACTIONS, dummy


class Watched(RecurrentPPO):
    """Keeps what the update was made of."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen, self.steps = [], []  # (minibatch, its evaluation) and norms of gradients, by window

    def train(self):
        self.seen.append([])
        self.steps.append([])
        super().train()

    def _losses(self, batch, evaluated, *args):
        self.seen[-1].append((batch, evaluated))
        return super()._losses(batch, evaluated, *args)

    def descend(self, gradients, losses, norm):
        super().descend(gradients, losses, norm)
        self.steps[-1].append(norm)


def make(core="lstm", env=None, cls=Watched, **kwargs):
    kwargs = {"n_steps": 13, "seed": 0, "device": "cpu", **kwargs}
    policy_kwargs = {"core": core, "core_kwargs": SMALL.get(core), **kwargs.pop("policy_kwargs", {})}
    return cls("MlpPolicy", dummy(4) if env is None else env, policy_kwargs=policy_kwargs, **kwargs)


def window_of(agent):
    """A window with values, advantages and returns, not learned from."""
    agent.train = lambda: None
    agent.learn(agent.n_steps * agent.n_envs)
    return agent._window


def gradient(agent, batch):
    """Return the gradient of the sum of all losses on a minibatch, as one vector."""
    evaluated = agent.policy.evaluate_actions(batch.observations, batch.actions, batch.initial_state, batch.starts)
    losses, _ = RecurrentPPO._losses(agent, batch, evaluated, 0.2, None)
    agent.policy.zero_grad()
    sum(losses.values()).backward()
    return torch.cat([p.grad.flatten() for p in agent.policy.parameters() if p.grad is not None])


# --- gold tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("core", "actions"),
    [*((core, "discrete") for core in core_names()), *(("lstm", name) for name in ACTIONS if name != "discrete")],
)
def test_before_the_first_gradient_step_every_ratio_is_one(core, actions):
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-5)):
        agent = make(core, dummy(4, observations="dict", actions=actions), learning_rate=1e-2)
        agent.policy.to(dtype)
        agent.learn(3 * 13 * 4)
        assert len(agent.seen) == 3
        for window in agent.seen:
            batch, evaluated = window[0]
            assert batch.starts[1:].any()
            ratios = (evaluated.log_probs - batch.log_probs).exp()
            assert ratios.dtype == dtype
            assert (ratios - 1).abs().max() < tolerance
            assert (evaluated.values - batch.values).abs().max() < tolerance
            _, later = window[-1]
            assert not torch.equal(later.values, window[-1][0].values)


@pytest.mark.parametrize(
    ("core", "core_kwargs"),
    [("gru", {"dropout": 0.5}), ("dnc", {"dropout": 0.3}), ("memn2n", {"selection": "sampled", "length": 6})],
)
def test_what_is_drawn_while_acting_is_drawn_while_learning(core, core_kwargs):
    """Over episodes and windows, also where a callback has the policy predict in between; each row draws its own."""
    env = dummy(4)

    class Predicts(BaseCallback):
        def _on_step(self):
            self.model.predict(np.zeros((4, 3), np.float32))
            return True

    kwargs = {**SMALL[core], **core_kwargs}
    agent = make(core, env, learning_rate=1e-2, policy_kwargs={"core_kwargs": kwargs}, n_epochs=2)
    agent.policy.double()
    agent.learn(3 * 13 * 4, Predicts())
    for window in agent.seen:
        batch, evaluated = window[0]
        assert (evaluated.log_probs - batch.log_probs).abs().max() < 1e-9
    for keys in (agent._state.actor.key, agent._state.critic.key):
        assert len(keys.unique()) == 4
    assert len(agent.begin_episodes() or agent._state.actor.key.unique()) == 4


@pytest.mark.parametrize("core", core_names())
def test_a_permuted_batch_has_the_same_gradient(core):
    agent = make(core, dummy(5, tells=True), ent_coef=0.1)
    agent.policy.double()
    window = window_of(agent)
    straight = gradient(agent, window.minibatch(torch.arange(5)))
    permuted = gradient(agent, window.minibatch(torch.tensor([3, 0, 4, 2, 1])))
    assert straight.abs().max() > 1e-3
    torch.testing.assert_close(permuted, straight, rtol=0, atol=1e-12)


def test_steps_without_a_decision_train_the_critic_alone():
    agent = make(env=dummy(4, tells=True), ent_coef=0.1, normalize_advantage=False)
    agent.policy.double()
    window = window_of(agent)
    idle = ~window.decisions
    assert 0.2 < idle.double().mean() < 0.8
    everyone = torch.arange(4)
    before = gradient(agent, window.minibatch(everyone))
    window.advantages[idle] = 1e6
    window.log_probs[idle] -= 50
    window.actions[idle] = (window.actions[idle] + 1) % 3
    torch.testing.assert_close(gradient(agent, window.minibatch(everyone)), before, rtol=0, atol=1e-12)
    window.returns[idle] += 1
    after = gradient(agent, window.minibatch(everyone))
    assert (after - before).abs().max() > 1e-3
    window.returns[idle] -= 1
    window.advantages[~idle] += 1
    assert (gradient(agent, window.minibatch(everyone)) - before).abs().max() > 1e-3


def test_no_decision_at_all_is_no_error():
    agent = make(env=dummy(4), ent_coef=0.1)
    window = window_of(agent)
    window.decisions[:] = False
    assert gradient(agent, window.minibatch(torch.arange(4))).isfinite().all()
    assert masked_mean(torch.tensor([1.0, math.nan]), torch.tensor([False, False])) == 0


def test_advantages_are_normalized_over_decisions():
    values = torch.randn(20, 3, dtype=torch.float64) * 5 + 7
    mask = torch.rand(20, 3) < 0.5
    expected = (values - values[mask].mean()) / (values[mask].std() + 1e-8)
    normalize(values, mask)
    torch.testing.assert_close(values, expected)
    assert abs(values[mask].mean()) < 1e-12
    assert abs(values[mask].std() - 1) < 1e-6
    window = make(env=dummy(4, tells=True)).learn(52)._window
    assert abs(window.advantages[window.decisions].mean()) < 1e-6
    assert abs(window.advantages[window.decisions].std() - 1) < 1e-5
    alone = torch.tensor([3.0, 4.0])
    normalize(alone, torch.tensor([True, False]))
    assert alone.tolist() == [3, 4]


# --- the losses, by hand --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_vf", [None, 0.3])
def test_the_losses_are_the_papers(clip_vf):
    rng, shape, clip = np.random.default_rng(0), (6, 3), 0.2
    old, new, advantages, values, predicted, returns, entropy = (rng.normal(size=shape) for _ in range(7))
    decisions = rng.random(shape) < 0.6
    agent = make()
    arrays = {"log_probs": old, "advantages": advantages, "values": values, "returns": returns, "decisions": decisions}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    batch = Minibatch(**{**dict.fromkeys(Minibatch._fields), **tensors})
    ponder = torch.from_numpy(rng.normal(size=shape))
    seen = (torch.from_numpy(a) for a in (predicted, new, entropy))
    evaluated = Evaluated(*seen, state=None, losses={"ponder": ponder})
    losses, figures = RecurrentPPO._losses(agent, batch, evaluated, clip, clip_vf)
    surrogates, divergences, clipped, entropies, errors = [], [], [], [], []
    for t in range(shape[0]):
        for b in range(shape[1]):
            prediction = predicted[t, b]
            if clip_vf is not None:
                prediction = values[t, b] + min(max(prediction - values[t, b], -clip_vf), clip_vf)
            errors.append((returns[t, b] - prediction) ** 2)
            if decisions[t, b]:
                ratio = math.exp(new[t, b] - old[t, b])
                within = min(max(ratio, 1 - clip), 1 + clip)
                surrogates.append(min(ratio * advantages[t, b], within * advantages[t, b]))
                divergences.append(ratio - 1 - math.log(ratio))
                clipped.append(abs(ratio - 1) > clip)
                entropies.append(entropy[t, b])
    expected = {
        "policy_gradient_loss": -np.mean(surrogates),
        "value_loss": np.mean(errors),
        "entropy_loss": -np.mean(entropies),
        "ponder_loss": ponder.mean().item(),
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, abs=1e-12)
    assert figures.keys() == {"approx_kl", "clip_fraction"}
    assert figures["approx_kl"].item() == pytest.approx(np.mean(divergences), abs=1e-12)
    assert figures["clip_fraction"].item() == pytest.approx(np.mean(clipped), abs=1e-12)


def test_the_sum_is_weighted():
    agent = make(cls=RecurrentPPO, ent_coef=0.25, vf_coef=0.125, max_grad_norm=100.0)
    names = ["policy_gradient_loss", "value_loss", "entropy_loss", "ponder_loss"]
    bias = agent.policy.value_net.bias
    norms = [agent.step_optimizer({name: 3 * bias.sum()}) for name in names]
    assert norms == pytest.approx([3, 3 * 0.125, 3 * 0.25, 3])


# --- the update -----------------------------------------------------------------------------------------------------


def test_epochs_and_minibatches():
    agent = make(n_epochs=3, n_minibatches=2, env=dummy(5))
    agent.learn(2 * 13 * 5)
    assert [len(window) for window in agent.steps] == [6, 6]
    for window in agent.seen:
        for epoch in range(3):
            rows = torch.cat([batch.rows for batch, _ in window[2 * epoch : 2 * epoch + 2]])
            assert sorted(rows.tolist()) == list(range(5))
    assert agent._n_updates == 6
    assert [len(window) for window in make(n_epochs=1, env=dummy(2)).learn(26).steps] == [2]
    assert [len(window) for window in make(n_epochs=1, env=dummy(7)).learn(91).steps] == [4]


def test_target_kl_ends_the_epochs():
    free = make(n_epochs=5, learning_rate=0.05).learn(2 * 52)
    assert [len(window) for window in free.steps] == [20, 20]
    bound = make(n_epochs=5, learning_rate=0.05, target_kl=1e-4).learn(2 * 52)
    assert all(1 <= len(window) < 20 for window in bound.steps)
    for steps, seen in zip(bound.steps, bound.seen, strict=True):
        divergence = [((e.log_probs - b.log_probs).exp() - 1 - (e.log_probs - b.log_probs)).mean() for b, e in seen]
        assert len(steps) == len(seen) - 1
        assert all(kl <= 1.5e-4 for kl in divergence[:-1])
        assert divergence[-1] > 1.5e-4


def test_gradients_are_clipped():
    agent = make(max_grad_norm=0.01)
    agent.learn(52)
    assert max(agent.steps[0]) > 0.01
    norm = torch.cat([p.grad.flatten() for p in agent.policy.parameters() if p.grad is not None]).norm()
    assert norm == pytest.approx(0.01, rel=1e-3)
    free = make(max_grad_norm=math.inf).learn(52)
    norm = torch.cat([p.grad.flatten() for p in free.policy.parameters() if p.grad is not None]).norm()
    assert norm == pytest.approx(free.steps[0][-1], rel=1e-5)


def test_groups_of_parameters_follow_their_own_schedules():
    rates = []

    class Rates(Watched):
        def train(self):
            rates.append({group["name"]: group["lr"] for group in self.policy.optimizer.param_groups})
            super().train()

    memory = {"memory_learning_rate": lambda left: 1e-3 * left**2}
    make(cls=Rates, learning_rate=LinearSchedule(1.0, 0.0, 1.0), **memory).learn(4 * 52)
    assert [rate["policy"] for rate in rates] == pytest.approx([0.75, 0.5, 0.25, 0])
    assert [rate["memory"] for rate in rates] == pytest.approx([1e-3 * left**2 for left in (0.75, 0.5, 0.25, 0)])
    rates.clear()
    make(cls=Rates, learning_rate=0.02).learn(52)
    assert rates == [{"policy": 0.02, "memory": 0.02}]
    agent = make(learning_rate=0.01, memory_learning_rate=lambda _: 0.0)
    before = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    agent.learn(52)
    for name, tensor in agent.policy.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("core.")


def test_schedules_of_clipping(monkeypatch):
    clips = []

    class Clips(RecurrentPPO):
        def _losses(self, batch, evaluated, clip, clip_vf):
            clips.append((clip, clip_vf))
            return super()._losses(batch, evaluated, clip, clip_vf)

    make(cls=Clips, n_epochs=1, n_minibatches=1, clip_range=lambda left: left, clip_range_vf=0.5).learn(2 * 52)
    assert clips == [(0.5, 0.5), (0.0, 0.5)]


@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [
        ("n_steps", 0, "a positive integer"),
        ("n_steps", 2.0, "a positive integer"),
        ("n_epochs", -1, "a positive integer"),
        ("n_minibatches", 0, "a positive integer"),
        ("n_minibatches", 5, r"at most the number of environments \(4\)"),
        ("gamma", 1.1, r"in \[0, 1\]"),
        ("gae_lambda", -0.1, r"in \[0, 1\]"),
        ("ent_coef", -1, "a finite number of at least 0"),
        ("vf_coef", math.nan, "a finite number of at least 0"),
        ("vf_coef", math.inf, "a finite number of at least 0"),
        *(("learning_rate", rate, "a finite number above 0") for rate in (0, -1e-3, math.inf, math.nan, "a", True)),
        ("memory_learning_rate", 0.0, "a finite number above 0"),
        ("learning_rate", lambda _: math.nan, "a finite number of at least 0, not nan"),
        ("memory_learning_rate", lambda _: -1.0, "a finite number of at least 0, not -1.0"),
        ("normalize_advantage", "yes", "true or false, not 'yes'"),
        ("normalize_values", 1, "true or false, not 1"),
        ("refresh_states", "no", "true or false, not 'no'"),
        ("cuda_graphs", 1, "true or false, not 1"),
        ("max_grad_norm", "a", r"in \[0, inf\]"),
        ("target_kl", -1, r"in \[0, inf\]"),
        ("checkpoint_interval", True, "a positive integer"),
        ("condition_on", "reward", "a list of words among action, reward"),
    ],
)
def test_wrong_arguments_are_named(argument, value, allowed):
    begins = " at the beginning of its schedule" if callable(value) else ""
    with pytest.raises(ValueError, match=f"{argument}{begins} must be .*{allowed}"):
        make(**{argument: value})


@pytest.mark.parametrize("name", ["critic_gradient", "ortho_init", "normalize_images", "mixed_precision", "bonus_head"])
@pytest.mark.parametrize("word", ["maybe", "false", 1, None])
def test_words_are_no_booleans(name, word):
    with pytest.raises(ValueError, match=f"^{name} must be true or false, not {word!r}$"):
        make(policy_kwargs={name: word})
    make(policy_kwargs={name: np.bool_(name == "normalize_images")})


def test_a_schedule_may_begin_at_zero():
    assert make(learning_rate=lambda left: 1 - left).lr_schedule(1) == 0


def test_wrong_policies_and_positions():
    with pytest.raises(ValueError, match="policy must be one of MlpPolicy, CnnPolicy, MultiInputPolicy or a class"):
        RecurrentPPO("MlpLstmPolicy", dummy(2))
    with pytest.raises(TypeError):  # the fourth argument of SB3's PPO is n_steps: no guessing
        RecurrentPPO("MlpPolicy", dummy(2), 3e-4, 128)


def test_numpys_numbers_are_numbers():
    agent = make(n_steps=np.int64(5), gamma=np.float32(0.5), ent_coef=0)
    assert (agent.n_steps, agent.gamma, agent.ent_coef) == (5, 0.5, 0.0)


# --- learning -------------------------------------------------------------------------------------------------------


def tmaze(core, seed=0, **kwargs):
    env = gym.make_vec("memenvs/TMaze-v0", num_envs=32, length=3)
    return RecurrentPPO(
        "MlpPolicy",
        env,
        learning_rate=kwargs.pop("learning_rate", 5e-3),
        n_steps=24,
        gamma=0.95,
        ent_coef=0.01,
        policy_kwargs={"core": core, **kwargs},
        seed=seed,
        device="cpu",
    )


@pytest.mark.parametrize("core", ["lstm", "dnc"])
def test_it_learns_to_remember(core):
    agent = tmaze(core)

    def unsolved(now, _):
        recent = now["self"].ep_success_buffer
        return len(recent) < 100 or np.mean(recent) < 0.97

    agent.learn(32 * 24 * 80, callback=unsolved)
    assert not unsolved({"self": agent}, None)


def test_without_memory_there_is_nothing_beyond_chance():
    agent = tmaze("none")
    agent.learn(32 * 24 * 30)
    assert 0.3 < np.mean(agent.ep_success_buffer) < 0.7  # four standard deviations about a half


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("core", core_names())
def test_on_a_gpu(core, tmp_path):
    """The same first window and, within rounding, the same first update as on the CPU; everything stays there."""
    agents = {}
    for device in ("cpu", "cuda"):
        env = gym.make_vec("memenvs/TMaze-v0", num_envs=8, length=3)
        agent = make(core, env, device=device, n_epochs=1, n_minibatches=1)
        agents[device] = agent
        if device == "cuda":
            agent.policy.load_state_dict(agents["cpu"].first)
        else:
            agent.first = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
        agent.learn(13 * 8 * 2)
        batch, evaluated = agent.seen[0][0]
        assert {t.device.type for t in (batch.rewards, batch.observations, evaluated.values)} == {device}
        assert ((evaluated.log_probs - batch.log_probs).exp() - 1).abs().max() < 1e-4
    agents["cuda"].save(tmp_path / "run")
    again = RecurrentPPO.load(tmp_path / "run", device="cpu")
    for name, tensor in again.policy.state_dict().items():
        assert torch.equal(tensor, agents["cuda"].policy.state_dict()[name].cpu())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("core", core_names())
def test_graphs_on_a_gpu(core):
    """Acting by a graph is what is learned from, and a minibatch's update is, within rounding, that without a graph."""
    kwargs = {"cls": RecurrentPPO, "device": "cuda", "cuda_graphs": True, "ent_coef": 0.1}
    agent = make(core, gym.make_vec("memenvs/TMaze-v0", num_envs=8, length=3), **kwargs)
    window = window_of(agent)
    replayed = GraphedFunction(agent._update, agent.device)
    for numbers in ([0, 1, 2, 3], [7, 5, 6, 4], [2, 7]):
        batch = window.minibatch(torch.tensor(numbers, device="cuda"))
        clip, weight = (torch.rand((), dtype=torch.float64, device="cuda") for _ in range(2))
        expected = agent._update(batch, clip, None, {"value_loss": weight})
        found = replayed(batch, clip, None, {"value_loss": weight})
        torch.testing.assert_close(tuple(found), tuple(expected), rtol=1e-3, atol=1e-5)
        assert look(found.figures)["approx_kl"] < 1e-6  # nothing has been learned yet
    del agent.train
    before = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    agent.learn(3 * 13 * 8)
    assert all(tensor.isfinite().all() for tensor in agent.policy.state_dict().values())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in agent.policy.state_dict().items())
