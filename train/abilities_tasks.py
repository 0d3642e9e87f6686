"""What the tables of ``train/abilities.py`` show: by ability a task, its training, and where it is tested."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ability:
    """One task.

    :param about: what is asked and how it is learned, what a score is, and what chance has
    :param recipe: its name
    :param changes: to the recipe
    :param seconds: of one core, after which agents are compared in equal time: what the LSTM's whole training takes
    :param tests: by the head of a column, changes to the parameters of the environment; ``metric`` gives another metric
        than success
    :param sampled: whether actions are sampled in the tests
    :param episodes: of each test
    """

    about: str
    recipe: str
    changes: dict[str, Any]
    seconds: int
    tests: dict[str, dict[str, Any]] = field(default_factory=lambda: {"success": {}})
    sampled: bool = False
    episodes: int = 500


def corridors(number: int) -> dict[str, Any]:
    """Return parameters of an endless T-maze."""
    return {"corridors": number, "length": 5}


ABILITIES = {
    "retain": Ability(
        "turn at the end of a T-maze's corridor by a cue at its beginning (PPO, 200,000 steps, corridors of 1 to 10 "
        "steps); share of right turns, by chance a half, there and in a corridor ten times as long",
        "tmaze",
        {"total_timesteps": 200_000},
        15,
        {"10 steps": {"length": 10}, "100 steps": {"length": 100}},
    ),
    "rewrite": Ability(
        "an endless T-maze, where each corridor of 5 steps has a cue that takes the place of the last (PPO, 300,000 "
        "steps, 5 corridors); share of episodes without a wrong turn, by chance 0.03, there and in 15 corridors",
        "tmaze",
        {
            "env": "memenvs/EndlessTMaze-v0",
            "env_kwargs": corridors(5),
            "lessons": (),
            "gamma": 0.95,
            "total_timesteps": 300_000,
        },
        25,
        {"5 corridors": corridors(5), "15": corridors(15)},
    ),
    "order": Ability(
        "say a sequence of 1 to 4 vectors of 4 bits again (imitation, 300,000 steps); share of sequences without a "
        "wrong bit",
        "copy",
        {"env_kwargs": {"width": 4, "length": [1, 4]}, "n_steps": 22, "total_timesteps": 300_000},
        7,
    ),
    "recall": Ability(
        "say which of 2 to 4 vectors of 6 bits came after one of them (imitation, 300,000 steps); share of answers "
        "without a wrong bit, and among 8 vectors",
        "associative_recall",
        {"env_kwargs": {"items": [2, 4], "item_length": 1}, "n_steps": 12, "total_timesteps": 300_000},
        10,
        {"2 to 4": {}, "8": {"items": 8}},
    ),
    "one-shot": Ability(
        "name drawn characters whose labels are shuffled in each episode (imitation, 300,000 steps); share of right "
        "names at the second and the tenth time that a character is shown, by chance a third",
        "one_shot",
        {"env_kwargs": {"classes": 3, "size": 8}, "n_envs": 4, "n_steps": 30, "total_timesteps": 300_000},
        25,
        {"2nd": {"metric": "accuracy_2"}, "10th": {"metric": "accuracy_10"}},
    ),
    "bandit": Ability(
        "find out which of two arms pays (PPO, 400,000 steps, 100 trials); share of pulls at the better one, by chance "
        "a half",
        "bandit",
        {"n_envs": 16, "total_timesteps": 400_000},
        50,
        {"best arm": {"metric": "best_arm"}},
        sampled=True,
    ),
    "navigate": Ability(
        "go to a neighbouring station of a small random graph that was described edge by edge (imitation, 800,000 "
        "steps); share of episodes in which the goal was reached",
        "underground_imitation",
        {
            "env_kwargs": {"map": "random", "stations": [3, 4], "exits": 1, "distance": 1, "labels": 8},
            "n_envs": 16,
            "n_minibatches": 1,
            "total_timesteps": 800_000,
        },
        25,
    ),
    "explore": Ability(
        "reach goal after goal in a graph of 3 stations that nobody described (PPO, 400,000 steps); how many in 50 "
        "steps, by random exits 23, there and among 4 stations, by random exits 14",
        "underground_ppo",
        {
            "env_kwargs": {
                "task": "explore",
                "map": "random",
                "stations": 3,
                "exits": [1, 2],
                "labels": 4,
                "budget": 50,
            },
            "lessons": (),
            "n_envs": 32,
            "total_timesteps": 400_000,
        },
        30,
        {"3 stations": {"metric": "goals"}, "4": {"metric": "goals", "stations": 4}},
        sampled=True,
    ),
    "relate": Ability(
        "say which of 3 numbers is the n-th farthest from another (imitation, 1.2M steps); share of right answers, "
        "by the rank alone two thirds",
        "nth_farthest_small",
        {"n_envs": 64, "total_timesteps": 1_200_000},
        50,
        episodes=2000,
    ),
}
