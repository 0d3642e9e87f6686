"""Train an agent with a memory by proximal policy optimisation.

    python train/ppo.py --env memenvs/TMaze-v0 --env-kwargs length=5 --core lstm
    python train/ppo.py --recipe tmaze --core dnc --seed 1
    python train/ppo.py --resume runs/TMaze-v0-dnc-1

Every setting is told by ``--help``. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import os
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch loads: spinning threads starve the environments

from memagents import RecurrentPPO
from memagents.configuration import command_line
from memagents.settings import PPOSettings
from memagents.training import learn, make_agent, make_curriculum, plain_errors, prepare, show_evaluation

RECIPES = Path(__file__).parent / "recipes"


def main() -> None:
    with plain_errors(ValueError):
        settings = command_line(PPOSettings, RECIPES)  # the recipe's, then the command line's; or those of --resume
        prepare(settings.imports, settings.threads, settings.device)
        curriculum = make_curriculum(settings)  # makes the environments, lesson after lesson
        agent = make_agent(RecurrentPPO, settings, curriculum)
    with plain_errors(FloatingPointError, KeyboardInterrupt):
        learn(agent, settings, curriculum)  # with a progress bar; Ctrl-C saves
    show_evaluation(agent.run_dir, settings.eval_episodes, settings.device)


if __name__ == "__main__":
    main()
