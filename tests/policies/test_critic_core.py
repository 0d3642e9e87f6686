"""A memory of the critic's own: what it trains, what it carries, and how it is saved."""

import pytest
import torch

from memagents import Imitation, MemoryPolicy, RecurrentPPO
from memagents.algorithms.cuda_graphs import look
from memagents.cores.pair import Pair
from memagents.experiments.configuration import of_recipe
from memagents.experiments.settings import ImitationSettings, PPOSettings
from memagents.runs.files import CheckpointError, read_json, write_json
from memagents.testing import check_recurrent_policy
from tests.cores.support import SMALL
from tests.support.agents import Interrupted, assert_same_weights, interrupt_at, make, weights_of
from tests.support.toys import OBSERVATIONS, tmaze

OWN = {"critic_core": "same"}
SHARED = {"critic_core": None}


def moved(agent, loss):
    """Parameters of an agent's policy that a loss has a gradient for."""
    outputs, _, _ = agent.policy.unroll(
        torch.ones(3, 2, *agent.observation_space.shape), agent.policy.initial_state(2), torch.zeros(3, 2).bool()
    )
    loss(agent.policy, outputs).sum().backward()
    return {name for name, p in agent.policy.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("critic_gradient", [True, False])
def test_each_loss_trains_its_own_memory(critic_gradient):
    encoder = {"features_extractor_class": SomeExtractor, "critic_gradient": critic_gradient}
    names = [
        moved(RecurrentPPO("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs=OWN | encoder), loss)
        for loss in (lambda policy, o: policy.values(o), lambda policy, o: policy.distribution(o[-1]).log_prob(ONES))
    ]
    of_critic, of_actor = names
    assert {name.split(".")[0] for name in of_critic} - {"features_extractor"} == {"core", "value_net"}
    assert not any(name.startswith("core.actor") for name in of_critic)
    assert not any(name.startswith(("core.critic", "value_net")) for name in of_actor)
    assert any(name.startswith("features_extractor") for name in of_critic) is critic_gradient
    assert any(name.startswith("features_extractor") for name in of_actor)


def test_by_default_there_is_one_like_the_actors():
    agent = make()
    assert agent.policy_kwargs["critic_core"] == "same"
    assert agent.policy.core.critic.hidden_size == agent.policy.core.actor.hidden_size == SMALL["lstm"]["hidden_size"]
    assert not isinstance(make(policy_kwargs=SHARED).policy.core, Pair)
    assert not isinstance(make(cls=Imitation).policy.core, Pair)  # whose critic is only read by others


class Shares(MemoryPolicy):
    """A policy that knows of no other memory."""

    def __init__(self, observation_space, action_space, lr_schedule, core="gru", core_kwargs=None):
        super().__init__(observation_space, action_space, lr_schedule, core, core_kwargs)


def test_a_policy_of_ones_own_that_has_none(tmp_path):
    agent = RecurrentPPO(Shares, tmaze(), device="cpu")
    agent.save(tmp_path / "shares")
    for loaded in (agent, RecurrentPPO.load(tmp_path / "shares", device="cpu")):
        assert type(loaded.policy.core).__name__ == "GRU"
        assert "critic_core" not in loaded.policy_kwargs


class Chosen(MemoryPolicy):
    """A policy whose critic has another memory than the actor, unless told otherwise."""

    def __init__(self, *spaces, critic_core="gru", **kwargs):
        super().__init__(*spaces, critic_core=critic_core, **kwargs)


class Fixed(MemoryPolicy):
    """A policy whose critic always has this memory."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, critic_core="gru", **kwargs)


class Passing(MemoryPolicy):
    """A policy that passes everything on."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Swallowing(MemoryPolicy):
    """A policy whose further parameters are its memory's."""

    def __init__(self, observation_space, action_space, lr_schedule, **kwargs):
        super().__init__(observation_space, action_space, lr_schedule, "gru", kwargs)


@pytest.mark.parametrize(
    ("policy", "memories", "said"),
    [
        (Passing, ("LSTM", "LSTM"), {"critic_core": "same"}),
        (Chosen, ("LSTM", "GRU"), {}),
        (Fixed, ("LSTM", "GRU"), {}),
        (Swallowing, ("GRU",), {}),
    ],
)
def test_a_policy_of_ones_own_with_a_memory_that_it_chooses(policy, memories, said, tmp_path):
    """What it says of the critic's memory holds, in a file as well; and so in one from before there was a default."""
    agent = RecurrentPPO(policy, tmaze(), seed=0, device="cpu")
    agent.save(tmp_path / "own")
    for loaded in (agent, RecurrentPPO.load(tmp_path / "own", device="cpu")):
        core = loaded.policy.core
        halves = (core.actor, core.critic) if isinstance(core, Pair) else (core,)
        assert tuple(type(half).__name__ for half in halves) == memories
        assert loaded.policy_kwargs == said
    assert_same_weights(weights_of(agent), weights_of(RecurrentPPO(policy, tmaze(), seed=0, device="cpu")))


def test_a_parameter_that_was_asked_for_is_not_left_out():
    for policy in (Fixed, Swallowing):
        with pytest.raises((TypeError, ValueError), match=r"critic_core"):
            RecurrentPPO(policy, tmaze(), device="cpu", policy_kwargs={"critic_core": "same"})


@pytest.mark.parametrize("policy", [None, 3])
def test_what_is_no_policy_is_refused(policy):
    with pytest.raises(ValueError, match=rf"policy must be one of MlpPolicy, .* or a class, not {policy}"):
        RecurrentPPO(policy, tmaze(), device="cpu")


@pytest.mark.parametrize(("critic_core", "other"), [(None, Imitation), ("same", RecurrentPPO)])
def test_other_parameters_of_a_policy_leave_its_memories_as_they_are(critic_core, other, tmp_path):
    kwargs = {"core": "ntm", "core_kwargs": SMALL["ntm"]}
    agent = make(cls=other, policy_kwargs=kwargs | ({} if other is Imitation else {"critic_core": critic_core}))
    agent.save(tmp_path / "agent")
    for changed in (kwargs, kwargs | {"log_std_init": 1.0}):
        loaded = RecurrentPPO.load(tmp_path / "agent", device="cpu", policy_kwargs=changed)
        assert_same_weights(weights_of(loaded), weights_of(agent))
    more = RecurrentPPO.load(tmp_path / "agent", device="cpu", slots=SMALL["ntm"]["slots"] + 3, policy_kwargs=kwargs)
    core = more.policy.core
    for half in (core.actor, core.critic) if isinstance(core, Pair) else (core,):
        assert half.slots == SMALL["ntm"]["slots"] + 3


@pytest.mark.parametrize("algorithm", [RecurrentPPO, Imitation])
def test_a_file_that_says_nothing_of_a_second_memory_has_one(algorithm, tmp_path):
    agent = make(cls=algorithm, policy_kwargs=SHARED, run_dir=tmp_path / "run")
    agent.learn(64)
    file = tmp_path / "run" / "policy.json"
    description = read_json(file)
    del description["policy_kwargs"]["critic_core"]  # as in files of before
    write_json(file, description)
    (file.parent / "manifest.json").unlink()
    for cls in (RecurrentPPO, Imitation):
        assert_same_weights(weights_of(cls.load(file.parent, device="cpu")), weights_of(agent))
    again = algorithm.resume(file.parent, tmaze(), device="cpu")
    again.learn(64, reset_num_timesteps=False)


def test_a_memory_that_served_both_begins_either(tmp_path):
    """Both halves are then what the one was, and the policy acts and values as it did."""
    one = make(cls=Imitation)
    one.learn(64)
    one.save(tmp_path / "one")
    two = make()
    with pytest.raises(CheckpointError, match="one memory serves actor and critic; exact_match=False begins both"):
        two.set_parameters(tmp_path / "one")
    two.set_parameters(tmp_path / "one", exact_match=False)
    seen, starts = torch.as_tensor(one.env.reset())[None].expand(5, -1, -1), torch.zeros(5, one.n_envs).bool()
    outputs = [agent.policy.unroll(seen, agent.policy.initial_state(one.n_envs), starts)[0] for agent in (one, two)]
    torch.testing.assert_close(outputs[1], torch.cat([outputs[0]] * 2, dim=-1))
    values = [agent.policy.values(o) for agent, o in zip((one, two), outputs, strict=True)]
    torch.testing.assert_close(values[1], values[0])
    again = make()
    again.set_parameters(one.get_parameters(), exact_match=False)
    assert_same_weights(weights_of(again), weights_of(two))
    for own in ({"critic_core": "gru"}, {"critic_core_kwargs": {"hidden_size": 3}}):
        other = make(policy_kwargs=own)
        with pytest.raises(CheckpointError, match=r"weight core\.critic\.\S+ is \(20,\), in the policy it is"):
            other.set_parameters(tmp_path / "one", exact_match=False)


def test_which_memory_the_critic_gets():
    own = {"critic_core": "same", "critic_core_kwargs": {"hidden_size": 7}}
    policy = make(policy_kwargs=own | {"net_arch": {"pi": [3], "vf": []}}).policy
    assert (policy.core.actor.hidden_size, policy.core.critic.hidden_size) == (5, 7)
    assert (policy.action_net.in_features, policy.value_net.in_features) == (3, 7)
    policy = make(policy_kwargs={"critic_core": "dnc", "critic_core_kwargs": SMALL["dnc"]}).policy
    assert type(policy.core.critic).__name__ == "DNC"
    assert make(policy_kwargs={"critic_core": "lstm"}).policy.core.critic.hidden_size == 64  # its own default


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            SHARED | {"critic_core_kwargs": {"hidden_size": 3}},
            "critic_core_kwargs: .* is for critic_core, which is None",
        ),
        ({"critic_core": "lsmt"}, "there is no core 'lsmt'; there are: "),
        ({"critic_core": "same", "critic_core_kwargs": {"slots": 3}}, "core 'lstm' has no parameter 'slots'"),
    ],
)
def test_what_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        make(policy_kwargs=wrong)


