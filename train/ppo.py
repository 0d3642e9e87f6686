"""Train an agent with a memory by proximal policy optimisation; the same as ``memagents train ppo``.

    python train/ppo.py --env memenvs/TMaze-v0 --env-kwargs length=5 --core lstm
    python train/ppo.py --recipe tmaze --core dnc --seed 1
    python train/ppo.py --resume runs/TMaze-v0-dnc-1

``--help`` shows the settings. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import sys

from memagents.__main__ import main

if __name__ == "__main__":
    main(["train", "ppo", *sys.argv[1:]])
