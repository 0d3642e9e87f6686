"""Recordings made by hand, whose right answers are known."""

import io

import numpy as np
from PIL import Image

from memagents.inspection import Recording
from memagents.inspection.recording import DESCRIPTION_FILE, write_window
from memagents.runs import files

STEPS, SLOTS, WIDTH, HEADS = 12, 4, 2, 2
AXES = {"read_weights": ["head", "slot"], "write_weights": ["slot"], "erase": ["number"], "add": ["number"]}


def picture(step, side=24, noise=None):
    """A PNG of one colour for each step, or of noise."""
    pixels = np.full((side, side, 3), (20 * step % 256, 200, 100), np.uint8)
    if noise is not None:
        pixels = noise.integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def planted_trace():
    """Step 3 writes slot 1, a quarter of which step 7 leaves beside its own; step 9 reads it by head 0."""
    write, read = np.zeros((STEPS, SLOTS)), np.zeros((STEPS, HEADS, SLOTS))
    write[3, 1] = write[7, 1] = write[5, 2] = 1
    read[9, 0, 1] = read[10, 1, 2] = read[11, 0, 1] = 1
    add = np.ones((STEPS, WIDTH))
    add[3] = 2, 6
    add[7] = 1, 1
    erase = np.full((STEPS, WIDTH), 0.75)
    return {"read_weights": read, "write_weights": write, "erase": erase, "add": add}


def steps_of(trace, steps=STEPS, actions=3, seed=0):
    """Arrays of an episode with this trace."""
    drawn = np.random.default_rng(seed)
    logits = drawn.random((steps, actions)) + 0.1
    probabilities = logits / logits.sum(1, keepdims=True)
    return {
        "observation": drawn.integers(0, 2, (steps, 5)).astype(np.uint8),
        "actions": probabilities.argmax(1),
        "rewards": np.eye(steps, dtype=np.float32)[-1],
        "decisions": np.ones(steps, bool),
        "values": drawn.random(steps).astype(np.float32),
        "entropy": drawn.random(steps).astype(np.float32),
        "probabilities": probabilities.astype(np.float32),
        **{f"trace.{name}": values.astype(np.float32) for name, values in trace.items()},
    }


def written(
    folder, episodes, pictures=None, texts=None, axes=AXES, about=None, length=None, window=128, names=("a", "b", "c")
):
    """A recording of these episodes, opened.

    :param episodes: arrays (T, ...) by name of each
    :param pictures: PNG files of each step, of every episode
    :param texts: likewise
    :param length: steps that it claims to have, those beyond the arrays in a window that is not there
    """
    told, windows = [], 0
    for steps in episodes:
        count, pieces = len(steps["rewards"]), []
        for first in range(0, count, window):
            part = slice(first, first + window)
            arrays = {name: np.ascontiguousarray(values[part]) for name, values in steps.items()}
            beside = ([noted[part]] if noted else [] for noted in (pictures, texts))
            write_window(folder, windows, arrays, [], *beside)
            pieces.append([windows, 0, 0, len(arrays["rewards"])])
            windows += 1
        if length:
            pieces.append([windows, 0, 0, length - count])
        total, info = float(steps["rewards"].sum()), {"success": 1.0}
        told.append({"length": length or count, "return": total, "info": info, "pieces": pieces})
    files.write_json(
        folder / DESCRIPTION_FILE,
        {
            "format": files.FORMAT_VERSION,
            "algorithm": "RecurrentPPO",
            "core": "DNC",
            "about": {
                "run": "planted",
                "env": "Hall-v0",
                "action_names": list(names),
                "action_sizes": [3],
                **(about or {}),
            },
            "deterministic": True,
            "seed": 0,
            "episodes": told,
            "axes": axes,
            "replay_error": 0.0,
        },
    )
    return Recording.open(folder)


def planted(folder, **kwargs):
    """The recording of the planted trace, with pictures."""
    kwargs.setdefault("pictures", [picture(step) for step in range(STEPS)])
    return written(folder, [steps_of(planted_trace())], **kwargs)