@pytest.mark.parametrize("critic", SMALL)
def test_the_policy_keeps_its_contract(critic):
    torch.manual_seed(0)
    kwargs = {"core": "gru", "core_kwargs": SMALL["gru"], "critic_core": critic, "critic_core_kwargs": SMALL[critic]}
    policy = MemoryPolicy(OBSERVATIONS["box"], tmaze().action_space, lambda _: 1e-3, **kwargs)
    for parameter in policy.action_net.parameters():
        torch.nn.init.normal_(parameter)
    check_recurrent_policy(policy.double())


@pytest.mark.parametrize("algorithm", [RecurrentPPO, Imitation])
def test_an_interrupted_run_goes_on_exactly(algorithm, tmp_path):
    """Weights, optimiser and both memories, in the middle of episodes."""
    whole = make(cls=algorithm, policy_kwargs=OWN)
    whole.learn(6 * 32)
    agent = make(cls=algorithm, policy_kwargs=OWN, run_dir=tmp_path, checkpoint_interval=1)
    with pytest.raises(Interrupted):
        agent.learn(6 * 32, callback=interrupt_at(100))
    again = algorithm.resume(tmp_path, tmaze(), device="cpu")
    again.learn(again.remaining_timesteps, reset_num_timesteps=False)
    assert_same_weights(weights_of(again), weights_of(whole))


