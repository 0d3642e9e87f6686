"""Put the policy of a trained agent into one of another memory; the same as ``memagents train distill``.

    python train/distill.py --teacher runs/NAME --core gru

The environment is that of the teacher's training, unless another is given. ``--help`` shows the settings.
"""

import sys

from memagents.__main__ import main

if __name__ == "__main__":
    main(["train", "distill", *sys.argv[1:]])
