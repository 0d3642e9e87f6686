"""Algorithms of RLlib with our memories: they learn, and weights move both ways."""

import numpy as np
import pytest
import torch

pytest.importorskip("ray.rllib", reason="Ray is not installed: make rllib")

from ray import tune  # noqa: F401 — before the algorithms
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns

from memagents import RecurrentPPO, make_env
from memagents.policies.actor_critic import MemoryPolicy
from memagents.rllib import policy_of, put_policy, use_memory
from memagents.rllib.learners import PPOLearner

DNC = {"slots": 8, "width": 6}
TMAZE = {"length": 3}


def config_of(kind=PPOConfig, core="dnc", core_kwargs=DNC, **policy):
    import memenvs  # noqa: F401 — registers

    config = (
        kind()
        .environment("memenvs/TMaze-v0", env_config=TMAZE)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    )
    config.training(train_batch_size_per_learner=128, lr=1e-3)
    if kind is PPOConfig:
        config.training(minibatch_size=64, num_epochs=2)
    config.learners(num_learners=0)
    return use_memory(config, core=core, core_kwargs=core_kwargs, max_seq_len=8, **policy)


def outputs_of(policy):
    """What a policy makes of some episodes' observations."""
    observations = torch.randint(0, 2, (6, 5, 2), generator=torch.Generator().manual_seed(0)).byte()
    starts = torch.zeros(6, 5, dtype=torch.bool)
    starts[3, 2] = True
    with torch.no_grad():
        outputs, _, _ = policy.unroll(observations, policy.initial_state(5), starts)
        return policy.action_numbers(outputs), policy.values(outputs)


@pytest.mark.parametrize(("core", "kwargs"), [("dnc", DNC), ("gru", {}), ("gtrxl", {"layers": 1})])
def test_ppo_trains_and_weights_move_both_ways(core, kwargs):
    algorithm = config_of(core=core, core_kwargs=kwargs).build_algo()
    try:
        before = outputs_of(policy_of(algorithm))
        for _ in range(2):
            result = algorithm.train()
        learned = result["learners"]["default_policy"]
        assert np.isfinite(learned["total_loss"])
        assert result["env_runners"]["num_episodes"] > 0
        policy = policy_of(algorithm)
        after = outputs_of(policy)
        assert (before[0] - after[0]).abs().max() > 1e-5

        # Out: into an agent of ours, which acts and goes on learning.
        envs = make_env("memenvs/TMaze-v0", n_envs=4, **TMAZE)
        agent = RecurrentPPO(
            "MlpPolicy", envs, n_steps=16, policy_kwargs={"core": core, "core_kwargs": kwargs, "critic_core": None}
        )
        agent.policy.load_state_dict(policy.state_dict())
        for own, theirs in zip(outputs_of(agent.policy), after, strict=True):
            torch.testing.assert_close(own, theirs)
        agent.learn(128)

        # In: for the learners, and for all that sample.
        put_policy(algorithm, agent.policy)
        wanted = outputs_of(agent.policy)
        assert (wanted[0] - after[0]).abs().max() > 1e-6
        for found in (policy_of(algorithm), algorithm.get_module().policy, algorithm.env_runner.module.policy):
            for own, theirs in zip(outputs_of(found), wanted, strict=True):
                torch.testing.assert_close(own, theirs)
        algorithm.train()
    finally:
        algorithm.stop()


@pytest.mark.parametrize(("core", "kwargs"), [("dnc", DNC), ("gtrxl", {"layers": 1}), ("lru", {})])
def test_what_was_sampled_is_what_is_learned_from(core, kwargs):
    """Before the first gradient step of an update every probability ratio is 1: windows and states are right."""
    algorithm = config_of(core=core, core_kwargs=kwargs).build_algo()
    try:
        algorithm.train()
        sampled, learner = algorithm.env_runner.sample(num_timesteps=200), algorithm.learner_group._learner
        batch = learner._learner_connector(
            rl_module=learner.module, batch={}, episodes=sampled, shared_data={}, metrics=learner.metrics
        )["default_policy"]
        module = learner.module["default_policy"]
        with torch.no_grad():
            found = module.forward_train(batch)
        numbers = found[Columns.ACTION_DIST_INPUTS]
        log_probs = module.get_train_action_dist_cls().from_logits(numbers).logp(batch[Columns.ACTIONS])
        there = batch[Columns.LOSS_MASK]
        assert there.sum() >= 200
        assert (~there).any()  # some windows are filled up
        torch.testing.assert_close(log_probs[there], batch[Columns.ACTION_LOGP][there], rtol=0, atol=1e-5)
    finally:
        algorithm.stop()


def test_a_checkpoint_of_rllib_has_the_memory_in_it(tmp_path):
    algorithm = config_of().build_algo()
    try:
        algorithm.train()
        wanted = outputs_of(policy_of(algorithm))
        path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
        algorithm.train()
        assert (outputs_of(policy_of(algorithm))[0] - wanted[0]).abs().max() > 0
        algorithm.restore_from_path(path)
        for own, theirs in zip(outputs_of(policy_of(algorithm)), wanted, strict=True):
            assert torch.equal(own, theirs)
    finally:
        algorithm.stop()


@pytest.mark.parametrize("kind", [APPOConfig, IMPALAConfig])
def test_the_asynchronous_algorithms_train(kind):
    algorithm = config_of(kind, "gru", {}).build_algo()
    try:
        before = outputs_of(policy_of(algorithm))
        for _ in range(10):
            algorithm.train()
            after = outputs_of(policy_of(algorithm))
            if (before[0] - after[0]).abs().max() > 1e-6:
                break
        assert (before[0] - after[0]).abs().max() > 1e-6
    finally:
        algorithm.stop()


def test_a_memorys_own_losses_are_learned():
    config = config_of(core="ntm", core_kwargs={"slots": 8, "width": 6, "write_penalty": 0.1})
    assert config.learner_class is PPOLearner
    algorithm = config.build_algo()
    try:
        learned = algorithm.train()["learners"]["default_policy"]
        assert learned["core_losses"] > 0
    finally:
        algorithm.stop()


def test_a_policy_of_another_make_is_refused():
    algorithm = config_of().build_algo()
    try:
        env = make_env("memenvs/TMaze-v0", n_envs=1, **TMAZE)
        other = MemoryPolicy(env.observation_space, env.action_space, lambda _: 0.0, core="lstm")
        kept = outputs_of(policy_of(algorithm))
        with pytest.raises(ValueError, match="policy must be made as the algorithm's"):
            put_policy(algorithm, other)
        assert torch.equal(outputs_of(policy_of(algorithm))[0], kept[0])
    finally:
        algorithm.stop()


@pytest.mark.parametrize(
    ("wrong", "message"), [({"core": "elephant"}, "elephant"), ({"max_seq_len": 0}, "max_seq_len")]
)
def test_bad_input_is_named_before_anything_begins(wrong, message):
    with pytest.raises(ValueError, match=message):
        use_memory(PPOConfig(), **wrong)
