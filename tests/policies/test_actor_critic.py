"""The policy: acting and learning are one computation, and the memory is the caller's to carry."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from memagents import MemoryCore, MemoryPolicy, RecurrentPPO, core_names
from memagents.cores.core import state_leaves
from memagents.policies import core_policy
from tests.cores.support import SMALL
from tests.support.toys import ACTIONS, OBSERVATIONS, dummy

BATCH = 4


def make(core="lstm", observations="box", actions="discrete", **kwargs):
    torch.manual_seed(0)
    policy = MemoryPolicy(
        OBSERVATIONS[observations],
        ACTIONS[actions] if isinstance(actions, str) else actions,
        lambda _: 1e-3,
        core=core,
        core_kwargs=SMALL.get(core),
        **kwargs,
    )
    # The actor begins close to indifferent: larger weights make differences visible.
    for parameter in policy.action_net.parameters():
        nn.init.normal_(parameter)
    return policy


def observe(policy, seed=0, rows=BATCH):
    space = policy.observation_space
    space.seed(seed)
    drawn = [space.sample() for _ in range(rows)]
    if isinstance(space, spaces.Dict):
        return {name: np.stack([one[name] for one in drawn]) for name in space.spaces}
    return np.stack(drawn)


def tensors(observations):
    if isinstance(observations, dict):
        return {name: torch.as_tensor(values) for name, values in observations.items()}
    return torch.as_tensor(observations)


def stacked(windows):
    if isinstance(windows[0], dict):
        return {name: torch.stack([w[name] for w in windows]) for name in windows[0]}
    return torch.stack(windows)


@pytest.mark.parametrize("core", core_names())
@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("observations", ["box", "dict"])
def test_learning_sees_what_acting_saw(core, actions, observations):
    """Step by step or as a window: the same log-probabilities, values and memory, with starts inside."""
    policy = make(core, observations, actions).double()
    starts = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)
    state = before = policy.initial_state(BATCH)
    acted, seen = [], []
    with torch.no_grad():
        for t in range(len(starts)):
            seen.append(tensors(observe(policy, seed=t)))
            acted.append(policy(seen[-1], state, starts[t]))
            state = acted[-1].state
        again = policy.evaluate_actions(stacked(seen), torch.stack([a.actions for a in acted]), before, starts)
        appraised = [policy.appraise(a.outputs[None], a.actions[None]) for a in acted]
        for name in ("values", "log_probs", "entropy"):
            alone = torch.cat([getattr(one, name) for one in appraised])
            torch.testing.assert_close(getattr(again, name), alone, rtol=0, atol=1e-12)
        for ours, theirs in zip(state_leaves(again.state), state_leaves(state), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        value = policy.predict_values(seen[0], before, starts[0])
        torch.testing.assert_close(value, appraised[0].values[0], rtol=0, atol=1e-12)
    assert again.entropy.shape == again.values.shape == starts.shape
    assert again.values.dtype == acted[0].outputs.dtype == torch.float64


@pytest.mark.parametrize("actions", ACTIONS)
def test_log_probabilities_and_entropy_are_those_of_the_distribution(actions):
    policy = make(actions=actions)
    seen = tensors(observe(policy))
    state, starts = policy.initial_state(BATCH), torch.ones(BATCH, dtype=torch.bool)
    with torch.no_grad():
        acted = policy(seen, state, starts)
        outputs, _, _ = policy.unroll(stacked([seen]), state, starts[None])
        latent = policy.action_net(outputs[0]).double()
        space, chosen = policy.action_space, acted.actions
        if isinstance(space, spaces.Box):
            normal = torch.distributions.Normal(latent, policy.log_std.double().exp())
            expected, entropy = normal.log_prob(chosen.double()).sum(1), normal.entropy().sum(1)
        elif isinstance(space, spaces.MultiBinary):
            flips = torch.distributions.Bernoulli(logits=latent)
            expected, entropy = flips.log_prob(chosen.double()).sum(1), flips.entropy().sum(1)
        else:
            sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.tolist()
            columns = chosen.reshape(BATCH, -1).unbind(1)
            dice = [torch.distributions.Categorical(logits=part) for part in latent.split(sizes, dim=1)]
            expected = sum(die.log_prob(column) for die, column in zip(dice, columns, strict=True))
            entropy = sum(die.entropy() for die in dice)
        evaluated = policy.evaluate_actions(stacked([seen]), chosen[None], state, starts[None])
    torch.testing.assert_close(evaluated.log_probs[0].double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(evaluated.entropy[0].double(), entropy, rtol=1e-5, atol=1e-5)


def test_one_number_as_an_action():
    """A Box without dimensions."""
    policy = make(actions=spaces.Box(-1, 1, (), np.float32))
    action, _ = policy.predict(observe(policy))
    assert action.shape == (BATCH,)
    starts = torch.ones(1, BATCH, dtype=torch.bool)
    seen = stacked([tensors(observe(policy))])
    evaluated = policy.evaluate_actions(seen, torch.zeros(1, BATCH), policy.initial_state(BATCH), starts)
    assert evaluated.log_probs.shape == (1, BATCH)


# --- predict --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observations", OBSERVATIONS)
@pytest.mark.parametrize("actions", ACTIONS)
def test_predict_gives_actions_of_the_space(observations, actions):
    policy = make(observations=observations, actions=actions)
    space = policy.action_space
    several, _ = policy.predict(observe(policy))
    assert len(several) == BATCH
    for action in several:
        assert space.contains(action if space.shape else np.asarray(action))
    one, state = policy.predict(policy.observation_space.sample())
    assert space.contains(one)
    assert len(state_leaves(state)[0]) == 1


def test_predict_carries_the_memory():
    policy = make("dnc")
    seen = [observe(policy, seed=t) for t in range(3)]
    state, values = None, []
    for observation in seen:
        _, state = policy.predict(observation, state, np.zeros(BATCH, bool), deterministic=True)
    window = stacked([tensors(o) for o in seen])
    with torch.no_grad():
        _, expected, _ = policy.unroll(window, policy.initial_state(BATCH), torch.zeros(3, BATCH, dtype=torch.bool))
    for ours, theirs in zip(state_leaves(state), state_leaves(expected), strict=True):
        torch.testing.assert_close(ours, theirs)
    _, fresh = policy.predict(seen[0])
    starts = np.array([True, False, True, False])
    _, mixed = policy.predict(seen[0], state, starts)
    _, going_on = policy.predict(seen[0], state)
    for values, begun, on in zip(*(state_leaves(s) for s in (mixed, fresh, going_on)), strict=True):
        torch.testing.assert_close(values[starts], begun[starts], rtol=0, atol=0)
        torch.testing.assert_close(values[~starts], on[~starts], rtol=0, atol=0)
    assert not torch.equal(state_leaves(mixed)[0], state_leaves(fresh)[0])


def test_predict_can_be_deterministic():
    policy = make()
    seen = observe(policy)
    certain = [policy.predict(seen, deterministic=True)[0].tolist() for _ in range(20)]
    assert all(actions == certain[0] for actions in certain)
    sampled = [policy.predict(seen)[0].tolist() for _ in range(20)]
    assert any(actions != sampled[0] for actions in sampled)
    window, starts = stacked([tensors(seen)]), torch.ones(1, BATCH, dtype=torch.bool)
    with torch.no_grad():
        outputs, _, _ = policy.unroll(window, policy.initial_state(BATCH), starts)
    assert policy.action_net(outputs[0]).argmax(1).tolist() == certain[0]


def test_predict_refuses_what_cannot_be_meant():
    policy = make()
    _, state = policy.predict(observe(policy))
    with pytest.raises(ValueError, match="state is of 4 environments, but observation of 2"):
        policy.predict(observe(policy, rows=2), state)
    with pytest.raises(ValueError, match="state is of 4 environments, but observation of 1"):
        policy.predict(observe(policy)[0], state)
    with pytest.raises(ValueError, match="tuple"):
        policy.predict((observe(policy), {}))
    memoryless = make("none")
    _, state = memoryless.predict(observe(memoryless))
    with pytest.raises(ValueError, match="state is of 4"):
        memoryless.predict(observe(memoryless, rows=3), state)


def test_actions_are_clipped_only_for_the_environment():
    policy = make(actions="box", log_std_init=3.0)
    space = policy.action_space
    with torch.no_grad():
        acted = policy(tensors(observe(policy)), policy.initial_state(BATCH), torch.ones(BATCH, dtype=torch.bool))
    assert not all(space.contains(action) for action in acted.actions.numpy())
    sent = policy.to_env_actions(acted.actions)
    assert all(space.contains(action) for action in sent)
    np.testing.assert_array_equal(sent, np.clip(acted.actions.numpy(), space.low, space.high))


def test_shifted_codes():
    policy = make(actions=spaces.MultiDiscrete([3, 2], start=[2, -1]))
    assert policy.to_env_actions(torch.tensor([[0, 0], [2, 1]])).tolist() == [[2, -1], [4, 0]]


# --- how it is made -------------------------------------------------------------------------------------------------


def test_parameters_of_the_heads():
    policy = make(net_arch={"pi": [5], "vf": [6, 7]}, activation_fn=nn.ReLU)
    assert [layer.out_features for layer in policy.actor if isinstance(layer, nn.Linear)] == [5]
    assert [layer.out_features for layer in policy.critic if isinstance(layer, nn.Linear)] == [6, 7]
    assert isinstance(policy.actor[1], nn.ReLU)
    both = make(net_arch=[9])
    assert both.action_net.in_features == both.value_net.in_features == 9
    bare = make()
    assert len(bare.actor) == len(bare.critic) == 0


def test_orthogonal_beginnings():
    torch.manual_seed(0)
    policy = MemoryPolicy(OBSERVATIONS["box"], ACTIONS["discrete"], lambda _: 1e-3, net_arch=[64])
    for layer, gain in ((policy.actor[0], 2**0.5), (policy.action_net, 0.01), (policy.value_net, 1.0)):
        weight = layer.weight.detach()
        torch.testing.assert_close(weight @ weight.t(), gain**2 * torch.eye(len(weight)), atol=1e-5, rtol=0)
        assert not layer.bias.any()


@pytest.mark.parametrize("core", core_names())
def test_every_parameter_is_in_one_group(core):
    policy = make(core)
    groups = {group["name"]: group["params"] for group in policy.optimizer.param_groups}
    assert {id(p) for p in groups["memory"]} == {id(p) for p in policy.core.parameters()}
    grouped = [id(p) for params in groups.values() for p in params]
    assert sorted(grouped) == sorted(id(p) for p in policy.parameters())
    assert all(group["eps"] == 1e-5 for group in policy.optimizer.param_groups)


def test_another_optimiser_and_extractor():
    from stable_baselines3.common.torch_layers import FlattenExtractor

    policy = make(
        optimizer_class=torch.optim.SGD,
        optimizer_kwargs={"momentum": 0.5},
        features_extractor_class=FlattenExtractor,
    )
    assert isinstance(policy.optimizer, torch.optim.SGD)
    assert policy.optimizer.param_groups[0]["momentum"] == 0.5
    assert isinstance(policy.features_extractor, FlattenExtractor)


@pytest.mark.parametrize(
    ("optimizer_class", "kwargs", "fused"),
    [
        (torch.optim.Adam, None, True),
        (torch.optim.AdamW, {"eps": 1e-4}, True),
        (torch.optim.Adam, {"foreach": True}, False),
        (torch.optim.Adam, {"fused": False}, False),
        (torch.optim.SGD, {}, False),
    ],
)
def test_adam_is_fused_unless_another_way_was_chosen(optimizer_class, kwargs, fused):
    policy = make(optimizer_class=optimizer_class, optimizer_kwargs=kwargs)
    assert {bool(group.get("fused")) for group in policy.optimizer.param_groups} == {fused}
    weights = [parameter.detach().clone() for parameter in policy.parameters()]
    told = {"eps": 1e-5} if kwargs is None else kwargs
    plain = optimizer_class([weight.requires_grad_() for weight in weights], lr=1e-3, **told)
    for _ in range(3):
        for weight, parameter in zip(weights, policy.parameters(), strict=True):
            weight.grad = parameter.grad = torch.randn_like(weight)
        policy.optimizer.step()
        plain.step()
    torch.testing.assert_close(weights, list(policy.parameters()))


def test_weights_that_adam_cannot_fuse_are_learned_all_the_same():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    policy = make()
    policy.actor.append(Complex())
    assert not policy._make_optimizer(1e-3).param_groups[0]["fused"]


def test_wrong_cores_are_named():
    with pytest.raises(ValueError, match=r"there is no core 'lstn'; there are: .*lstm"):
        make("lstn")
    with pytest.raises(ValueError, match="core 'lstm' has no parameter 'slots'; it has: hidden_size"):
        MemoryPolicy(OBSERVATIONS["box"], ACTIONS["discrete"], lambda _: 1e-3, core_kwargs={"slots": 3})


def test_recall_is_the_error_of_what_is_told_of_the_past():
    """Against a loop; nothing is asked of before the window or of another episode, nothing at all while acting."""
    policy = make(core="gru", recall_lag=2, recall_weight=3.0).double()
    observations = torch.randn(6, 4, 3, dtype=torch.float64)
    starts = torch.zeros(6, 4, dtype=torch.bool)
    starts[3, 1] = starts[0, 2] = starts[2, 3] = True
    outputs, _, losses = policy.unroll(observations, policy.initial_state(4), starts)
    told = policy.recall_net(outputs)
    flat = observations.flatten(0, 1)
    truth = (observations - flat.mean(0)) / flat.std(0, correction=0)
    for t in range(6):
        for b in range(4):
            known = t >= 2 and not starts[t - 1 : t + 1, b].any()
            expected = 3 * (told[t, b] - truth[t - 2, b]).square().mean() if known else torch.zeros(()).double()
            torch.testing.assert_close(losses["recall"][t, b], expected, rtol=1e-5, atol=1e-7)
    losses["recall"].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in [*policy.core.parameters(), *policy.recall_net.parameters()])
    for steps in (1, 2):
        short = policy.unroll(observations[:steps], policy.initial_state(4), starts[:steps])[2]["recall"]
        assert short.shape == (steps, 4) and not short.any()
    far = make(core="gru", recall_lag=8).double()  # more than a window holds, by more than one step
    assert not far.unroll(observations[:5], far.initial_state(4), starts[:5])[2]["recall"].any()
    with torch.no_grad():
        assert policy.unroll(observations, policy.initial_state(4), starts)[2] == {}
    for wrong, message in (
        ({"recall_lag": 0}, "recall_lag"),
        ({"recall_lag": 1, "recall_weight": -1.0}, "recall_weight"),
    ):
        with pytest.raises(ValueError, match=message):
            make(core="gru", **wrong)


@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_mixed_precision_rounds_the_products_alone(actions):
    exact, mixed = make(actions=actions), make(actions=actions, mixed_precision=True)
    observations = tensors(observe(exact, rows=BATCH))
    starts = torch.zeros(BATCH, dtype=torch.bool)
    results = []
    for policy in (exact, mixed):
        window = (observations[None], torch.zeros(1, BATCH, *(policy.action_space.shape or ())))
        results.append(policy.evaluate_actions(*window, policy.initial_state(BATCH), starts[None]))
        leaves = [results[-1].values, results[-1].log_probs, *state_leaves(results[-1].state)]
        assert {leaf.dtype for leaf in leaves} == {torch.float32}
    assert not torch.equal(results[0].values, results[1].values)
    torch.testing.assert_close(results[0][:3], results[1][:3], rtol=0.05, atol=0.05)
    acted = mixed(observations, mixed.initial_state(BATCH), starts, deterministic=True)
    appraised = mixed.appraise(acted.outputs[None], acted.actions[None])
    torch.testing.assert_close(appraised.values, results[1].values, rtol=0, atol=0)


def test_a_window_in_chunks_trains_alike():
    results = []
    for steps in (None, 2):
        policy, lengths = make(recompute_steps=steps, recall_lag=1), []
        unroll = policy.core.unroll
        policy.core.unroll = lambda x, *rest, _=(lengths, unroll): _[0].append(len(x)) or _[1](x, *rest)
        observations = torch.stack([tensors(observe(policy, seed)) for seed in range(5)])
        starts = torch.zeros(5, BATCH, dtype=torch.bool)
        evaluated = policy.evaluate_actions(observations, starts.long(), policy.initial_state(BATCH), starts)
        sum(leaf.sum() for leaf in [evaluated.values, evaluated.log_probs, *evaluated.losses.values()]).backward()
        results.append([parameter.grad for parameter in policy.parameters()])
        assert lengths == ([5] if steps is None else [2, 2, 1, 1, 2, 2])  # the last three in backward
    torch.testing.assert_close(*results)


def test_a_parameter_that_no_policy_has_is_named():
    with pytest.raises(ValueError, match=r"policy_kwargs: .* no parameter 'recall'; it has: core, .*recall_lag"):
        RecurrentPPO("MlpPolicy", dummy(2), policy_kwargs={"recall": 2}, device="cpu")


def test_a_key_value_memory_sees_what_was_done_and_gained():
    agent = RecurrentPPO(
        "MlpPolicy",
        dummy(4),
        n_steps=12,
        n_epochs=1,
        seed=0,
        device="cpu",
        condition_on=["action", "reward"],
        policy_kwargs={"core": "kv", "core_kwargs": {"length": 4}, "critic_core": None},
    )
    assert (agent.policy.core.input_size, agent.policy.core.observation_size) == (7, 3)
    seen = []
    project = agent.policy.core.project
    agent.policy.core.project = lambda inputs: seen.append(inputs.detach()) or project(inputs)
    agent.learn(48)
    window = agent._window
    acted, conditions = torch.stack(seen[:12]), torch.stack(seen[:12])[..., 3:]
    assert acted.shape == (12, 4, 7)
    for t in range(12):
        for b in range(4):
            expected = torch.zeros(4)
            if not window.starts[t, b]:
                expected[window.actions[t - 1, b]], expected[3] = 1, window.rewards[t - 1, b]
            assert torch.equal(conditions[t, b], expected)
    assert window.starts[1:].any() and not window.starts[1:].all()


def test_a_core_that_wants_to_is_told_what_is_condition(monkeypatch):
    """The previous action and reward come last among the inputs, whatever their names are sorted to."""

    class Asks(MemoryCore):
        def __init__(self, input_size, condition_size=0):
            super().__init__(input_size, 1)
            self.condition_size = condition_size

    monkeypatch.setattr(core_policy, "make_core", lambda name, size, **kwargs: Asks(size, **kwargs))
    monkeypatch.setattr(core_policy, "core_class", lambda name: Asks)
    space = spaces.Dict(
        {
            "observation": spaces.Box(-1, 1, (2,)),
            "previous_action": spaces.Box(0, 1, (4,)),
            "previous_reward": spaces.Box(-1, 1, (1,)),
            "sight": spaces.Discrete(3),
        }
    )
    policy = MemoryPolicy(space, spaces.Discrete(2), lambda _: 1e-3)
    assert policy.core.condition_size == 5
    assert policy.core.input_size == 10
    seen = {
        "observation": torch.zeros(1, 1, 2),
        "previous_action": torch.full((1, 1, 4), 7.0),
        "previous_reward": torch.full((1, 1, 1), 9.0),
        "sight": torch.zeros(1, 1, dtype=torch.int64),
    }
    assert policy.encode(seen)[0, 0, 5:].tolist() == [7, 7, 7, 7, 9]
    assert MemoryPolicy(spaces.Discrete(3), spaces.Discrete(2), lambda _: 1e-3).core.condition_size == 0
    assert (
        MemoryPolicy(space, spaces.Discrete(2), lambda _: 1e-3, core_kwargs={"condition_size": 1}).core.condition_size
        == 1
    )


def test_the_critics_gradient_can_be_kept_out_of_the_memory():
    for gradient in (True, False):
        shared = {"critic_core": None, "critic_gradient": gradient}
        policy = RecurrentPPO("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs=shared).policy
        outputs, _, _ = policy.unroll(torch.ones(3, 2, 4), policy.initial_state(2), torch.zeros(3, 2, dtype=torch.bool))
        policy.values(outputs).sum().backward()
        reached = [p.grad is not None and bool(p.grad.any()) for p in policy.core.parameters()]
        assert any(reached) == gradient
        assert all(p.grad.any() for p in policy.value_net.parameters())


def test_a_lag_beyond_the_window_is_told():
    agent = RecurrentPPO("MlpPolicy", dummy(2), n_steps=4, policy_kwargs={"recall_lag": [2, 4]}, device="cpu")
    with pytest.warns(UserWarning, match="recall_lag 4 reaches beyond windows of n_steps 4, and so asks for nothing"):
        agent.learn(8)


def test_the_past_is_recalled_at_several_lags():
    """The error is the mean of those of each lag alone; what never varies is no error."""
    policy = make(core="gru", recall_lag=[1, 3]).double()
    observations = torch.randn(6, 4, 3, dtype=torch.float64)
    observations[..., 2] = 7
    starts = torch.zeros(6, 4, dtype=torch.bool)
    starts[3, 1] = True
    encoded = policy.encode(observations)
    outputs = policy.unroll(observations, policy.initial_state(4), starts)[0]
    found = policy.recall_net.error(encoded, outputs, starts)
    both = policy.recall_net
    alone = []
    for number, lag in enumerate([1, 3]):
        single = make(core="gru", recall_lag=lag).double()
        rows = slice(3 * number, 3 * number + 3)
        single.recall_net.load_state_dict({"weight": both.weight[rows], "bias": both.bias[rows]})
        alone.append(single.recall_net.error(encoded, outputs, starts))
    torch.testing.assert_close(found, (alone[0] + alone[1]) / 2)
    larger = policy.recall_net.error(1e3 * encoded, outputs, starts)
    torch.testing.assert_close(larger, found, rtol=1e-5, atol=1e-7)  # whatever the scale of what is encoded
    assert found.isfinite().all()
    for wrong in (0, [2, 2], [], [1.5]):
        with pytest.raises(ValueError, match="recall_lag must be"):
            make(core="gru", recall_lag=wrong)
