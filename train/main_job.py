"""The main job: agents that saw only random graphs travel neighbourhoods of the real London Underground.

    make train

trains a DNC by the recipe ``underground`` (PPO alone, random graphs alone), an LSTM and a memoryless control by the
same recipe, and evaluates all of them on connected neighbourhoods of 4 to 6 real stations, with goals 1 and 2 hops away
and a budget of one step more than that. The table, the learning curves and a map of one journey stay in the run folder.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch loads: spinning threads starve the environments

import tyro
from rich.console import Console

from memagents import RecurrentPPO
from memagents.checkpoint import write_json
from memagents.environments import make_env
from memagents.evaluation import WALK, baselines, compare, scores_json, scores_table
from memagents.figures import comparison, film_stills, learning_curve
from memagents.settings import PPOSettings, of_recipe
from memagents.training import learn, load_agent, make_agent, make_curriculum, plain_errors, prepare

ENV = "memenvs/Underground-v0"
REAL = {"map": "underground", "stations": (4, 6), "exits": (1, 7), "slack": 1, "labels": 8}
CORES = {"dnc": {}, "lstm": {"hidden_size": 128}, "none": {"hidden_size": 128}}  # the DNC's own sizes are the recipe's
EVALUATION_SEED = 2_000_000


@dataclass
class Settings:
    """What may be changed; the defaults are the claim.

    :param run_dir: folder of everything
    :param cores: what is trained, by the same recipe
    :param episodes: of the evaluation, for each agent and distance
    :param seed: of the trainings
    :param total_timesteps: environment steps of each training; by default the recipe's
    :param threads: of torch; by default one for each core
    """

    run_dir: Path = Path("runs/main_job")
    cores: tuple[str, ...] = ("dnc", "lstm", "none")
    episodes: int = 1000
    seed: int = 0
    total_timesteps: int | None = None
    threads: int | None = None
