"""From observations as the environment gives them to the numbers a network takes."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn

from memagents.checks import warn_user
from memagents.environments.conditioning import CONDITION_ENTRIES
from memagents.policies.picture_encoders import SMALLEST_PICTURE, PictureEncoder
from memagents.policies.symbol_encoders import GridEncoder, WordsEncoder, is_grid, is_words

Observations = Tensor | dict[str, Tensor]


def map_observations(function: Callable[[Any], Any], observations: Any) -> Any:
    """Apply ``function`` to observations, entry by entry where they are a dict."""
    if isinstance(observations, dict):
        return {name: function(values) for name, values in observations.items()}
    return function(observations)


def bytes_of(values: Tensor) -> Tensor:
    """The bytes (..., n) of numbers (..., k), in memory one after the other."""
    values = values.contiguous()
    if values.stride(-1) != 1:  # of a single number, whose stride may be any
        values = values.clone(memory_format=torch.contiguous_format)
    return values.view(torch.uint8)


def stack_observations(observations: Sequence[Any]) -> Any:
    """N single observations as arrays (N, ...), entry by entry where they are dicts."""
    if isinstance(observations[0], dict):
        return {name: np.stack([one[name] for one in observations]) for name in observations[0]}
    return np.stack(observations)


def stack_steps(steps: Sequence[Observations]) -> Observations:
    """The observations of T steps, tensors (B, ...) or dicts of them, as (T, B, ...)."""
    if isinstance(steps[0], dict):
        return {name: torch.stack([step[name] for step in steps]) for name in steps[0]}  # type: ignore[index]
    return torch.stack(list(steps))  # type: ignore[arg-type]


def any_entry(observations: Observations) -> Tensor:
    """The observations themselves, or an entry where they are a dict: its leading dimensions are those of all."""
    return next(iter(observations.values())) if isinstance(observations, dict) else observations


class Preprocessor:
    """Preprocess observations as SB3's ``preprocess_obs`` does: one-hot codes, images in [0, 1], floats.

    Unlike it, codes may begin elsewhere than at 0, those of a MultiDiscrete space are made in one pass, and what the
    space wants is found out once and not in every step.

    :param space: of the observations
    :param normalize_images: divide images by 255
    :param codes: leave the cells of grids and the words of sentences as they are, as encoders with ``takes_codes``
        want: everywhere, nowhere, or in the entries of these names
    """

    def __init__(self, space: spaces.Space, normalize_images: bool = True, codes: bool | Collection[str] = False):
        entries: dict[str, spaces.Space] = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        self._single = not isinstance(space, spaces.Dict)
        asked = {name: codes if isinstance(codes, bool) else name in codes for name in entries}
        self._entries = {name: _numbers_of(entry, normalize_images, asked[name]) for name, entry in entries.items()}

    def __call__(self, observations: Observations, dtype: torch.dtype = torch.float32) -> Observations:
        """(B, ...) as the space gives them, or a dict of such, as numbers of ``dtype``."""
        if self._single:
            return self._entries[""](observations, dtype)
        assert isinstance(observations, dict)
        return {name: numbers(observations[name], dtype) for name, numbers in self._entries.items()}


def _numbers_of(space: spaces.Space, normalize_images: bool, codes: bool) -> Callable[[Any, torch.dtype], Tensor]:
    if codes and (is_grid(space) or is_words(space)):
        return _as_they_are
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        counts = space.n if isinstance(space, spaces.Discrete) else space.nvec
        starts, sizes = (np.ravel(values).tolist() for values in (space.start, counts))
        return functools.partial(_one_hot, starts, sizes)
    return functools.partial(_floats, 255 if normalize_images and is_image_space(space) else 1)


def _as_they_are(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values


def _floats(divisor: int, values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype) if divisor == 1 else values.to(dtype) / divisor


def _one_hot(starts: list[int], sizes: list[int], values: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, ...) integers of a discrete space, the k-th from ``starts[k]``, as (B, sum(sizes)) joined one-hot vectors."""
    offsets = tuple(place - start for place, start in zip(accumulate([0, *sizes[:-1]]), starts, strict=True))
    rows = values.shape[0]
    # An exported graph has constants of its own, and what is kept must not be of its kind.
    integers = torch.tensor if torch.compiler.is_exporting() else _integers
    places = values.reshape(rows, -1).long() + integers(offsets, device=values.device)
    return torch.zeros(rows, sum(sizes), dtype=dtype, device=values.device).scatter_(1, places, 1.0)


