"""What the page knows of recordings: an index of plain values, and blobs of bytes beside it.

Letters in shapes: T steps that are shown, K numbers of a step.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from memagents.cores.pair import CRITIC
from memagents.experiments.catalogue import core_beside
from memagents.inspection.links import LINK, LINK_AXES, linked, links_of
from memagents.inspection.page.arrays import F32, U8, U16, Packed, pack
from memagents.inspection.page.layer import PAST_STEP, Layer, check_layers
from memagents.inspection.page.pictures import Film, films
from memagents.inspection.recording import OBSERVATION, TRACE, RecordedEpisode, Recording

MAX_NUMBERS = 2**24  # of an array in an episode: more would fill the page alone
NEIGHBOURS = 8  # nearest ones of an action that are shown
_ROWS, _FOUND = f"{TRACE}.neighbour_rows", f"{TRACE}.neighbour_found"  # the latter: how many there are of an action
_LINES = (
    *("rewards", "decisions", "values", "entropy", "actions"),
    *("probabilities", "action_values", "action_mean", "action_std"),
)
_PRODUCTS = ("write_weights", "read_weights", "erase", "add", "cleared")  # of which long products are formed
_HIDDEN = ("outputs", "log_probs")  # which nothing on the page shows
_BLOB = 4 / 3  # characters of base64 that a byte takes
_LONGEST_TEXT = 4000  # characters of what an environment says at a step


class Budget(NamedTuple):
    """Characters that a page may have: 200 steps stay under 3 MB, 2,000 and more under 15 MB.

    :param least: of a page of up to 200 steps
    :param step: for each further one
    :param most: of any page
    :param arrays: share of all but the pictures, which have what is left
    :param layers: share of layers, among these
    :param texts: share of what environments say, among these
    """

    least: int = 2_700_000
    step: int = 6_400
    most: int = 14_200_000
    arrays: float = 0.6
    layers: float = 0.3
    texts: float = 0.15

    def of(self, steps: int) -> int:
        """Return the characters of a page of so many steps."""
        return min(self.most, self.least + self.step * max(0, steps - 200))


class Payload(NamedTuple):
    """The content of a page.

    :param contents: plain values that tell of everything, and of where in which blob it is
    :param blobs: bytes by name
    """

    contents: dict[str, Any]
    blobs: dict[str, bytes]


class _Shown(NamedTuple):
    """An episode as far as it is shown."""

    recording: int
    number: int
    episode: RecordedEpisode
    steps: int
    arrays: dict[str, np.ndarray]  # (T, ...)
    pictures: list[bytes]
    texts: list[str]


def make_payload(
    recordings: Sequence[Recording], layers: Sequence[Layer] = (), max_steps: int = 2000, budget: Budget | None = None
) -> Payload:
    """Put together what a page shows of one or two recordings.

    :param layers: of the first one
    :param max_steps: of an episode at most
    :param budget: of the page
    :raises ValueError: for no recordings or more than two, or layers that do not fit
    """
    if not 1 <= len(recordings) <= 2:
        raise ValueError(f"recordings must be one or two, not {len(recordings)}")
    check_layers(list(layers), [episode.length for episode in recordings[0].episodes])
    budget = Budget() if budget is None else budget
    notes: list[str] = []
    count = min(len(recording.episodes) for recording in recordings)
    if any(len(recording.episodes) != count for recording in recordings):
        notes.append(f"Only the first {count} episodes are shown: the other recording has no more.")
    shown = [
        _shown(number, k, recording.episodes[k], max_steps, notes)
        for number, recording in enumerate(recordings)
        for k in range(count)
    ]
    room = int(budget.of(sum(one.steps for one in shown)) / _BLOB)
    packed = [{name: pack(values, _kind(name, values)) for name, values in one.arrays.items()} for one in shown]
    own = _fitting([_packed_layers(one, layers) for one in shown], int(budget.layers * room), notes)
    said = [_compressed(one.texts) for one in shown]
    if sum(map(len, said)) > budget.texts * room:
        said = [b""] * len(said)
        notes.append("Left out, so that the page stays small: what the environment says.")
    fixed = sum(len(matrix.data) for of_episode in own for _, matrix in of_episode) + sum(map(len, said))
    _leave_out(packed, int(budget.arrays * room) - fixed, notes)
    _say_gaps(packed, notes)
    used = fixed + sum(len(one.data) for arrays in packed for one in arrays.values())
    kept, note = films([one.pictures for one in shown], room - used)
    notes += [note] if note else []
    notes += _say_unlike(shown) if len(recordings) == 2 else []
    index: dict[str, Any] = {"recordings": [_described(recording) for recording in recordings]}
    blobs: dict[str, bytes] = {}
    for one, arrays, film, of_episode, texts in zip(shown, packed, kept, own, said, strict=True):
        axes = {LINK: LINK_AXES, CRITIC + LINK: LINK_AXES, **recordings[one.recording].description.get("axes", {})}
        entry = _entry(one, arrays, film, of_episode, axes, blobs)
        if texts:
            entry["texts"] = f"texts-{one.recording}-{one.number}"
            blobs[entry["texts"]] = texts
        index["recordings"][one.recording]["episodes"].append(entry)
    return Payload({**index, "notes": list(dict.fromkeys(notes))}, blobs)


# --- reading --------------------------------------------------------------------------------------------------------


def _shown(recording: int, number: int, episode: RecordedEpisode, max_steps: int, notes: list[str]) -> _Shown:
    """Read an episode's first steps, and nothing beyond them."""
    steps = min(episode.length, max_steps)
    if steps < episode.length:
        notes.append(f"Only the first {steps:,} steps of an episode are shown; --max-steps sets how many.")
    parts: dict[str, list[np.ndarray]] = {}
    pictures: list[bytes] = []
    texts: list[str] = []
    refused: set[str] = set()
    for window in episode.windows():
        wanted = steps - window.first
        if wanted <= 0:
            break
        for name, values in window.steps.items():
            size = int(np.prod(values.shape[1:]))
            if name in _HIDDEN or not size:
                continue
            if size * steps > MAX_NUMBERS:
                refused.add(f"{name.removeprefix(f'{TRACE}.')} ({' × '.join(map(str, values.shape[1:]))} a step)")
                continue
            if name == _ROWS and values.ndim == 3:
                parts.setdefault(_FOUND, []).append((values[:wanted] >= 0).sum(-1))
            parts.setdefault(name, []).append(_neighbours(name, values[:wanted]))
        pictures += window.pictures[:wanted]
        texts += [text[:_LONGEST_TEXT] for text in window.texts[:wanted]]
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    for name, write_weights in linked(arrays).items():
        slots = write_weights.shape[1]
        if slots * slots * steps > MAX_NUMBERS:
            refused.add(f"{name.removeprefix(f'{TRACE}.')} ({slots} × {slots} a step)")
        else:
            arrays[name] = links_of(write_weights)
    if refused:
        notes.append(f"Left out, since it would fill the page: {', '.join(sorted(refused))}.")
    return _Shown(recording, number, episode, steps, arrays, pictures, texts)


