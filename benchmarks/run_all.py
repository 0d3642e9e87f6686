"""Every benchmark in turn, each in a process of its own; their output is written into docs/benchmarks.md.

python benchmarks/run_all.py                        # all of them: most of an hour
python benchmarks/run_all.py --only dnc ntm         # some; the tables of the others stay
python benchmarks/run_all.py --device cuda          # those that run on a GPU
"""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
import tyro

from memagents.experiments.documents import write_between_marks

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
PACKAGES = ("torch", "numba", "gymnasium", "minigrid", "stable-baselines3")
CPU = {
    "environments": (),
    "popgym_ids": (),
    "ppo_speed": (),
    "growth": (),
    "agents": ("--envs", "64", "--threads", "1"),
    "dnc": ("--seconds", "15"),
    "ntm": ("--seconds", "15"),
    "rmc": ("--seconds", "12"),
    "recurrent_cores": (),
    "torch_compile": (),
    "sparse": ("--seconds", "10"),
    "nec": ("--seconds", "6", "--writes", "300000"),
    "recurrent_ppo": ("--seeds", "3", "--steps", "60000", "--figure", str(DOCUMENT.with_name("cartpole.png"))),
}
GPU = {
    "agents": ("--envs", "4096", "--device", "cuda", "--cuda-graphs"),
    "gpu_kernels": (),
}


@dataclass
class AllBenchmarks:
    """Settings: benchmarks to run, and the document to write.

    :param device: ``cpu`` or ``cuda``
    :param only: names of benchmarks; by default all of the device
    :param document: Markdown file that the tables are written into
    """

    device: str = "cpu"
    only: tuple[str, ...] = ()
    document: Path = DOCUMENT


def hardware(device: str) -> str:
    """Return the day, the processor or GPU, and the versions of the packages."""
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"{date.today()}, {name}, Python {platform.python_version()}, {versions}"


def processor() -> str:
    """Return the processor as Linux names it, and its number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(names)} cores"


def run(name: str, arguments: tuple[str, ...]) -> list[str] | None:
    """Run a benchmark; return the lines that it prints, or None if it fails."""
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(process.stdout, flush=True)
    return None if process.returncode else [line.rstrip() for line in process.stdout.strip().splitlines()]


def main(settings: AllBenchmarks) -> int:
    """Run them and return how many failed, which is the exit status; the tables of those stay as they were."""
    benchmarks = GPU if settings.device == "cuda" else CPU
    unknown = set(settings.only) - set(benchmarks)
    if unknown:
        raise ValueError(f"only must be of {', '.join(benchmarks)}, not {', '.join(sorted(unknown))}")
    if settings.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device here: nothing is measured")
        return 0
    failed = 0
    for name in settings.only or benchmarks:
        print(f"\n== {name}\n", flush=True)
        lines = run(name, benchmarks[name])
        failed += lines is None
        if lines is not None:
            mark = name if settings.device == "cpu" else f"{name} on a GPU"
            write_between_marks(settings.document, mark, [f"*{hardware(settings.device)}*", "", *lines, ""])
    return failed


if __name__ == "__main__":
    sys.exit(main(tyro.cli(AllBenchmarks, description=__doc__)))