@functools.cache
def _integers(values: tuple[int, ...], device: torch.device) -> Tensor:
    """On the device for good: to copy them there would have to be waited for, which a CUDA graph cannot."""
    return torch.tensor(values, device=device)


class FlatEncoder(BaseFeaturesExtractor):
    """Flattening; unlike SB3's, it counts one-hot codes right when the space's numbers are bytes.

    Of an observation that is empty a constant is left, for an agent that sees nothing.

    :param observation_space: anything but a Dict
    """

    def __init__(self, observation_space: spaces.Space):
        super().__init__(observation_space, max(1, encoded_size(observation_space)))

    def forward(self, observations: Tensor) -> Tensor:
        """(B, ...) to (B, features)."""
        return joined([observations])


class DictEncoder(BaseFeaturesExtractor):
    """Every entry of a Dict by its own encoder, joined, the previous action and reward last; empty entries add nothing.

    :param observation_space: a Dict
    :param encoder: for entries of three dimensions, one of :data:`ENCODERS`, or such words by the names of entries, of
        which :data:`LEFT_OUT` takes no part
    :raises ValueError: for a name that is no entry's, or as :func:`encoder_for`
    """

    def __init__(self, observation_space: spaces.Dict, encoder: str | Mapping[str, str] = "auto"):
        entries = sorted(observation_space.spaces.items(), key=lambda entry: entry[0] in CONDITION_ENTRIES)
        choices = _choices(observation_space, encoder)
        _warn(choices, observation_space)
        encoders = {
            name: choices[name].kind(space, **choices[name].kwargs) for name, space in entries if name in choices
        }
        super().__init__(observation_space, max(1, sum(encoder.features_dim for encoder in encoders.values())))
        self.names = list(encoders)  # of the entries, in the order of their encoders
        self.takes_codes = {name for name, encoder in encoders.items() if getattr(encoder, "takes_codes", False)}
        self.encoders = nn.ModuleDict(dict(zip(module_names(self.names), encoders.values(), strict=True)))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Entries (B, ...) to (B, features)."""
        if not self.encoders:
            return joined(list(observations.values()))
        return torch.cat([encoder(observations[name]) for name, encoder in self._by_entry()], dim=1)

    def _by_entry(self) -> Iterable[tuple[str, nn.Module]]:
        return zip(self.names, self.encoders.values(), strict=True)


def module_names(entries: Collection[str]) -> list[str]:
    """Return names for the modules of entries in an ``nn.ModuleDict``: the entries' own wherever torch takes them.

    Torch refuses dots, the empty name and those of a ModuleDict's own methods, such as ``keys``; these get an equals
    sign in front, and another for a dot.
    """
    taken, plain = set(entries), nn.ModuleDict()
    found = []
    for entry in entries:
        name = entry
        if not entry or "." in entry or hasattr(plain, entry):
            name = "=" + entry.replace(".", "=")
            while name in taken:
                name = f"={name}"
            taken.add(name)
        found.append(name)
    return found


def joined(entries: Sequence[Tensor]) -> Tensor:
    """Flatten entries (B, ...) and join them to (B, N); to a zero (B, 1) where all of them are empty."""
    rows = [entry.flatten(1) if entry.dim() > 1 else entry.unsqueeze(1) for entry in entries if entry.numel()]
    return torch.cat(rows, dim=1) if rows else entries[0].new_zeros(entries[0].shape[0], 1)


ENCODERS = ("auto", "grid", "cnn", "flat")
"""How observations of three dimensions are encoded: by a guess, as MiniGrid's codes, as pictures, or flattened."""
LEFT_OUT = "none"
"""The word for an entry of a Dict that the policy does not see."""


def seen_of(space: spaces.Space, encoder: str | Mapping[str, str]) -> spaces.Space:
    """Return the space without the entries that ``encoder`` leaves out.

    :raises ValueError: if it leaves out all of them
    """
    if not isinstance(space, spaces.Dict) or not isinstance(encoder, Mapping):
        return space
    seen = [(name, entry) for name, entry in space.items() if encoder.get(name) != LEFT_OUT]
    if len(seen) == len(space):
        return space
    if not seen:
        raise ValueError(f"encoder leaves out every entry ({', '.join(space)}): the agent would see nothing")
    return spaces.Dict(seen)


