"""Evaluate a run's agent beside a random agent, a random walk and the oracle.

python train/evaluate.py runs/Underground-v0-dnc-0
python train/evaluate.py runs/Underground-v0-dnc-0 --env-kwargs map=underground distance=2 --video journey.gif
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch loads: spinning threads starve the environments

import tyro
from rich.console import Console

from memagents.configuration import imports_of_run
from memagents.evaluation import scores_table
from memagents.figures import write_gif
from memagents.settings import Pairs
from memagents.training import EVALUATION_SEED, evaluate_run, plain_errors, prepare, scenes


@dataclass
class Settings:
    """Return, success, SPL and oracle-normalised return of a run's agent, with 95% confidence intervals.

    :param run: folder of the run
    :param env: id of an environment with the same spaces, or "package:Id"; by default the run's own, as in its last
        lesson
    :param env_kwargs: its parameters, as key=value with values in YAML; they add to the run's where --env is the run's
    :param split: which levels; by default test, where the environment has splits
    :param episodes: how many, for each agent
    :param seed: of the environments
    :param device: auto, cpu, cuda or cuda:N
    :param slots: of the memory; by default as many as it was trained with
    :param imports: packages to import first, beside those that the run imported
    :param json: print JSON and nothing else on the standard output
    :param video: write a GIF of the first episodes to this path
    :param video_episodes: how many
    :param video_fps: pictures a second
    """

    run: tyro.conf.Positional[Path]
    env: str | None = None
    env_kwargs: Pairs = field(default_factory=dict)
    split: Literal["train", "test"] | None = None
    episodes: int = 500
    seed: int = EVALUATION_SEED
    device: str = "auto"
    slots: int | None = None
    imports: tuple[str, ...] = ()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    video: Path | None = None
    video_episodes: int = 5
    video_fps: float = 3


def main() -> None:
    settings = tyro.cli(Settings)
    where = (settings.env, settings.env_kwargs, settings.split)
    with plain_errors(ValueError):
        prepare([*imports_of_run(settings.run), *settings.imports], device=settings.device)
        how = (settings.seed, settings.device, settings.slots)
        evaluation = evaluate_run(settings.run, *where, settings.episodes, *how)
        if settings.json:
            print(json.dumps({"run": str(settings.run), **evaluation.to_json()}, indent=2))
        else:
            Console().print(scores_table(evaluation.title, evaluation.scores))
        if settings.video is not None:
            played = scenes(settings.run, *where, settings.video_episodes, *how)
            write_gif(played, settings.video, settings.video_fps)


if __name__ == "__main__":
    main()
