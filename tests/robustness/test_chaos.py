"""A training killed a few times; ``make chaos`` does it some hundred times."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def printed(*words):
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kills_lose_nothing():
    told = printed("tests.robustness.chaos", "--kills", "12")
    assert "left over: nothing" in told and "bit for bit what they are without a kill" in told
