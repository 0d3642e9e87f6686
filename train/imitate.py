"""Train an agent with a memory to do what the oracle of its environment does.

    python train/imitate.py --env memenvs/Underground-v0 --core dnc --core-kwargs slots=32 width=24
    python train/ppo.py --init-from runs/Underground-v0-dnc-0 --env memenvs/Underground-v0 --core dnc \
        --core-kwargs slots=32 width=24

Every setting is told by ``--help``. PPO can go on from the weights, as in the second line.
"""

import os
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch loads: spinning threads starve the environments

from memagents import Imitation
from memagents.configuration import command_line
from memagents.settings import ImitationSettings
from memagents.training import learn, make_agent, make_curriculum, plain_errors, prepare, show_evaluation

RECIPES = Path(__file__).parent / "recipes"


def main() -> None:
    with plain_errors(ValueError):
        settings = command_line(ImitationSettings, RECIPES)  # as in ppo.py
        prepare(settings.imports, settings.threads, settings.device)
        curriculum = make_curriculum(settings)
        agent = make_agent(Imitation, settings, curriculum)
    with plain_errors(FloatingPointError, KeyboardInterrupt):
        learn(agent, settings, curriculum)
    show_evaluation(agent.run_dir, settings.eval_episodes, settings.device)


if __name__ == "__main__":
    main()
