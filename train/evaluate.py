"""Evaluate a run's agent beside a random agent, a random walk and the oracle; the same as ``memagents evaluate``.

python train/evaluate.py runs/Underground-v0-dnc-0
python train/evaluate.py runs/Underground-v0-dnc-0 --env-kwargs map=underground distance=2 --video journey.gif
"""

import sys

from memagents.__main__ import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
