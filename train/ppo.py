"""Train an agent with a memory by proximal policy optimisation; the same as ``memagents train ppo``.

    python train/ppo.py --env memenvs/TMaze-v0 --env-kwargs length=5 --core lstm
    python train/ppo.py --recipe tmaze --core dnc --seed 1
    python train/ppo.py --resume runs/TMaze-v0-dnc-1

``--help`` shows the settings. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

from memagents.command_line.train import train

if __name__ == "__main__":
    train("ppo")
