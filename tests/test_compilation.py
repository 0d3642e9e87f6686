"""Kernels are compiled once, and found again by the next process."""

import os
import subprocess
import sys

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from mine import plus
print(plus(1), sum(plus.stats.cache_hits.values()))
"""


def test_machine_code_is_found_again_and_made_anew_where_it_is_damaged(tmp_path):
    (tmp_path / "mine.py").write_text("from memagents.compilation import njit\n@njit\ndef plus(x):\n    return x + 1\n")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run():
        command = [sys.executable, "-c", CODE, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip(), "holds a damaged file" in done.stderr

    assert [run(), run()] == [("2 0", False), ("2 1", False)]
    for path in (tmp_path / "cache").rglob("mine.plus*"):
        path.write_bytes(b"no pickle")
    assert [run(), run()] == [("2 0", True), ("2 1", False)]
