"""Files of others that users pass for run folders, known by how they begin; none is ever unpickled."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

OTHERS = (
    "memagents reads only its own run folders, and unpickles nothing: see docs/from_sb3_contrib.md, also for what "
    "memagents import makes of an agent of sb3-contrib"
)


_SB3 = {"_stable_baselines3_version", "policy.pth"}  # one of them is in each of its archives


def is_sb3(path: Path) -> bool:
    """Return whether a file is an archive of Stable-Baselines3's or sb3-contrib's."""
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return not _SB3.isdisjoint(archive.namelist())
    return False


def origin(path: Path) -> str | None:
    """Say what a file of Python's own format is; None for any other file, or none."""
    with contextlib.suppress(OSError, zipfile.BadZipFile):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if not _SB3.isdisjoint(names):
                return "an agent that Stable-Baselines3 or sb3-contrib saved"
            if any(name.endswith("data.pkl") for name in names):
                return "a file of torch.save, which is a pickle in a zip archive"
            return "a zip archive"
        with path.open("rb") as file:
            begin = file.read(2)
        if begin[:1] == b"\x80" and begin[1:] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            return "a pickle, which could run anything"
    return None
