"""Scripts of ``train/`` and ``benchmarks/`` as their tests have them."""

import runpy
import sys
from pathlib import Path

TRAIN = Path(__file__).parents[2] / "train"


def names_in(script, folder=TRAIN):
    """Return what a script defines, by name; it imports what stands beside it, as when it is run."""
    sys.path.insert(0, str(folder))
    try:
        return runpy.run_path(str(folder / script))
    finally:
        sys.path.remove(str(folder))
