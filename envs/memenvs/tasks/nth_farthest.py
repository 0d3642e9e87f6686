"""Relations between vectors seen one after another: the n-th farthest task of Santoro et al. (2018, NeurIPS)."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import within
from memenvs.compilation import njit
from memenvs.random import advance, fold, integer, permute, uniform

MOST_VECTORS = 16
MOST_WIDTH = 32

PARAMS = np.dtype([("vectors", np.int64), ("width", np.int64)])
# The vectors in the order in which they are shown, padded: a layout for each size would be compiled for anew.
LEVEL = np.dtype(
    [
        ("size", np.int8),
        ("width", np.int8),
        ("reference", np.int8),  # a label: m in the question
        ("rank", np.int8),  # n - 1
        ("farthest", np.int8),  # the label that is asked for
        ("labels", np.int8, (MOST_VECTORS,)),
        ("vectors", np.float32, (MOST_VECTORS, MOST_WIDTH)),
    ]
)
STATE = np.dtype([("key", np.uint64), ("time", np.int32), ("answer", np.int32)])


@njit
def generate(params, key, level):
    level.size, level.width = params.vectors, params.width
    for i in range(params.vectors):
        for j in range(params.width):
            key = advance(key)
            level.vectors[i, j] = np.float32(2.0) * uniform(key) - np.float32(1.0)
    key = advance(permute(key, level.labels, params.vectors))
    level.reference = integer(key, params.vectors)
    level.rank = integer(advance(key), params.vectors)
    level.farthest = find_farthest(level)
    return level.farthest >= 0


@njit
def find_farthest(level):
    """The label of the vector with exactly ``rank`` others farther from the reference; -1 if distances are equal there.

    Components are multiples of 2^-23, so squared distances in double precision are exact.
    """
    reference = 0
    for i in range(level.size):
        if level.labels[i] == level.reference:
            reference = i
    distances = np.zeros(level.size)
    for i in range(level.size):
        for j in range(level.width):
            difference = np.float64(level.vectors[i, j]) - np.float64(level.vectors[reference, j])
            distances[i] += difference * difference
    found, label = 0, -1
    for i in range(level.size):
        if (distances > distances[i]).sum() == level.rank:
            found += 1
            label = level.labels[i]
    return label if found == 1 else -1


@njit
def reset(state, level):
    state.time = 0
    state.answer = -1


@njit
def step(state, level, action):
    state.time += 1
    if state.time < level.size:
        return 0.0, False, False
    state.answer = action
    return 1.0 * (action == level.farthest), True, False


@njit
def observe(state, level, out):
    n, width = level.size, level.width
    out.observation[:] = 0.0
    if state.time >= n:
        return
    for j in range(width):
        out.observation[j] = level.vectors[state.time, j]
    out.observation[width + level.labels[state.time]] = 1.0
    out.observation[width + n + level.reference] = 1.0
    out.observation[width + 2 * n + level.rank] = 1.0


@njit
def oracle(state, level):
    return np.int64(level.farthest) if state.time == level.size - 1 else np.int64(-1)


@njit
def measure(state, level, out):
    out[0] = state.answer == level.farthest


@njit
def digest(level):
    total = np.uint64(0)
    for i in range(level.size):
        total = fold(total, level.labels[i])
        for j in range(level.width):
            total = fold(total, np.int64(np.float64(level.vectors[i, j]) * 2.0**23))
    return fold(fold(total, level.reference), level.rank)


@njit
def sound(params, state, level):
    n = params.vectors
    if level.size != n or level.width != params.width:
        return False
    for i in range(n):
        if not 0 <= level.labels[i] < n:
            return False
        for j in range(params.width):
            if not -1.0 <= level.vectors[i, j] <= 1.0:
                return False
    return (
        0 <= state.time <= n
        and -1 <= state.answer < n
        and 0 <= level.reference < n
        and 0 <= level.rank < n
        and 0 <= level.farthest == find_farthest(level)
    )


def define(vectors: int = 8, width: int = 16) -> Definition:
    """The definition of a task; the parameters are those of :class:`NthFarthest`."""
    vectors = within("vectors", vectors, 2, MOST_VECTORS)
    width = within("width", width, 1, MOST_WIDTH)
    size = width + 3 * vectors
    return Definition(
        name=f"NthFarthest(vectors={vectors}, width={width})",
        params=np.array([(vectors, width)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", np.float32, (size,))]),
        observation_space=Box(-1.0, 1.0, (size,), np.float32),
        action_space=Discrete(vectors),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        metrics=("success",),
        measure=measure,
        digest=digest,
        sound=sound,
        draw=draw,
        text=text,
        frames_per_second=2,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the inputs over time, and the answer, (H, W, 3) uint8."""
    from memenvs.tasks.draw import draw_rows

    n, width, time = int(level["size"]), int(level["width"]), int(state["time"])
    eye, last = np.eye(n), np.arange(n) == n - 1
    blocks = {
        "vectors": (level["vectors"][:n, :width].T + 1) / 2,
        "labels": eye[level["labels"][:n]].T,
        "m": np.repeat(eye[:, [level["reference"]]], n, axis=1),
        "n": np.repeat(eye[:, [level["rank"]]], n, axis=1),
    }
    blocks = {name: np.where(np.arange(n) <= time, values, np.nan) for name, values in blocks.items()}
    blocks["targets"] = np.where(last, eye[:, [level["farthest"]]], np.nan)
    blocks["outputs"] = np.where(last & (time == n), eye[:, [state["answer"]]], np.nan)
    return draw_rows(blocks, time, (480, 480))


