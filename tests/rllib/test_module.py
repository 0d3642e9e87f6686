"""A policy as a module of RLlib is the policy."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

pytest.importorskip("ray.rllib", reason="Ray is not installed: make rllib")

from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS

from memagents import core_names
from memagents.cores.core import map_state, state_leaves
from memagents.policies.actor_critic import MemoryPolicy
from memagents.rllib import MemoryModule
from memagents.rllib.module import CORE_LOSSES
from memagents.rllib.states import from_nested, nested

SMALL = {
    "dnc": {"slots": 6, "width": 4},
    "sdnc": {"slots": 8, "width": 4, "controller_size": 8},
    "gtrxl": {"layers": 1, "length": 3},
}
NUMBERS, CHOICES = spaces.Box(-1, 1, (3,)), spaces.Discrete(4)


def module_of(core="lstm", observations=NUMBERS, actions=CHOICES, **policy):
    torch.manual_seed(0)
    kwargs = {"core": core, "core_kwargs": SMALL.get(core, {})} | policy
    return MemoryModule(
        observation_space=observations,
        action_space=actions,
        model_config={"policy_kwargs": kwargs, "max_seq_len": 8},
    )


def batched(values, rows):
    if isinstance(values, dict):
        return {name: batched(child, rows) for name, child in values.items()}
    return torch.as_tensor(np.stack([values] * rows))


def windows(module, rows=3, steps=5):
    """What RLlib passes: windows (B, T, ...), and the states before them."""
    space = module.observation_space
    space.seed(0)
    drawn = [[space.sample() for _ in range(steps)] for _ in range(rows)]
    observations: Any
    if isinstance(space, spaces.Dict):
        observations = {
            name: torch.as_tensor(np.array([[one[name] for one in row] for row in drawn])) for name in space
        }
    else:
        observations = torch.as_tensor(np.array(drawn))
    state = module.get_initial_state()
    if not state:
        return {Columns.OBS: observations.flatten(0, 1)}
    return {Columns.OBS: observations, Columns.STATE_IN: batched(state, rows)}


@pytest.mark.parametrize("core", core_names())
def test_a_module_computes_what_its_policy_does(core):
    module = module_of(core).eval()
    batch = windows(module)
    found = module.forward_train(batch)
    policy, observations = module.policy, batch[Columns.OBS]
    stateful = bool(module.get_initial_state())
    assert module.is_stateful() == stateful == (core != "none")
    window = observations.transpose(0, 1) if stateful else observations[None]
    rows = window.shape[1]
    starts = torch.zeros(window.shape[:2], dtype=torch.bool)
    outputs, after, _ = policy.unroll(window, policy.initial_state(rows), starts)
    logits, values = policy.action_numbers(outputs), policy.values(outputs)
    logits, values = (logits.transpose(0, 1), values.transpose(0, 1)) if stateful else (logits[0], values[0])
    torch.testing.assert_close(found[Columns.ACTION_DIST_INPUTS], logits)
    torch.testing.assert_close(module.compute_values(batch, found[Columns.EMBEDDINGS]), values)
    torch.testing.assert_close(module.compute_values(batch), values)
    if stateful:
        carried = from_nested(policy.initial_state(1), found[Columns.STATE_OUT])
        for own, theirs in zip(state_leaves(after), state_leaves(carried), strict=True):
            torch.testing.assert_close(theirs, own)


@pytest.mark.parametrize("core", [name for name in core_names() if name != "none"])
def test_step_by_step_it_is_the_window(core):
    """As RLlib samples: one step at a time, the state through arrays and nested dicts."""
    module = module_of(core).eval()
    batch = windows(module)
    whole = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    state = batch[Columns.STATE_IN]
    for t in range(whole.shape[1]):
        found = module.forward_exploration({Columns.OBS: batch[Columns.OBS][:, t : t + 1], Columns.STATE_IN: state})
        torch.testing.assert_close(found[Columns.ACTION_DIST_INPUTS][:, 0], whole[:, t], rtol=1e-4, atol=1e-5)
        assert same_structure(found[Columns.STATE_OUT], state)
        state = found[Columns.STATE_OUT]


def same_structure(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_structure(first[name], second[name]) for name in first)
    return first.shape == second.shape and first.dtype == second.dtype


@pytest.mark.parametrize("core", ["lru", "dnc", "sdnc", "gtrxl"])  # complex numbers, nested states, integers
def test_a_state_goes_there_and_back(core):
    policy = module_of(core).policy
    state = map_state(lambda leaf: torch.ones_like(leaf) * 2, policy.initial_state(3))
    again = from_nested(policy.initial_state(1), nested(state))
    for own, other in zip(state_leaves(state), state_leaves(again), strict=True):
        assert torch.equal(own, other)
        assert own.dtype == other.dtype


@pytest.mark.parametrize(
    ("actions", "wide"), [(spaces.Box(-2, 2, (2,)), 4), (spaces.MultiDiscrete([3, 2]), 5), (spaces.Discrete(4), 4)]
)
def test_actions_are_drawn_from_the_policys_distribution(actions, wide):
    module = module_of(actions=actions, log_std_init=-0.7).eval()
    batch = windows(module)
    numbers = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    assert numbers.shape == (3, 5, wide)
    theirs = module.get_train_action_dist_cls().from_logits(numbers.flatten(0, 1))
    ours = module.policy.distribution(module.forward_train(batch)[Columns.EMBEDDINGS].flatten(0, 1))
    drawn = theirs.sample()
    torch.testing.assert_close(theirs.logp(drawn), ours.log_prob(drawn))
    entropy = theirs.entropy()
    torch.testing.assert_close(entropy, ours.entropy())


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=3),
        spaces.MultiDiscrete([3, 4], start=[1, 2]),
        spaces.Dict({"code": spaces.Discrete(5, start=1), "numbers": NUMBERS}),
        spaces.MultiBinary(4),
        spaces.Box(0, 255, (7, 7, 3), np.uint8),
    ],
    ids=lambda space: type(space).__name__,
)
def test_windows_that_rllib_fills_up_with_zeros(space):
    """Also where no observation is zero; what comes before is not changed by them."""
    module = module_of(observations=space).eval()
    batch = windows(module)
    before = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    entries = batch[Columns.OBS] if isinstance(space, spaces.Dict) else {"": batch[Columns.OBS]}
    for values in entries.values():
        values[:, 3:] = 0
    after = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    torch.testing.assert_close(after[:, :3], before[:, :3])


def test_a_memory_of_the_critics_own():
    module = module_of("dnc", critic_core="lstm").eval()
    batch = windows(module)
    found = module.forward_train(batch)
    values = module.compute_values(batch, found[Columns.EMBEDDINGS])
    assert values.shape == (3, 5)
    values.sum().backward()
    gradients = {
        name: weight.grad is not None and weight.grad.abs().sum() > 0 for name, weight in module.named_parameters()
    }
    assert any(there for name, there in gradients.items() if name.startswith("policy.core.critic"))
    assert not any(there for name, there in gradients.items() if name.startswith("policy.core.actor"))


def test_the_target_network_is_a_copy_that_stays():
    module = module_of("dnc").eval()
    module.make_target_networks()
    batch = windows(module)
    before = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    with torch.no_grad():
        module.policy.action_net.bias += 1
    assert torch.equal(module.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS], before)
    ((own, copied),) = module.get_target_network_pairs()
    assert own is module.policy
    assert not any(weight.requires_grad for weight in copied.parameters())
    assert not any(name.startswith("target_policy") for name in module.get_state(inference_only=True))


def test_what_a_memory_asks_for_is_there_to_be_learned():
    module = module_of("ntm", core_kwargs={"write_penalty": 0.5}, recall_lag=1)
    losses = module.forward_train(windows(module))[CORE_LOSSES]
    assert losses.shape == (3, 5)
    assert (losses > 0).all()
    plain = module_of("lstm")
    assert CORE_LOSSES not in plain.forward_train(windows(plain))


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiBinary(3),
        spaces.Discrete(3, start=1),
        spaces.MultiDiscrete([[2, 2], [2, 2]]),
        spaces.Box(0, 1, (2, 2)),
    ],
    ids=str,
)
def test_actions_that_cannot_be(space):
    with pytest.raises(ValueError, match="action_space must"):
        module_of(actions=space)


def test_a_saved_policy_goes_into_a_module_and_comes_out(tmp_path):
    env = gym.make("memenvs/TMaze-v0", length=4)
    module = module_of("dnc", env.observation_space, env.action_space)
    module.policy.save(tmp_path / "policy")
    again = MemoryPolicy.load(tmp_path / "policy")
    observation, _ = env.reset(seed=0)
    first, _ = module.policy.predict(observation, deterministic=True)
    second, _ = again.predict(observation, deterministic=True)
    assert first == second
    for name, weight in module.policy.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
