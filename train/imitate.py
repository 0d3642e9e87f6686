"""Train an agent with a memory to imitate the oracle of its environment; the same as ``memagents train imitate``.

    python train/imitate.py --env memenvs/Underground-v0 --core dnc --core-kwargs slots=32 width=24
    python train/imitate.py --recipe copy

``--help`` shows the settings. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

from memagents.command_line.train import train

if __name__ == "__main__":
    train("imitate")
