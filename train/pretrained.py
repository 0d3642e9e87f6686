"""A policy to take away: a run's agent, its scores and a card, put into the package as ``pretrained:NAME``.

    python train/pretrained.py runs/x --name x --command "memagents train ppo" --about "Does x." --limits "No y."

It is evaluated and shown in the environment of its training, on levels that were never trained on where there are such,
or with other parameters of it.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from memagents import __version__
from memagents.command_line.errors import plain_errors
from memagents.experiments.evaluate_run import evaluate_run
from memagents.experiments.evaluation import AGENT
from memagents.experiments.evaluation_settings import EvaluationSettings
from memagents.experiments.options import Pairs
from memagents.experiments.run import Run
from memagents.experiments.training import prepare
from memagents.runs.agent_files import read_weights
from memagents.runs.checkpoint import contents
from memagents.runs.files import write_bytes
from memagents.runs.layout import CONFIG_FILE, MEMORY_FILE, NORMALIZATION_FILE, POLICY_FILE, WEIGHTS_FILE
from memagents.runs.pretrained import CARD, FOLDER

CARD_TEXT = """---
{facts}---
# {name}

{about}

    memagents evaluate pretrained:{name} --video {name}.gif

{limits}
"""


@dataclass
class PretrainedSettings:
    """Settings: whose policy, and what its card says.

    :param run: folder of the run
    :param name: of the policy: a task and a memory
    :param about: what it does, a sentence or two
    :param limits: what it does not do, a sentence or two
    :param command: that trained it, without the seed
    :param episodes: of its evaluation
    :param metric: that stands for its score
    :param env_kwargs: parameters of the environment that it is shown in, if not those of its training
    """

    run: Annotated[Path, tyro.conf.Positional]
    name: str
    about: str
    limits: str
    command: str
    episodes: int = 1000
    metric: str = "success"
    env_kwargs: Pairs = field(default_factory=dict)


def main(settings: PretrainedSettings) -> None:
    """Write the folder anew, evaluate what is in it, and write its card."""
    prepare(threads=1)
    Run.open(settings.run)  # before what is there is lost
    place = FOLDER / settings.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name, data in contents(settings.run, (POLICY_FILE, WEIGHTS_FILE, MEMORY_FILE, NORMALIZATION_FILE)).items():
        write_bytes(place / name, data)
    config = yaml.safe_load((settings.run / CONFIG_FILE).read_text()) | {"run_dir": None, "init_from": None}
    if settings.env_kwargs:
        config["env_kwargs"], config["lessons"] = settings.env_kwargs, []
    write_bytes(place / CONFIG_FILE, yaml.safe_dump(config, sort_keys=False).encode())
    facts = yaml.safe_dump(facts_of(place, settings), sort_keys=False, width=1000)
    texts = {"name": settings.name, "about": settings.about, "limits": settings.limits}
    write_bytes(place / CARD, CARD_TEXT.format(facts=facts, **texts).encode())
    print(facts)


def facts_of(place: Path, settings: PretrainedSettings) -> dict[str, Any]:
    """Evaluate the policy in a folder, and return what its card says of it."""
    run = Run.open(place)
    assert run.settings is not None
    scores = evaluate_run(run, EvaluationSettings(episodes=settings.episodes)).scores[AGENT]
    score = {"success": scores.success, "returns": scores.returns, **scores.metrics}[settings.metric]
    if score is None:
        raise ValueError(f"metric: there is no {settings.metric} in the environment of {settings.run}")
    return {
        "about": settings.about.partition(". ")[0].rstrip("."),
        "command": f"{settings.command} --seed {run.settings.seed}",
        "algorithm": run.description["algorithm"],
        "core": run.description["policy_kwargs"]["core"],
        "env": run.evaluation_env()[0],
        "steps": run.description["num_timesteps"],
        "weights": sum(weights.numel() for weights in read_weights(place).values()),
        "metric": settings.metric,
        "score": round(score.mean, 3),
        "episodes": settings.episodes,
        "version": __version__,
        "license": "MIT",
    }


if __name__ == "__main__":
    with plain_errors(ValueError, OSError):
        main(tyro.cli(PretrainedSettings, description=__doc__))
