"""Show what the memory of a run's agent does, on one page; the same as ``memagents inspect``.

python train/inspect_memory.py runs/Underground-v0-dnc-0
python train/inspect_memory.py runs/Underground-v0-dnc-0 --against runs/Underground-v0-lstm-0 --episodes 5
"""

import sys

from memagents.__main__ import main

if __name__ == "__main__":
    main(["inspect", *sys.argv[1:]])
