"""Tables on graphs: the DNC paper's tests, and a DNC's policy in other memories."""

from collections.abc import Iterable
from typing import Any

from experiment import Experiment

ZONE_1: dict[str, Any] = {"map": "zone1", "questions": 1}


def by_steps(name: str, numbers: Iterable[int], **parameters: Any) -> dict[str, dict[str, Any]]:
    """Return a test for each number of steps, which is the value of the parameter ``name``."""
    return {f"{steps} step{'s' * (steps > 1)}": {**parameters, name: steps} for steps in numbers}


def dnc_paper() -> dict[str, Experiment]:
    """Return the experiments of the DNC paper on graphs: traversal, shortest paths and the family tree."""
    common: dict[str, Any] = {"episodes": 500, "document": "underground.md", "curves": "", "each_seed": True}
    return {
        "underground_traversal": Experiment(
            title="Traversal, from random graphs to the Underground",
            about="Recipe `underground_traversal`, trained on random graphs only, each agent of some 660,000 weights; "
            "the share of questions with nothing but right answers, in 500 episodes of Zone 1 (43 stations, 212 "
            "labelled edges) and of the whole network (270 stations, 752 edges). Memories of slots have 320 for Zone 1 "
            "and 1,024 for the network.",
            recipe="underground_traversal",
            rows={
                "sdnc": {},
                "dnc": {"core_kwargs": {"slots": 320, "width": 64, "read_heads": 2, "controller_size": 256}},
                "lstm": {"core_kwargs": {"hidden_size": 354}},
                "gru": {"core_kwargs": {"hidden_size": 414}},
                "gtrxl": {"core_kwargs": {"length": 256, "layers": 2, "width": 112}},
                "deltanet": {
                    "core_kwargs": {"layers": 2, "heads": 4, "key_size": 64, "value_size": 64, "width": 240},
                },
                "lru": {"core_kwargs": {"layers": 2, "state_size": 256, "width": 215}},
            },
            tests={
                **by_steps("path", (1, 4, 7), **ZONE_1),
                "7 steps, single answers": {**ZONE_1, "path": 7, "metric": "accuracy"},
                "network, 7 steps": {**ZONE_1, "path": 7, "map": "network", "slots": 1024},
            },
            **common,
        ),
        "underground_shortest_path": Experiment(
            title="Shortest paths, from random graphs to the Underground",
            about="Recipe `underground_shortest_path`, trained on random graphs only, each agent of some 1,070,000 "
            "weights; the share of questions answered by a shortest path, in 500 episodes of Zone 1 (43 stations, 212 "
            "labelled edges). Random exits do so in 0.30 of the questions of 1 step, 0.09 of 2, 0.03 of 3, and 0.01 of "
            "4 and 5. Memories of slots have 320 in the tests.",
            recipe="underground_shortest_path",
            rows={
                "sdnc": {},
                "dnc": {"core_kwargs": {"slots": 160, "width": 96, "read_heads": 4, "controller_size": 256}},
                "lstm": {"core_kwargs": {"hidden_size": 461}},
                "gru": {"core_kwargs": {"hidden_size": 538}},
                "gtrxl": {"core_kwargs": {"length": 256, "layers": 2, "width": 144}},
                "deltanet": {
                    "core_kwargs": {"layers": 2, "heads": 4, "key_size": 64, "value_size": 64, "width": 388},
                },
            },
            tests=by_steps("distance", range(1, 6), **ZONE_1),
            test_slots=320,
            **common,
        ),
        "family_tree": Experiment(
            title="The family tree, from random graphs",
            about="Recipe `family_tree`, trained on random graphs only, each agent of some 840,000 weights; the share "
            "of right answers to 500 questions, one an episode, in families of 15 to 25 people, by how many steps a "
            "relation of kinship has. Whoever names somebody of the family at random is right in one of twenty.",
            recipe="family_tree",
            rows={
                "sdnc": {},
                "dnc": {"core_kwargs": {"slots": 256, "width": 64, "read_heads": 2, "controller_size": 256}},
                "lstm": {"core_kwargs": {"hidden_size": 338}},
                "gru": {"core_kwargs": {"hidden_size": 404}},
                "gtrxl": {"core_kwargs": {"length": 256, "layers": 2, "width": 124}},
                "deltanet": {
                    "core_kwargs": {"layers": 2, "heads": 4, "key_size": 64, "value_size": 64, "width": 282},
                },
                "lru": {"core_kwargs": {"layers": 2, "state_size": 256, "width": 245}},
            },
            tests=by_steps("length", (2, 3, 4), graph="family", nodes=None, degree=None, queries=1),
            **common,
        ),
    }


def distillations() -> dict[str, Experiment]:
    """Return the experiment in which a trained DNC, or else the oracle, teaches memories that act faster."""
    graphs = {"map": "random", "stations": [4, 6], "exits": [1, 2], "two_way": True, "distance": [1, 2], "labels": 8}
    students: dict[str, dict[str, Any]] = {
        "lstm": {"core_kwargs": {"hidden_size": 192}},
        "gru": {"core_kwargs": {"hidden_size": 224}},
        "mingru": {"core_kwargs": {"hidden_size": 224}},
        "deltanet": {"core_kwargs": {"layers": 2, "heads": 4, "key_size": 32, "value_size": 32, "width": 144}},
        "small dnc": {
            "core": "dnc",
            "core_kwargs": {"slots": 20, "width": 16, "read_heads": 2, "controller_size": 64},
        },
    }
    taught = {"env_kwargs": graphs, "total_timesteps": 4_000_000}
    return {
        "distilled": Experiment(
            title="A DNC's policy in other memories",
            about="Recipe `underground_distillation`: the policy that comes with the library as "
            "`pretrained:underground-dnc` teaches memories of about its 210,000 weights (the small DNC has 58,000) on "
            "random graphs, 4M steps. Below them the same with the oracle as the teacher (recipe "
            "`underground_imitation`). The share of journeys that reach their station, in 1,000 episodes on parts of "
            "the London Underground; the DNC itself has 0.998 of one step and 0.947 of two.",
            recipe="underground_distillation",
            rows={
                **students,
                **{
                    f"{core}, oracle": {"core": core, "recipe": "underground_imitation", **taught, **row}
                    for core, row in students.items()
                },
            },
            tests=by_steps("distance", (1, 2), map="underground", exits=[1, 7], two_way=False),
            episodes=1000,
            document="training.md",
            curves="",
            each_seed=True,
        )
    }
