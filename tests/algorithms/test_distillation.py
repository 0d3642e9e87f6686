"""Learning from another agent."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from memagents import MFEC, Distillation, Imitation, RecurrentPPO, as_vec_env, evaluate
from memagents.cores.core import state_leaves
from memagents.runs.files import CheckpointError
from tests.cores.support import SMALL
from tests.support.callbacks import StopAfter
from tests.support.toys import Recorder, dummy

T, B = 13, 4


class Watched(Distillation):
    """Keeps the losses."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.losses = []

    def step_optimizer(self, losses):
        self.losses.append({name: loss.item() for name, loss in losses.items()})
        return super().step_optimizer(losses)


def make_teacher(core="gru", env=None, **kwargs):
    kwargs = {"policy_kwargs": {"core": core, "core_kwargs": SMALL[core]}, "n_steps": T, **kwargs}
    teacher = RecurrentPPO("MlpPolicy", dummy(B) if env is None else env, seed=5, device="cpu", **kwargs)
    with torch.no_grad():  # far from the uniform policy that agents begin with
        teacher.policy.action_net.weight.mul_(100)
    return teacher


def make(teacher, cls=Watched, env=None, core="lstm", **kwargs):
    kwargs = {"n_steps": T, "seed": 0, "device": "cpu", "n_minibatches": 1, **kwargs}
    policy_kwargs = {"core": core, "core_kwargs": SMALL[core]}
    env = Recorder(dummy(B, tells=True)) if env is None else env
    return cls("MlpPolicy", env, teacher=teacher, policy_kwargs=policy_kwargs, **kwargs)


class Probabilities:
    """The probabilities of a policy, step by step along one row."""

    def __init__(self, policy):
        self.policy, self.state = policy, policy.initial_state(1)

    @torch.no_grad()
    def of(self, seen, start):
        outputs, self.state, _ = self.policy.unroll(seen[None, None], self.state, start[None, None])
        return self.policy.distribution(outputs[0]).probabilities()[0]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_loss_is_the_divergence_from_the_teacher(share):
    """Against a loop over rows and steps; steps without a decision do not count."""
    teacher = make_teacher()
    agent = make(teacher, teacher_share=share)
    for policy in (teacher.policy, agent.policy):
        policy.double()
    weights = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    agent.learn(T * B)
    agent.policy.load_state_dict(weights)
    window, divergences = agent.window, []
    for row in range(B):
        theirs, own = Probabilities(teacher.policy), Probabilities(agent.policy)
        for t in range(T):
            p, q = (of.of(window.observations[t, row], window.starts[t, row]) for of in (theirs, own))
            if window.decisions[t, row]:
                divergences.append((p * (p / q).log()).sum().item())
    assert 0 < len(divergences) < T * B
    assert agent.losses[0]["distillation_loss"] == pytest.approx(np.mean(divergences), abs=1e-12)


