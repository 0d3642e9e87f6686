"""Stories with questions in files of the format of the bAbI tasks (Weston et al. 2015, arXiv:1502.05698).

A line is a number, a space and a sentence; a question goes on with a tab, its answer, and perhaps another tab and the
numbers of the lines that it follows from. Numbers count up, and with 1 another story begins::

    1 Ada walked to the attic.
    2 Where is Ada?	attic	1
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MOST_LINES = 2**22
MOST_WORDS, MOST_ANSWERS = 2**16 - 2, 2**15 - 1  # of what records keep in 16 bits
LINE = re.compile(r"(\d{1,9}) ([^\t]*)(?:\t([^\t]+)(?:\t([\d ]*))?)?")
MARKS = ".,?!;:"
FORM = "a line must be a number, a space and a sentence, for a question then a tab and the answer"

Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Line(NamedTuple):
    """A sentence or question.

    :param words: in lower case, without punctuation
    :param answer: in lower case, or nothing for a sentence that asks nothing
    :param text: as it stands in the file
    :param place: file and number of the line, for messages
    """

    words: tuple[str, ...]
    answer: str | None
    text: str
    place: str


@dataclass(frozen=True, eq=False)
class Stories:
    """The stories of some files in codes; shared between environments, so nobody writes them.

    :param starts: (stories + 1,) where each begins; the last entry is where the last one ends
    :param words: (lines, longest) codes from 1, 0 for none
    :param answers: (lines,) int16, -1 for a sentence that asks nothing
    :param vocabulary: the words of the codes from 1 on, in order
    :param replies: the answers, in order
    :param texts: the lines as they stand in the files
    :param distinct: number of stories that differ in their words
    :param name: of the files, without their folders, and of what is in them
    """

    starts: np.ndarray
    words: np.ndarray
    answers: np.ndarray
    vocabulary: list[str]
    replies: list[str]
    texts: list[str]
    distinct: int
    name: str


def stories_of(path: Files, vocabulary: Files | None = None) -> Stories:
    """Read files; what has been read last is kept.

    :param path: files, as in :func:`find_files`
    :param vocabulary: the files whose words and answers get codes; by default, for each of ``path``, that file beside
        it whose name has ``_train`` in the place of ``_test`` or ``_valid``, or else itself
    :raises ValueError: for files that are not there or not of the format, and words or answers without a code, by file
        and line
    """
    files = find_files("path", path)
    known = list(dict.fromkeys(map(train_file, files))) if vocabulary is None else find_files("vocabulary", vocabulary)
    stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in (*files, *known))
    return _encoded(tuple(files), tuple(known), stamps)


def find_files(name: str, value: object) -> list[Path]:
    """Return the files that an argument means: a file, a folder for its ``*_train.txt``, a pattern, or a list of these.

    :param name: of the argument, for messages
    :raises ValueError: for another value, and where there is no such file
    """
    given: Any = [value] if isinstance(value, str | os.PathLike) else value
    if not isinstance(given, list | tuple) or not given or not all(isinstance(v, str | os.PathLike) for v in given):
        raise ValueError(f"{name} must be a file, a folder, a pattern such as 'qa*_test.txt' or a list, not {value!r}")
    found: list[Path] = []
    for one in given:
        place = Path(one).expanduser()
        folder, pattern = (place, "*_train.txt") if place.is_dir() else (place.parent, place.name)
        files = [place] if place.is_file() else sorted(file for file in folder.glob(pattern) if file.is_file())
        if not files:
            raise ValueError(f"{name} must be of files that are there: no {folder / pattern}")
        found += files
    return list(dict.fromkeys(found))


def train_file(file: Path) -> Path:
    """Return the file with the training stories of the same task, where there is one, or else the file itself."""
    beside = file.with_name(re.sub(r"_(test|valid)(?=\.\w+$)", "_train", file.name))
    return beside if beside.is_file() else file


# --- from text to lines -----------------------------------------------------------------------------------------------


def read_stories(file: Path) -> list[list[Line]]:
    """Return the stories of a file, each up to its last question.

    :raises ValueError: for a line that is not of the format, and a story that asks nothing, by file and line
    """
    stories: list[list[Line]] = []
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as text: {error}") from None
    for number, text in enumerate(lines, 1):
        if text.strip():
            place = f"{file}, line {number}"
            count, line = read_line(text.rstrip("\r"), place)
            if count == 1:
                stories.append([])
            elif not stories or count != len(stories[-1]) + 1:
                expected = f"1 or {len(stories[-1]) + 1}" if stories else "1"
                raise ValueError(f"{place}: the number must be {expected}, not {count}")
            stories[-1].append(line)
    if not stories:
        raise ValueError(f"{file} has no stories")
    for story in stories:
        questions = [i for i, line in enumerate(story) if line.answer is not None]
        if not questions:
            raise ValueError(f"{story[0].place}: the story that begins here must ask something")
        del story[questions[-1] + 1 :]
    return stories


def read_line(text: str, place: str) -> tuple[int, Line]:
    """Return the number of a line in its story, and the line."""
    found = LINE.fullmatch(text)
    words = plain_words(found[2]) if found else ()
    answer = None if not found or found[3] is None else found[3].strip().lower()
    if not found or not words or answer == "":
        raise ValueError(f"{place}: {FORM}; not {text!r}")
    return int(found[1]), Line(words, answer, found[2].strip(), place)


def plain_words(sentence: str) -> tuple[str, ...]:
    """Return the words of a sentence in lower case, without punctuation."""
    return tuple(word for word in (part.strip(MARKS) for part in sentence.lower().split()) if word)


# --- from lines to codes ----------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def _encoded(files: tuple[Path, ...], known: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> Stories:
    """Return the stories of files in the codes of others; ``stamps`` change with what is in them."""
    read = {file: read_stories(file) for file in dict.fromkeys(files + known)}
    lines = [line for file in known for story in read[file] for line in story]
    codes = {word: code for code, word in enumerate(sorted({word for line in lines for word in line.words}), 1)}
    replies = {answer: i for i, answer in enumerate(sorted({line.answer for line in lines if line.answer is not None}))}
    longest = max(len(line.words) for line in lines)
    if len(codes) > MOST_WORDS or len(replies) > MOST_ANSWERS:
        raise ValueError(
            f"vocabulary must have at most {MOST_WORDS} words and {MOST_ANSWERS} answers, not {len(codes)} and "
            f"{len(replies)}"
        )
    stories = [story for file in files for story in read[file]]
    told = [line for story in stories for line in story]
    if len(told) > MOST_LINES:
        raise ValueError(f"path must be of at most {MOST_LINES} lines, not {len(told)}")
    source = named(known)
    words = np.zeros((len(told), longest), np.uint8 if len(codes) < 255 else np.uint16)
    answers = np.full(len(told), -1, np.int16)
    for i, line in enumerate(told):
        check(line, codes, replies, longest, source)
        words[i, : len(line.words)] = [codes[word] for word in line.words]
        if line.answer is not None:
            answers[i] = replies[line.answer]
    starts = np.cumsum([0, *map(len, stories)]).astype(np.int32)
    parts = hashlib.sha256(repr((list(codes), list(replies))).encode())
    for array in (starts, words, answers):
        parts.update(array.tobytes())
    return Stories(
        starts=starts,
        words=words,
        answers=answers,
        vocabulary=list(codes),
        replies=list(replies),
        texts=[line.text for line in told],
        distinct=len({tuple(line.words for line in story) for story in stories}),
        name=f"{named(files)}, {parts.hexdigest()[:12]}",
    )


def named(files: tuple[Path, ...]) -> str:
    """Return the names of files without their folders, of two at most."""
    return ", ".join(file.name for file in files[:2]) + (f" and {len(files) - 2} more" if len(files) > 2 else "")


def check(line: Line, codes: dict[str, int], replies: dict[str, int], longest: int, source: str) -> None:
    """Refuse a line that the codes do not reach."""
    unknown = next((word for word in line.words if word not in codes), None)
    if unknown is not None:
        raise ValueError(f"{line.place}: the word {unknown!r} must be in the vocabulary, that of {source}")
    if line.answer is not None and line.answer not in replies:
        raise ValueError(f"{line.place}: the answer {line.answer!r} must be in the vocabulary, that of {source}")
    if len(line.words) > longest:
        raise ValueError(
            f"{line.place}: a line must have at most the {longest} words of the longest one in the vocabulary, that of "
            f"{source}, not {len(line.words)}"
        )
