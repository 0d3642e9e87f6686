"""Pictures of an episode in as few bytes as are left for them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

_SAMPLE = 8  # pictures by which the size of all is estimated


class Way(NamedTuple):
    """A way to keep pictures.

    :param side: of the longer side in pixels, at most; 0: as it was
    :param quality: of WebP; 0: lossless; None: the PNG file as it is
    """

    side: int
    quality: int | None


WAYS = (Way(0, None), Way(0, 0), Way(640, 80), Way(480, 70), Way(320, 60), Way(240, 40), Way(160, 30))


class Film(NamedTuple):
    """The pictures of an episode.

    :param type: of the files
    :param files: those that differ
    :param order: which of them is shown at each step
    """

    type: str
    files: list[bytes]
    order: list[int]


def films(episodes: Sequence[Sequence[bytes]], budget: int) -> tuple[list[Film | None], str]:
    """Keep the pictures of episodes as well as they fit.

    :param episodes: PNG files of each step of each episode; nothing where there are none
    :param budget: bytes of all together
    :return: the pictures, and a sentence where they are not what they were
    """
    distinct = [list(dict.fromkeys(pictures)) for pictures in episodes]
    every = [picture for pictures in distinct for picture in pictures]
    if not every:
        return [None] * len(episodes), ""
    whole = sum(map(len, every))
    sample = every[:: max(1, len(every) // _SAMPLE)]
    for number, way in enumerate(WAYS):
        shrinks = sum(len(encoded(picture, way)) for picture in sample) / sum(map(len, sample))
        if shrinks * whole > 1.1 * budget:
            continue
        with ThreadPoolExecutor() as threads:  # Pillow lets go of the interpreter
            files = [list(threads.map(partial(encoded, way=way), bar_of(pictures))) for pictures in distinct]
        if sum(len(file) for of_episode in files for file in of_episode) > budget:
            continue
        kind = "image/png" if way.quality is None else "image/webp"
        numbers = [{picture: number for number, picture in enumerate(pictures)} for pictures in distinct]
        found = [
            Film(kind, kept, [number[picture] for picture in episode]) if episode else None
            for episode, number, kept in zip(episodes, numbers, files, strict=True)
        ]
        said = f"Pictures are kept at {way.side} pixels and less well than they were, so that the page stays small."
        return found, said if number > 1 else ""
    return [None] * len(episodes), f"The {len(every):,} pictures are left out: the page would become too large."


def bar_of(pictures: list[bytes]) -> Iterable[bytes]:
    """Return the pictures, with a bar on a terminal: many take a minute."""
    return tqdm(pictures, unit=" pictures", leave=False, disable=None if len(pictures) > 100 else True)


def encoded(picture: bytes, way: Way) -> bytes:
    """Return a PNG file as it is to be kept."""
    if way.quality is None:
        return picture
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if way.side and max(image.size) > way.side:
        image.thumbnail((way.side, way.side))
    file = io.BytesIO()
    image.save(file, format="WEBP", lossless=not way.quality, quality=way.quality or 50, method=2)
    return file.getvalue()
