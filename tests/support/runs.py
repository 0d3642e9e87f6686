"""What a training came to, to be compared with what another did."""

from memagents.runs import trees
from memagents.runs.progress import read_progress

CLOCKED = ("time/fps", "time/time_elapsed")  # no two runs take the same time


def learned(run):
    """Return what a run has learned and how, but for the time it took."""
    rows = [
        {k: float(v) for k, v in row.items() if v and k not in CLOCKED} for row in read_progress(run / "progress.csv")
    ]
    state = trees.read_tree(run / "checkpoint" / "state.safetensors")
    for episode in state["episodes"]:
        episode.pop("t", None)
    return rows, state
