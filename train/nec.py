"""Train an agent by Neural Episodic Control.

    python train/nec.py --env CartPole-v1 --total-timesteps 10000
    python train/nec.py --env memenvs/Maze-v0 --core gru --core-kwargs hidden_size=64
    python train/nec.py --recipe nec_underground

Every setting is told by ``--help``. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import os
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch loads: spinning threads starve the environments

from memagents import NEC
from memagents.configuration import command_line
from memagents.settings import NECSettings
from memagents.training import learn, make_agent, make_curriculum, plain_errors, prepare, show_evaluation

RECIPES = Path(__file__).parent / "recipes"


def main() -> None:
    with plain_errors(ValueError):
        settings = command_line(NECSettings, RECIPES)  # as in ppo.py
        prepare(settings.imports, settings.threads, settings.device)
        curriculum = make_curriculum(settings)
        agent = make_agent(NEC, settings, curriculum)
    with plain_errors(FloatingPointError, KeyboardInterrupt):
        learn(agent, settings, curriculum)
    show_evaluation(agent.run_dir, settings.eval_episodes, settings.device)


if __name__ == "__main__":
    main()
