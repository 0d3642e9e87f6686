"""Train an agent by Model-Free Episodic Control, the table without gradients; the same as ``memagents train mfec``.

    python train/mfec.py --env CartPole-v1 --total-timesteps 10000
    python train/mfec.py --env memenvs/Maze-v0 --env-kwargs size=7 fixed=0 trials=1

``--help`` shows the settings. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import sys

from memagents.__main__ import main

if __name__ == "__main__":
    main(["train", "mfec", *sys.argv[1:]])