def test_saved_loaded_and_given_more_slots(tmp_path):
    small = {"slots": 8, "width": 6, "read_heads": 1, "controller_size": 8}
    agent = make(core="dnc", policy_kwargs={**OWN, "core_kwargs": small})
    agent.save(tmp_path / "dnc")
    again = RecurrentPPO.load(tmp_path / "dnc", device="cpu")
    assert_same_weights(weights_of(again), weights_of(agent))
    more = RecurrentPPO.load(tmp_path / "dnc", device="cpu", slots=20)
    assert (more.policy.core.actor.slots, more.policy.core.critic.slots) == (20, 20)
    agent.policy.save(tmp_path / "policy.pt")
    policy = MemoryPolicy.load(tmp_path / "policy.pt", device="cpu")
    assert_same_weights(policy.state_dict(), weights_of(agent))
    named = agent.trace(agent.env.reset()[None])
    assert {"read_weights", "critic_read_weights"} <= named.keys()


def test_a_step_of_learning_is_that_of_two_agents():
    """The policy's loss moves the actor as it would alone, the value loss the critic."""
    agent = make(policy_kwargs=OWN, n_minibatches=1, n_epochs=1, max_grad_norm=1e9)
    agent.learn(1)
    batch = next(agent._window.minibatches(1))
    evaluated = agent.policy.evaluate_actions(batch.observations, batch.actions, batch.initial_state, batch.starts)
    losses, _ = agent._losses(batch, evaluated, torch.tensor(0.2), None)
    both, _ = agent.gradients(losses, agent.loss_weights())
    both = [g.clone() if g is not None else None for g in both]
    sums = {}
    for part in ("policy_gradient_loss", "value_loss"):
        evaluated = agent.policy.evaluate_actions(batch.observations, batch.actions, batch.initial_state, batch.starts)
        losses, _ = agent._losses(batch, evaluated, torch.tensor(0.2), None)
        alone, _ = agent.gradients({part: losses[part]}, agent.loss_weights())
        for (name, _), gradient in zip(agent.policy.named_parameters(), alone, strict=True):
            if gradient is not None and gradient.any():
                assert name not in sums or name.startswith("features_extractor"), name
                sums[name] = gradient.clone()
    for (name, _), gradient in zip(agent.policy.named_parameters(), both, strict=True):
        if name in sums:
            torch.testing.assert_close(gradient, sums[name])
    assert look(losses)


def test_recall_asks_the_actors_memory():
    agent = make(policy_kwargs=OWN | {"recall_lag": 2})
    starts = torch.zeros(5, 3, dtype=torch.bool)
    seen = torch.stack([torch.as_tensor(agent.env.reset()[:3]) for _ in range(5)])
    _, _, losses = agent.policy.unroll(seen, agent.policy.initial_state(3), starts)
    losses["recall"].sum().backward()
    reached = {name for name, p in agent.policy.core.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached
    assert all(name.startswith("actor.") for name in reached)


def test_settings_of_a_run():
    settings = of_recipe(PPOSettings, "tmaze", critic_core="same", critic_core_kwargs={"hidden_size": 8})
    own = settings.hyperparameters()["policy_kwargs"]
    assert (own["critic_core"], own["critic_core_kwargs"]) == ("same", {"hidden_size": 8})
    shared = of_recipe(PPOSettings, "tmaze").hyperparameters()["policy_kwargs"]
    assert (shared["critic_core"], shared["critic_core_kwargs"]) == (None, {})
    assert PPOSettings().critic_core == "same"
    assert ImitationSettings().critic_core is None


ONES = torch.ones(2)


class SomeExtractor(torch.nn.Module):
    """One linear layer."""

    def __init__(self, observation_space):
        super().__init__()
        self.features_dim = 6
        self.layer = torch.nn.Linear(observation_space.shape[0], 6)

    def forward(self, observations):
        return self.layer(observations)
