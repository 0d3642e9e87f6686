"""The goal-conditioned view of navigation, and hindsight experience replay by Stable-Baselines3 on it."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from stable_baselines3.common.env_util import make_vec_env

from memenvs.engine.definition import Goals
from memenvs.goals import GoalView
from tests.memenvs.support.drifting import Drifting

QUERY, PLANNING, TRAVEL = 1, 2, 3
TASKS = [
    ("memenvs/Underground-v0", {}),
    ("memenvs/Underground-v0", {"stations": 3, "distance": 2, "step_cost": 0.3, "slack": 4, "planning": 2}),
    ("memenvs/Underground-v0", {"map": "underground", "two_way": True, "step_cost": 0}),
]
each = pytest.mark.parametrize(("name", "parameters"), TASKS)


@each
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_both_libraries_find_nothing_wrong(name, parameters):
    check_env(GoalView(gym.make(name, **parameters)), skip_render_check=True)
    check_env_for_sb3(GoalView(gym.make(name, **parameters)))


@each
def test_what_is_seen_and_rewarded_is_the_task_itself(name, parameters):
    """Beside the plain environment, whose observations tell the station and the goal in travel."""
    view, plain = GoalView(gym.make(name, **parameters)), gym.make(name, **parameters)
    rng, kept, arrivals = np.random.default_rng(0), [], 0
    seen, told = view.reset(seed=3)[0], plain.reset(seed=3)[0]
    for step in range(1500):
        hidden = told.copy()
        if told[7] in (QUERY, TRAVEL):
            assert np.array_equal(seen["desired_goal"], told[4:7])
            hidden[4:7] = 0
        assert np.array_equal(seen["observation"], hidden)
        travels = told[7] == TRAVEL
        # A label that the station does not have is a travel step, too.
        action = plain.unwrapped.random_walk(rng) if step % 4 else plain.action_space.n - 1
        seen, reward, *_ = view.step(action)
        told, same, *ended, info = plain.step(action)
        assert reward == same
        assert np.array_equal(seen["achieved_goal"], told[:3] if travels else [0, 0, 0])
        assert view.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}) == reward
        kept.append((seen["achieved_goal"], seen["desired_goal"], reward))
        if any(ended):
            arrivals += info["success"]
            assert bool(info["success"]) == np.array_equal(seen["achieved_goal"], seen["desired_goal"])
            seen, told = view.reset()[0], plain.reset()[0]
            assert not seen["achieved_goal"].any()
    achieved, desired, rewards = map(np.array, zip(*kept, strict=True))
    assert np.array_equal(view.compute_reward(achieved, desired, [{}] * len(kept)), rewards)
    assert view.compute_reward(achieved, desired, None).dtype == np.float64
    assert arrivals > 20


def test_another_goal_brings_another_reward():
    view = GoalView(gym.make("memenvs/Underground-v0", step_cost=0.25))
    here, there, nowhere = [1, 2, 3], [1, 2, 4], [0, 0, 0]
    rewards = view.compute_reward(np.array([here, here, nowhere, nowhere]), np.array([here, there, here, nowhere]), {})
    assert rewards.tolist() == [0.75, -0.25, 0, 0]


def test_a_maze_with_a_hidden_goal():
    view = GoalView(gym.make("memenvs/Maze-v0", size=7, max_steps=60))
    maze, rng, rewards = view.unwrapped, np.random.default_rng(0), []
    check_env_for_sb3(view)
    seen, _ = view.reset(seed=0)
    goal = seen["desired_goal"]
    for step in range(240):
        action = maze.oracle() if step % 3 else maze.random_walk(rng)
        seen, reward, terminated, truncated, info = view.step(action)
        assert view.compute_reward(seen["achieved_goal"], seen["desired_goal"], info) == reward
        assert np.array_equal(seen["desired_goal"], goal), "it stays for the whole episode"
        assert reward or np.array_equal(seen["achieved_goal"], [maze.batch.rows["state"][xy][0] for xy in "xy"])
        rewards.append(reward)
        if terminated or truncated:
            goal = view.reset()[0]["desired_goal"]
    assert sum(rewards) > 10
    with pytest.raises(ValueError, match="has none"):
        GoalView(gym.make("memenvs/Maze-v0", goals=2))


def test_observations_of_several_entries_are_flattened():
    env = Drifting()
    where = Goals(
        Box(0, 1000, (1,), np.int16),
        lambda state, level: (np.array([state["place"]], np.int16), np.array([level["width"]], np.int16)),
        lambda achieved, desired: np.all(achieved == desired, axis=-1) * 1.0,
    )
    env.definition = replace(env.definition, goals=where)
    view = GoalView(env)
    observation, _ = view.reset(seed=0)
    assert view.observation_space.contains(observation)
    for _ in range(5):
        observation, *_ = view.step(2)
        place = env.batch.rows["state"]["place"][0]
        assert observation["observation"].tolist() == [place, *[env.batch.rows["level"]["scent"][0]] * 4]
        assert observation["achieved_goal"] == place
        assert observation["desired_goal"] == 3
        if place >= 3:
            break
    reached = np.array([[3], [2]], np.int16)
    assert view.compute_reward(reached, np.full((2, 1), 3, np.int16), {}).tolist() == [1, 0]


def test_no_other_environment_has_goals():
    for name in ("memenvs/Copy-v0", "CartPole-v1"):
        with pytest.raises(ValueError, match="env must be a navigation task, whose definition has goals; "):
            GoalView(gym.make(name))


def test_relabelled_transitions_have_the_rewards_of_their_goals():
    envs = make_vec_env(lambda: GoalView(gym.make("memenvs/Underground-v0", step_cost=0.125)), 2, seed=0)
    learner = DQN(
        "MultiInputPolicy",
        envs,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4},
        learning_starts=100,
        buffer_size=2000,
        policy_kwargs={"net_arch": [16]},
        seed=0,
        device="cpu",
    )
    learner.learn(600)
    buffer = learner.replay_buffer
    batch = buffer.sample(2000)
    achieved, desired = (batch.next_observations[f"{kind}_goal"].numpy() for kind in ("achieved", "desired"))
    expected = [
        (1.0 if list(a) == list(d) else 0.0) - 0.125 if any(a) else 0.0 for a, d in zip(achieved, desired, strict=True)
    ]
    assert np.array_equal(batch.rewards.numpy()[:, 0], np.float32(expected))
    # Four in five are relabelled, and then often with what was achieved: unlike the rewards that were stored.
    stored = buffer.rewards[: buffer.pos] > 0
    assert np.mean(np.array(expected) > 0) > 2 * stored.mean() > 0