def text(state: np.void, level: np.void) -> str:
    """The question, the vectors seen so far with their distances from the reference where that has been seen too."""
    n, width = int(level["size"]), int(level["width"])
    labels, seen = level["labels"][:n].tolist(), min(int(state["time"]) + 1, n)
    reference, rank = int(level["reference"]), int(level["rank"])
    lines = [f"Which vector is number {rank + 1} from the farthest, seen from vector {reference}?"]
    place = labels.index(reference)
    for i in range(seen):
        vector = level["vectors"][i, :width]
        shown = " ".join(f"{value:+.1f}" for value in vector[:8]) + (" …" if width > 8 else "")
        distance = np.linalg.norm(vector - level["vectors"][place, :width])
        lines.append(f"{labels[i]:3d}: {shown}" + (f"   distance {distance:.2f}" if place < seen else ""))
    if state["answer"] >= 0:
        lines.append(f"answer {state['answer']}, right would be {level['farthest']}")
    return "\n".join(lines)


class NthFarthest(SingleEnv):
    """``memenvs/NthFarthest-v0``: remember vectors and compare all their distances from one of them.

    The task of Santoro et al. (2018, arXiv:1806.01822, section 4.1). In each episode ``vectors`` vectors, uniform in
    [−1, 1]^width, have random labels and are shown one a step, in an order that has nothing to do with the labels.
    With each the question is shown: which vector is the n-th farthest from vector m? The answer is given when the last
    vector is seen, as in the paper, so an episode has ``vectors`` steps. Distances are Euclidean. n = 1 asks for the
    farthest; the reference counts too, at distance 0, so n = ``vectors`` asks for m itself. (The authors' published
    code counts from the nearest instead. Since n is uniform, this only gives n another name.)

    - Observation: ``Box`` of float32 (width + 3 · vectors): the vector, its label, m and n, the last three one-hot. The
      observation after the last step is all zero.
    - Action: ``Discrete(vectors)``, a label; without effect before the last vector.
    - Reward: 1 for the right label at the last vector, otherwise 0.
    - End: terminated by the answer.
    - ``info``: ``success``, 1 for the right label.

    The split of a level follows from its vectors, labels and question.

    :param vectors: number of vectors, K in the paper, from 2 to 16
    :param width: components of a vector, from 1 to 32
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedNthFarthest(BatchedEnv):
    """The batched :class:`NthFarthest`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
