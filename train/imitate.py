"""Train an agent with a memory to imitate the oracle of its environment; the same as ``memagents train imitate``.

    python train/imitate.py --env memenvs/Underground-v0 --core dnc --core-kwargs slots=32 width=24
    python train/imitate.py --recipe copy

``--help`` shows the settings. A run is a folder; ``train/evaluate.py`` evaluates it anywhere else.
"""

import sys

from memagents.__main__ import main

if __name__ == "__main__":
    main(["train", "imitate", *sys.argv[1:]])
