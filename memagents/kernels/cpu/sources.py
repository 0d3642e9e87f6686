"""The hash of the kernels' sources, by which compiled code is found again.

Numba's cache looks at the file of the compiled function only, not at what it calls.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def hash_of(folder: Path) -> int:
    """Return a hash of the names and contents of all Python files below a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        name, content = file.relative_to(folder).as_posix().encode(), file.read_bytes()
        digest.update(b"%d %s %d " % (len(name), name, len(content)) + content)
    return int.from_bytes(digest.digest()[:7], "little")


SOURCES = hash_of(Path(__file__).parents[1])
"""A default argument of every function that Python calls, so that a change anywhere in the kernels compiles it anew."""