class EncoderWarning(UserWarning):
    """Warning that an encoder was guessed, or that a guess would have been another."""


@contextlib.contextmanager
def guesses_known() -> Iterator[None]:
    """Let no :class:`EncoderWarning` be heard where what is made again was made before, or beside the policy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EncoderWarning)
        yield


class _Choice(NamedTuple):
    """Encoder of one space: its class, its arguments beside the space, and what a warning has to say of it."""

    kind: type[BaseFeaturesExtractor]
    kwargs: dict[str, Any] = {}
    doubt: str = ""


# Encoders that do not take every observation, each with what it takes, as the beginning of a message.
_PARTICULAR = {
    "grid": f"encoder='grid' takes bytes (n, m, 3), n and m from 3 to {SMALLEST_PICTURE - 1}",
    "cnn": "encoder='cnn', as CnnPolicy asks, takes pictures (Box of three dimensions)",
}
_GUESSED, _ASKED = "guessed to be a grid", "asked to be a picture"


def make_encoder(space: spaces.Space, encoder: str | Mapping[str, str] = "auto") -> BaseFeaturesExtractor:
    """Make an encoder that suits a space."""
    kind, kwargs = encoder_for(space, encoder)
    return kind(space, **kwargs)


def encoder_for(
    space: spaces.Space, encoder: str | Mapping[str, str] = "auto"
) -> tuple[type[BaseFeaturesExtractor], dict[str, Any]]:
    """Choose an encoder: entry by entry for a Dict, for pictures, grids and words one of their own, else flattening.

    :param space: of the observations
    :param encoder: one of :data:`ENCODERS`, for a Dict also such words by the names of its entries; where a grid is
        guessed that might be a picture, a warning says so
    :return: its class, and its arguments beside the space
    :raises ValueError: for another word, or a space that the encoder does not take
    """
    if isinstance(space, spaces.Dict) and isinstance(encoder, Mapping):
        return DictEncoder, {"encoder": dict(encoder)}
    if not isinstance(encoder, str) or encoder not in ENCODERS:
        raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, not {encoder!r}")
    if isinstance(space, spaces.Dict):
        return DictEncoder, {} if encoder == "auto" else {"encoder": encoder}
    choice = _choice(space, encoder)
    _warn({"": choice}, space)
    return choice.kind, choice.kwargs


def _choices(space: spaces.Dict, encoder: str | Mapping[str, str]) -> dict[str, _Choice]:
    """Choose for each entry of a Dict that is not empty."""
    if isinstance(encoder, str):
        named: Mapping[str, str] = {}
        words = dict.fromkeys((name for name, entry in space.items() if _has_three_dimensions(entry)), encoder)
        if encoder in _PARTICULAR and not words:
            raise ValueError(f"{_PARTICULAR[encoder]}, but no entry of the observation is of that kind: {space}")
    else:
        named = words = dict(encoder)
    for name, word in named.items():
        if name not in space.spaces:
            raise ValueError(f"encoder: there is no entry {name!r}; there are {', '.join(space)}")
        if word not in (*ENCODERS, LEFT_OUT):
            raise ValueError(f"encoder of an entry must be one of {', '.join((*ENCODERS, LEFT_OUT))}, not {word!r}")
    choices = {
        name: _choice(entry, words.get(name, "auto"), name)
        for name, entry in space.items()
        if encoded_size(entry) and words.get(name) != LEFT_OUT
    }
    # Of an entry that was named there is no doubt.
    certain = {name for name, word in named.items() if word not in ("auto", LEFT_OUT)}
    return {name: choice._replace(doubt="") if name in certain else choice for name, choice in choices.items()}


def _choice(space: spaces.Space, word: str, name: str = "") -> _Choice:
    """Choose for a space that is no Dict.

    :param name: of the entry, for messages
    """
    if _has_three_dimensions(space) and word != "flat":
        return _for_three_dimensions(space, word, name)
    if word in _PARTICULAR:
        raise ValueError(f"{_PARTICULAR[word]}, but {_called(name)} is {space}")
    return _Choice(WordsEncoder if is_words(space) and word != "flat" else FlatEncoder)


def _for_three_dimensions(space: spaces.Box, word: str, name: str) -> _Choice:
    grid, small = is_grid(space), max(space.shape) <= LARGEST_VIEW
    if word == "grid" and not grid:
        raise ValueError(f"{_PARTICULAR[word]}, but {_called(name)} is {space}")
    if word == "grid" or (word == "auto" and grid):
        return _Choice(GridEncoder, doubt="" if word == "grid" or small else _GUESSED)
    if word == "cnn" or is_picture(space):
        doubt = _ASKED if word == "cnn" and grid and small else ""
        plain = is_image_space_channels_first(space) and min(space.shape[1:]) >= SMALLEST_PICTURE
        if not plain:
            return _Choice(PictureEncoder, doubt=doubt)
        return _Choice(NatureCNN, {} if is_image_space(space) else {"normalized_image": True}, doubt)
    return _Choice(FlatEncoder)


def _has_three_dimensions(space: spaces.Space) -> TypeGuard[spaces.Box]:
    return isinstance(space, spaces.Box) and len(space.shape) == 3


def _called(name: str) -> str:
    """Return what an observation, or an entry of this name, is called in messages."""
    return f"the entry {name!r}" if name else "the observation"


def _warn(choices: Mapping[str, _Choice], space: spaces.Space) -> None:
    """Warn once of all that is in doubt.

    :param choices: by names of entries; ``""`` names an observation without entries
    :param space: of the observations
    """
    sentences = []
    for doubt in (_GUESSED, _ASKED):
        names = [name for name, choice in choices.items() if choice.doubt == doubt]
        if names:
            sentences.append(_sentence(doubt, names, space))
    if sentences:
        warn_user("; ".join(sentences), EncoderWarning)


def _sentence(doubt: str, names: Sequence[str], space: spaces.Space) -> str:
    several = len(names) > 1
    are, they_are, pictures = ("are", "they are", "pictures") if several else ("is", "it is", "a picture")
    if isinstance(space, spaces.Dict):
        *first, last = (f"{name} {space[name].shape}" for name in names)
        subject = f"the entries {', '.join(first)} and {last}" if several else f"the entry {last}"
    else:
        subject = f"the observation {space.shape}"
    if doubt == _GUESSED:
        return (
            f"{subject} {are} taken for the codes of a grid world, as MiniGrid's are; if {they_are} {pictures}, pass "
            f"{_asking('cnn', names)}; 'grid' instead of 'cnn' silences this warning"
        )
    return (
        f"{subject} {are} taken for {pictures}, as CnnPolicy asks; if {they_are} the codes of a grid world, as "
        f"MiniGrid's are, pass {_asking('grid', names)}"
    )


def _asking(word: str, names: Sequence[str]) -> str:
    """Return how to ask for an encoder, in Python and on the command line."""
    python, shell = repr(word), f"encoder={word}"
    if names != [""]:
        python = repr(dict.fromkeys(names, word))
        shell = f'"encoder={{{", ".join(f"{name}: {word}" for name in names)}}}"'
    return f"policy_kwargs={{'encoder': {python}}} (on the command line: --policy-kwargs {shell})"


LARGEST_VIEW = 9  # cells a side: MiniGrid's agents see 7 by 7, and few ask for more


def encoded_size(space: spaces.Space) -> int:
    """Return how many numbers :class:`Preprocessor` makes of one observation."""
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum(dtype=np.int64))
    return int(space.n) if isinstance(space, spaces.Discrete) else math.prod(space.shape or ())


def condition_size(space: spaces.Space) -> int:
    """Return how many of :class:`DictEncoder`'s numbers, the last ones, hold the previous action and reward."""
    if not isinstance(space, spaces.Dict):
        return 0
    return sum(encoded_size(entry) for name, entry in space.spaces.items() if name in CONDITION_ENTRIES)


def is_picture(space: spaces.Space) -> bool:
    """Return whether a space holds images large enough for NatureCNN: 7×7×3 symbols are none."""
    return is_image_space(space) and sorted(space.shape or ())[1] >= SMALLEST_PICTURE
