"""Every benchmark in turn, each in a process of its own; what they print is the result.

python benchmarks/run_all.py --device cuda
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

HERE = Path(__file__).parent
ON_THE_CPU = ("environments", "dnc", "sparse", "nec", "recurrent_ppo")
ON_A_DEVICE = ("agents",)


@dataclass
class Settings:
    """Where to run.

    :param device: given to the benchmarks that can run elsewhere than on the CPU
    """

    device: str = "cpu"


def main(settings: Settings) -> int:
    """Run them all; the exit status is the number of those that failed."""
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"torch finds no {settings.device} here: nothing is measured")
        return 0
    failed = 0
    for name in (*ON_A_DEVICE, *(ON_THE_CPU if settings.device == "cpu" else ())):
        print(f"\n== {name}", flush=True)
        arguments = ["--device", settings.device] if name in ON_A_DEVICE else []
        failed += subprocess.run([sys.executable, str(HERE / f"{name}.py"), *arguments]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Settings)))