def _compressed(texts: list[str]) -> bytes:
    """Return texts as JSON, those that differ and which of them each step has; nothing where there are none."""
    if not any(texts):
        return b""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    content = {"texts": list(numbers), "order": [numbers[text] for text in texts]}
    return zlib.compress(json.dumps(content).encode())


def _neighbours(name: str, values: np.ndarray) -> np.ndarray:
    """Return the nearest neighbours (T, A, P) alone, of anything else all."""
    near = name.startswith(f"{TRACE}.neighbour_") and values.ndim == 3
    return values[..., :NEIGHBOURS] if near else values


def _kind(name: str, values: np.ndarray) -> str:
    """Return how an array is packed: what is read as a number exactly, what is seen as a colour in bytes."""
    plain = name.removeprefix(f"{TRACE}.").removeprefix("critic_")
    if name in _LINES or plain.startswith("neighbour_") or (name.startswith(TRACE) and values[0].size <= 2):
        return F32
    return U16 if plain in _PRODUCTS else U8


def _packed_layers(shown: _Shown, layers: Sequence[Layer]) -> list[tuple[Layer, Packed]]:
    """Pack the layers of an episode, as far as its steps are shown."""
    found = []
    for layer in layers:
        if shown.recording == 0 and layer.episode == shown.number:
            matrix = np.asarray(layer.matrix)[: shown.steps]
            found.append((layer, pack(matrix[:, : shown.steps] if layer.axis == PAST_STEP else matrix, U8)))
    return found


def _fitting(layers: list[list[tuple[Layer, Packed]]], room: int, notes: list[str]) -> list[list[tuple[Layer, Packed]]]:
    """Leave out the largest layers until the others fit."""
    sizes = sorted((len(packed.data), layer.name) for of_episode in layers for layer, packed in of_episode)
    left = set()
    while sizes and sum(size for size, _ in sizes) > room:
        left.add(sizes[-1][1])
        sizes = [(size, name) for size, name in sizes if name not in left]
    if left:
        notes.append(f"Left out, so that the page stays small: {', '.join(sorted(left))}.")
    return [[one for one in of_episode if one[0].name not in left] for of_episode in layers]