def test_it_goes_on_from_window_to_window():
    """The teacher remembers what was before the window."""
    teacher = make_teacher()
    agent = make(teacher)
    agent.learn(3 * T * B)
    found = agent.own_state()["teacher"]
    env, state = agent.get_env(), teacher.policy.initial_state(B)
    observations, starts = env.first, torch.ones(B, dtype=torch.bool)
    for _, after, _, dones, _, _ in env.history:
        with torch.no_grad():
            _, state, _ = teacher.policy.unroll(torch.as_tensor(observations)[None], state, starts[None])
        observations, starts = after, torch.as_tensor(dones)
    for own, expected in zip(found, state_leaves(state), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


class Stop(BaseCallback):
    """Ends a training within its second window."""

    def _on_step(self):
        return self.n_calls < T + 5


def test_stopped_within_a_window_the_teacher_goes_on_from_there():
    teacher = make_teacher()
    agent = make(teacher)
    agent.learn(3 * T * B, callback=Stop())
    agent.learn(T * B, reset_num_timesteps=False)
    env, state = agent.get_env(), teacher.policy.initial_state(B)
    assert len(env.history) == 2 * T + 5
    observations, starts = env.first, torch.ones(B, dtype=torch.bool)
    for _, after, _, dones, _, _ in env.history:
        with torch.no_grad():
            _, state, _ = teacher.policy.unroll(torch.as_tensor(observations)[None], state, starts[None])
        observations, starts = after, torch.as_tensor(dones)
    for own, expected in zip(agent.own_state()["teacher"], state_leaves(state), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


def test_with_the_whole_share_the_teacher_acts():
    teacher = make_teacher()
    with torch.no_grad():
        teacher.policy.action_net.weight.zero_()
        teacher.policy.action_net.bias.copy_(torch.tensor([0.0, 100.0, 0.0])[: len(teacher.policy.action_net.bias)])
    agent = make(teacher, teacher_share=1.0)
    agent.learn(T * B)
    assert (agent.window.actions == 1).all()
    agent = make(teacher, teacher_share=0.0)
    agent.learn(T * B)
    assert (agent.window.actions != 1).any()


@pytest.mark.parametrize("actions", ["discrete", "multi_discrete", "multi_binary", "box"])
def test_any_actions(actions):
    teacher = make_teacher(env=dummy(B, actions=actions))
    agent = make(teacher, env=Recorder(dummy(B, actions=actions)), teacher_share=0.5)
    agent.learn(2 * T * B)
    assert all(np.isfinite(losses["distillation_loss"]) and losses["distillation_loss"] > 0 for losses in agent.losses)


def test_only_the_student_learns():
    teacher = make_teacher()
    before = {name: tensor.clone() for name, tensor in teacher.policy.state_dict().items()}
    agent = make(teacher)
    weights = agent.policy.action_net.weight.clone()
    agent.learn(T * B)
    for name, tensor in teacher.policy.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in teacher.policy.parameters())
    assert not torch.equal(agent.policy.action_net.weight, weights)


def corridors(n_envs=16):
    return as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=n_envs, length=4))


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run folder of an agent that knows the way through short T-mazes."""
    agent = Imitation(
        "MlpPolicy",
        corridors(64),
        3e-3,
        n_steps=16,
        seed=0,
        device="cpu",
        policy_kwargs={"core": "lstm", "core_kwargs": {"hidden_size": 32}},
    )
    agent.learn(60_000)
    folder = tmp_path_factory.mktemp("taught") / "teacher"
    agent.save(folder)
    return folder


def student(teacher, cls=Distillation, **kwargs):
    kwargs = {"n_steps": 16, "seed": 1, "device": "cpu", **kwargs}
    policy_kwargs = {"core": "gru", "core_kwargs": {"hidden_size": 16}}
    return cls("MlpPolicy", corridors(), 3e-3, teacher=teacher, policy_kwargs=policy_kwargs, **kwargs)


def test_a_smaller_memory_learns_what_the_teacher_knows(taught):
    agent = student(taught)
    agent.learn(60_000)
    assert np.mean(evaluate(agent, corridors(), 96).returns) > 0.95
    assert np.mean(agent.recent_accuracies) > 0.95


def test_students_do_not_draw_by_their_teachers_seed(tmp_path):
    """Each goes its own way, which is the same whether the teacher is given or its folder."""
    teacher, actions = make_teacher(), []
    teacher.save(tmp_path / "teacher")
    for seed, source in ((0, teacher), (0, tmp_path / "teacher"), (1, tmp_path / "teacher")):
        agent = make(source, seed=seed)
        agent.learn(T * B)
        actions.append(agent.window.actions.clone())
    assert torch.equal(actions[0], actions[1])
    assert not torch.equal(actions[1], actions[2])


def test_an_interrupted_run_goes_on_exactly(taught, tmp_path):
    whole = student(taught)
    whole.learn(4 * 16 * 16)
    half = student(taught, run_dir=tmp_path / "half")  # which seeds all that is drawn
    half.learn(4 * 16 * 16, callback=StopAfter(2))
    resumed = Distillation.resume(tmp_path / "half", corridors())
    resumed.learn(resumed.remaining_timesteps, reset_num_timesteps=False)
    for own, expected in zip(resumed.policy.state_dict().values(), whole.policy.state_dict().values(), strict=True):
        assert torch.equal(own, expected)
    acting = Distillation.load(tmp_path / "half", teacher=None)
    assert acting.teacher is None


def test_what_is_refused(taught, tmp_path):
    for teacher, message in [
        (3, "teacher must be an agent of memagents or a run folder, not 3"),
        (None, "teacher: there is none to learn from"),
        (MFEC("MlpPolicy", "memenvs/TMaze-v0", device="cpu"), "teacher must act by a MemoryPolicy, not a"),
        (make_teacher(), "teacher: its observation_space is .*, this agent's is"),
    ]:
        with pytest.raises(ValueError, match=message):
            student(teacher).learn(16)
    with pytest.raises(CheckpointError, match="nowhere"):
        student(tmp_path / "nowhere").learn(16)
    with pytest.raises(ValueError, match=r"teacher_share must be a number in \[0, 1\], not 2"):
        student(taught, teacher_share=2)
    normalised = VecNormalize(dummy(B), norm_reward=False)
    for teacher, env in [(make_teacher(env=normalised), dummy(B)), (make_teacher(), VecNormalize(dummy(B)))]:
        with pytest.raises(ValueError, match="must see the same observations, and none that are normalised"):
            make(teacher, Distillation, env=env).learn(T * B)
