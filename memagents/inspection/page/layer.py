"""Heat maps over the steps of an episode that others than the recorder add to the page."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PAST_STEP = "past step"  # the second axis of a layer that tells of earlier steps


class Layer(NamedTuple):
    """A heat map over the steps of an episode, such as the effects of an ablation.

    :param name: its heading
    :param episode: its number in the first recording
    :param matrix: (T, K) numbers of the first T steps; NaN for nothing
    :param axis: what the second axis counts, such as ``"slot"``; with ``"past step"`` the matrix is (T, T), and the row
        of the shown step also stands under the film
    :param explanation: one sentence
    """

    name: str
    episode: int
    matrix: np.ndarray
    axis: str
    explanation: str


def check_layers(layers: list[Layer], lengths: list[int]) -> None:
    """Refuse layers that do not fit a recording.

    :param lengths: steps of each of its episodes
    :raises ValueError: for an episode that is not there, or a matrix of another shape
    """
    for layer in layers:
        if not 0 <= layer.episode < len(lengths):
            raise ValueError(f"layer {layer.name!r} is of episode {layer.episode}; there are 0 to {len(lengths) - 1}")
        shape, steps = np.shape(layer.matrix), lengths[layer.episode]
        square = layer.axis != PAST_STEP or shape[0] == shape[-1]
        if len(shape) != 2 or not 0 < shape[0] <= steps or not shape[1] or not square:
            wanted = "(T, T)" if layer.axis == PAST_STEP else "(T, K)"
            raise ValueError(f"layer {layer.name!r} must be {wanted} with T from 1 to {steps}, not {shape}")
