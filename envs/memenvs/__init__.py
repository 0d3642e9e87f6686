"""Environments that cannot be solved without memory, batched and compiled."""

from gymnasium.envs.registration import register

from memenvs.grid.ids import NAMES
from memenvs.popgym.ids import ENVIRONMENTS as POPGYM

# Each is a class, and beside it its batched one.
ENVIRONMENTS = {
    "TMaze-v0": "memenvs.maze.tmaze:TMaze",
    "EndlessTMaze-v0": "memenvs.maze.endless_tmaze:EndlessTMaze",
    "RuneTMaze-v0": "memenvs.maze.rune_tmaze:RuneTMaze",
    "ColorCubes-v0": "memenvs.cubes.color_cubes:ColorCubes",
    "Maze-v0": "memenvs.maze.maze:Maze",
    "Underground-v0": "memenvs.graph.underground:Underground",
    "FamilyTree-v0": "memenvs.graph.family.family_tree:FamilyTree",
    "Copy-v0": "memenvs.tasks.copying:Copy",
    "RepeatCopy-v0": "memenvs.tasks.repeat_copy:RepeatCopy",
    "AssociativeRecall-v0": "memenvs.tasks.associative_recall:AssociativeRecall",
    "DynamicNGrams-v0": "memenvs.tasks.dynamic_ngrams:DynamicNGrams",
    "PrioritySort-v0": "memenvs.tasks.priority_sort:PrioritySort",
    "MemoryLength-v0": "memenvs.tasks.memory_length:MemoryLength",
    "NthFarthest-v0": "memenvs.tasks.nth_farthest:NthFarthest",
    "OneShot-v0": "memenvs.tasks.one_shot:OneShot",
    "MiniShrdlu-v0": "memenvs.shrdlu.mini_shrdlu:MiniShrdlu",
    "StoryQA-v0": "memenvs.tasks.story_qa:StoryQA",
    "Bandit-v0": "memenvs.fewshot.bandit:Bandit",
    "Harlow-v0": "memenvs.fewshot.harlow:Harlow",
    "MemoryPlanning-v0": "memenvs.planning.memory_planning:MemoryPlanning",
    "OneShotUnderground-v0": "memenvs.planning.one_shot_underground:OneShotUnderground",
}

for name, path in ENVIRONMENTS.items():
    register(f"memenvs/{name}", entry_point=path, vector_entry_point=path.replace(":", ":Batched"))

for name in NAMES:
    register(
        f"memenvs/{name}",
        entry_point="memenvs.grid.minigrid:MiniGrid",
        vector_entry_point="memenvs.grid.minigrid:BatchedMiniGrid",
        kwargs={"level": name},
    )

for name, (path, parameters) in POPGYM.items():
    register(
        f"memenvs/{name}",
        entry_point=path,
        vector_entry_point=path.replace(":", ":Batched"),
        kwargs=parameters,
    )