# --- what is told ---------------------------------------------------------------------------------------------------


def _leave_out(packed: Sequence[dict[str, Packed]], room: int, notes: list[str]) -> None:
    """Leave out the largest arrays, in all episodes, until the others fit."""
    sizes: dict[str, int] = {}
    for arrays in packed:
        for name, one in arrays.items():
            sizes[name] = sizes.get(name, 0) + len(one.data)
    left = []
    for name in sorted((name for name in sizes if name not in _LINES), key=lambda name: -sizes[name]):
        if sum(sizes.values()) <= room:
            break
        del sizes[name]
        left.append(name.removeprefix(f"{TRACE}."))
        for arrays in packed:
            arrays.pop(name, None)
    if left:
        notes.append(f"Left out, so that the page stays small: {', '.join(sorted(left))}.")


def _say_gaps(packed: Sequence[dict[str, Packed]], notes: list[str]) -> None:
    gaps = sorted({name.removeprefix(f"{TRACE}.") for arrays in packed for name, one in arrays.items() if one.gaps})
    if gaps:
        notes.append(f"Some numbers of {', '.join(gaps)} are infinite or no numbers; they are shown as gaps.")


def _say_unlike(shown: Sequence[_Shown]) -> list[str]:
    """Say which episodes of two recordings do not begin alike."""
    half = len(shown) // 2
    unlike = [
        str(one.number)
        for one, other in zip(shown[:half], shown[half:], strict=True)
        if any(
            name.split(".")[0] == OBSERVATION
            and not (name in other.arrays and np.array_equal(values[0], other.arrays[name][0], equal_nan=True))
            for name, values in one.arrays.items()
        )
    ]
    if not unlike:
        return []
    return [f"Not the same episode in both: {', '.join(unlike)} begin with different observations."]


def _described(recording: Recording) -> dict[str, Any]:
    """Return what the page tells of a recording as a whole."""
    description = recording.description
    about = description.get("about") or {}
    names, sizes = about.get("action_names"), about.get("action_sizes")
    algorithm = str(description.get("algorithm", ""))
    return {
        "name": str(about.get("run") or recording.folder.name),
        "unfinished": str(about.get("unfinished") or ""),
        "env": str(about.get("env") or ""),
        "env_kwargs": {str(name): str(value) for name, value in (about.get("env_kwargs") or {}).items()},
        "algorithm": algorithm,
        "core": core_beside(algorithm, str(description.get("core", ""))),
        "deterministic": bool(description.get("deterministic", True)),
        "action_names": [str(name) for name in names] if isinstance(names, list | tuple) else [],
        "action_sizes": [int(size) for size in sizes] if isinstance(sizes, list | tuple) else [],
        "episodes": [],
    }


def _entry(
    shown: _Shown,
    arrays: dict[str, Packed],
    film: Film | None,
    layers: Sequence[tuple[Layer, Packed]],
    axes: dict[str, Sequence[str]],
    blobs: dict[str, bytes],
) -> dict[str, Any]:
    """Return what the page tells of an episode, and put its bytes into blobs."""
    key = f"{shown.recording}-{shown.number}"
    blob = bytearray()
    told: dict[str, Any] = {}
    for name, packed in arrays.items():
        trace = name.removeprefix(f"{TRACE}.")
        named = [str(axis) for axis in axes.get(trace, ())] if name != trace else []
        told[name] = {**packed.described(), "axes": named, "at": len(blob), "size": len(packed.data)}
        blob += packed.data
    found = []
    for layer, packed in layers:
        plain = {"name": layer.name, "axis": layer.axis, "explanation": layer.explanation}
        found.append({**packed.described(), **plain, "at": len(blob), "size": len(packed.data)})
        blob += packed.data
    blobs[f"arrays-{key}"] = bytes(blob)
    entry: dict[str, Any] = {
        "blob": f"arrays-{key}",
        "length": shown.episode.length,
        "shown": shown.steps,
        "return": _number(shown.episode.total),
        "info": {str(name): _number(value) for name, value in shown.episode.info.items()},
        "arrays": told,
        "layers": found,
        "texts": None,
        "film": None,
    }
    if film is not None:
        blobs[f"film-{key}"] = b"".join(film.files)
        ends = np.cumsum([len(file) for file in film.files]).tolist()
        entry["film"] = {"blob": f"film-{key}", "type": film.type, "ends": ends, "order": film.order}
    return entry


def _number(value: Any) -> Any:
    """Return a plain value, a word where it is no finite number."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
