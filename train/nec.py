"""Train an agent by Neural Episodic Control; the same as ``memagents train nec``.

    python train/nec.py --env CartPole-v1 --total-timesteps 10000
    python train/nec.py --env memenvs/Maze-v0 --core gru --core-kwargs hidden_size=64
    python train/nec.py --recipe nec_underground

``--help`` shows the settings. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import sys

from memagents.__main__ import main

if __name__ == "__main__":
    main(["train", "nec", *sys.argv[1:]])
