"""Agents of sb3-contrib become ours: the same actions, values and log-probabilities, step by step."""

import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO as Theirs
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from memagents import CheckpointError, RecurrentPPO, load_agent
from memagents.__main__ import main
from memagents.experiments.from_sb3_contrib import import_recurrent_ppo

KINDS = {
    "two memories": ("CartPole-v1", {"lstm_hidden_size": 12}),
    "one memory": ("CartPole-v1", {"lstm_hidden_size": 12, "shared_lstm": True, "enable_critic_lstm": False}),
    "layers": ("CartPole-v1", {"net_arch": {"pi": [9], "vf": [7, 5]}, "lstm_hidden_size": 8}),
    "no layers": ("CartPole-v1", {"net_arch": [], "lstm_hidden_size": 8}),
    "activation": ("CartPole-v1", {"activation_fn": torch.nn.ReLU, "lstm_hidden_size": 8}),
    "box": ("Pendulum-v1", {"lstm_hidden_size": 8, "log_std_init": -0.5}),
}


class Named(gym.ObservationWrapper):
    """CartPole's observation as the entry of a Dict."""

    def __init__(self):
        super().__init__(gym.make("CartPole-v1"))
        self.observation_space = gym.spaces.Dict({"all": self.env.observation_space})

    def observation(self, observation):
        return {"all": observation}


def saved(tmp_path, env, learned=True, **policy_kwargs):
    agent = Theirs("MlpLstmPolicy", env, n_steps=16, n_epochs=1, seed=0, device="cpu", policy_kwargs=policy_kwargs)
    if learned:
        agent.learn(32)
    agent.save(tmp_path / "model.zip")
    return agent


@pytest.mark.parametrize("kind", KINDS)
def test_it_acts_and_values_as_before(kind, tmp_path):
    env, policy_kwargs = KINDS[kind]
    theirs = saved(tmp_path, env, **policy_kwargs)
    ours = import_recurrent_ppo(tmp_path / "model.zip", env, trust=True)
    assert ours.num_timesteps == 32 and ours.n_steps == 16 and ours.n_epochs == 1
    ours.save(tmp_path / "run")
    for agent in (ours, load_agent(tmp_path / "run")):
        rng, vec = np.random.default_rng(0), make_vec_env(env, 3)
        state, memory, starts = None, None, np.ones(3, bool)
        for _ in range(40):
            observations = rng.normal(size=(3, *vec.observation_space.shape)).astype(np.float32)
            expected, state = theirs.predict(observations, state, starts, deterministic=True)
            actions, memory = agent.predict(observations, memory, starts, deterministic=True)
            np.testing.assert_allclose(actions, expected, atol=1e-5)
            starts = rng.random(3) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_probabilities_are_as_before(kind, tmp_path):
    env, policy_kwargs = KINDS[kind]
    theirs = saved(tmp_path, env, **policy_kwargs)
    ours = import_recurrent_ppo(tmp_path / "model.zip", env, trust=True)
    width = policy_kwargs["lstm_hidden_size"]
    states = RNNStates(*(tuple(torch.zeros(1, 3, width) for _ in range(2)) for _ in range(2)))
    observations = torch.randn(9, 3, *ours.observation_space.shape)
    starts = torch.rand(9, 3) < 0.2
    acted = []
    with torch.no_grad():
        for observation, start in zip(observations, starts, strict=True):
            *step, states = theirs.policy.forward(observation, states, start.float())
            acted.append(step)
        actions, values, log_probs = (torch.stack(part) for part in zip(*acted, strict=True))
        found = ours.policy.evaluate_actions(observations, actions, ours.policy.initial_state(3), starts)
    torch.testing.assert_close(found.values, values.squeeze(-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.log_probs, log_probs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        ({"n_lstm_layers": 2}, "weights that have no like here: lstm_actor.bias_hh_l1, .*lstm_critic.weight_ih_l1"),
        ({"enable_critic_lstm": False}, "weights that have no like here: critic.bias, critic.weight"),
    ],
)
def test_networks_without_a_like_are_refused(policy_kwargs, message, tmp_path):
    saved(tmp_path, "CartPole-v1", learned=False, lstm_hidden_size=8, **policy_kwargs)
    with pytest.raises(CheckpointError, match=message):
        import_recurrent_ppo(tmp_path / "model.zip", "CartPole-v1", trust=True)


def test_archives_that_cannot_be_imported(tmp_path):
    saved(tmp_path, "CartPole-v1", learned=False, lstm_hidden_size=8)
    file = tmp_path / "model.zip"
    with pytest.raises(CheckpointError, match=r"if you trust whoever made it, import it with trust \(--trust"):
        import_recurrent_ppo(file, "CartPole-v1")
    with pytest.raises(CheckpointError, match=r"the weight action_net\.bias is \(2,\), in the policy it is \(1,\)"):
        import_recurrent_ppo(file, "Pendulum-v1", trust=True)
    PPO("MlpPolicy", "CartPole-v1", n_steps=8, device="cpu").save(tmp_path / "plain.zip")
    with pytest.raises(CheckpointError, match="is of another algorithm than sb3-contrib's RecurrentPPO"):
        import_recurrent_ppo(tmp_path / "plain.zip", "CartPole-v1", trust=True)
    for name in ("data", "policy.pth"):
        with zipfile.ZipFile(file) as whole, zipfile.ZipFile(tmp_path / "damaged.zip", "w") as damaged:
            for entry in whole.namelist():
                content = whole.read(entry)
                damaged.writestr(entry, content[: len(content) // 2] if entry == name else content)
        with pytest.raises(CheckpointError, match="is damaged, or of another version"):
            import_recurrent_ppo(tmp_path / "damaged.zip", "CartPole-v1", trust=True)
    with pytest.raises(CheckpointError, match="the entries of a Dict are encoded in another way"):
        import_recurrent_ppo(file, Named(), trust=True)
    (tmp_path / "text.zip").write_text("nothing")
    with pytest.raises(CheckpointError, match="is no agent that Stable-Baselines3"):
        import_recurrent_ppo(tmp_path / "text.zip", "CartPole-v1", trust=True)
    with pytest.raises(CheckpointError, match="does not exist"):
        import_recurrent_ppo(tmp_path / "none.zip", "CartPole-v1", trust=True)


def test_the_command_makes_a_folder_that_is_evaluated(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, "CartPole-v1", learned=False, lstm_hidden_size=8)
    words = ["import", "model.zip", "--env", "CartPole-v1", "--run-dir", "mine"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and "--trust" in capsys.readouterr().err
    main([*words, "--trust"])
    assert "memagents evaluate mine --env CartPole-v1" in capsys.readouterr().out
    main(["evaluate", "mine", "--env", "CartPole-v1", "--episodes", "2"])
    assert "return" in capsys.readouterr().out
    assert isinstance(load_agent("mine"), RecurrentPPO)
