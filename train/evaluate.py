"""Evaluate a run's agent beside a random agent, a random walk and the oracle; the same as ``memagents evaluate``.

python train/evaluate.py runs/Underground-v0-dnc-0
python train/evaluate.py runs/Underground-v0-dnc-0 --env-kwargs map=underground distance=2 --video journey.gif
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve the environments

from memagents.command_line.evaluate import main

if __name__ == "__main__":
    main()
