"""Questions about a story, in the manner of the bAbI tasks 1, 2, 3 and 5 of Weston et al. (2015, arXiv:1502.05698).

The stories are drawn from a small world here; those of files come from :mod:`memenvs.tasks.read_stories`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, is_integer, within
from memenvs.compilation import njit
from memenvs.tasks import read_stories
from memenvs.tasks.stories import (
    DROPPED,
    FEWEST_SENTENCES,
    GAVE,
    GIVES,
    LEVEL,
    MOST_QUESTIONS,
    MOST_SENTENCES,
    MOST_STEPS,
    OBJECTS,
    PARAMS,
    PEOPLE,
    PLACES,
    RECEIVED,
    TASKS,
    TOOK,
    VERB_PLACE,
    VERBS,
    WAS,
    WENT,
    WHAT,
    WHERE,
    WHOM,
    first_verb,
    generate,
)
from memenvs.tasks.story_files import Files
from memenvs.tasks.story_rules import digest, measure, observe, oracle, reset, step, told

STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("right", np.int32),  # questions answered right
        ("said", np.int8, (MOST_STEPS,)),  # the answers to the questions that have been asked
    ]
)
OUT = np.dtype([("observation", np.uint8, (5,))])


@njit
def sound(params, state, level):
    people, objects, places = params.people, params.objects, params.places
    if level.people != people or level.objects != objects or level.places != places:
        return False
    if level.questions != params.questions:
        return False
    if not params.sentences[0] <= level.steps - params.questions <= params.sentences[1]:
        return False
    if not 0 <= state.time <= level.steps:
        return False
    questions, answers = 0, people + objects + places
    for t in range(level.steps):
        for i in range(4):
            verb = level.words[t, i] >= first_verb(level)
            if verb != (i == VERB_PLACE) or level.words[t, i] >= first_verb(level) + VERBS:
                return False
        if not -1 <= level.answers[t] < answers or not -1 <= state.said[t] < answers:
            return False
        questions += level.answers[t] >= 0
    return questions == params.questions and 0 <= state.right <= questions


# --- parameters -------------------------------------------------------------------------------------------------------


def define(
    task: int = 1,
    people: int = 4,
    objects: int = 3,
    places: int = 6,
    sentences: int | tuple[int, int] = (4, 12),
    questions: int = 1,
    path: Files | None = None,
    vocabulary: Files | None = None,
) -> Definition:
    """The definition of a task; the parameters are those of :class:`StoryQA`."""
    if path is not None:
        chosen = {"task": task, "people": people, "objects": objects, "places": places, "sentences": sentences}
        refuse_choices(chosen | {"questions": questions})
        return read_stories.define(path, vocabulary)
    if vocabulary is not None:
        raise ValueError(f"vocabulary must be None without a path, not {vocabulary!r}")
    if not is_integer(task) or task not in TASKS:
        raise ValueError(f"task must be one of {list(TASKS)}, not {task!r}")
    people = within("people", people, 2 if task == 5 else 1, len(PEOPLE))
    objects = within("objects", objects, 1, len(OBJECTS))
    places = within("places", places, 2, len(PLACES))
    questions = within("questions", questions, 1, MOST_QUESTIONS)
    low, high = bounds("sentences", sentences, 1, MOST_SENTENCES)
    fewest = (FEWEST_SENTENCES[task] - 1) * questions + 1
    if low < fewest:
        raise ValueError(
            f"sentences must be at least {fewest}, or not all {questions} question(s) of task {task} can have answers; "
            f"not {sentences!r}"
        )
    words = 1 + people + objects + places + VERBS
    return Definition(
        name=f"StoryQA(task={task}, people={people}, objects={objects}, places={places}, sentences={(low, high)}, "
        f"questions={questions})",
        params=np.array([(task, people, objects, places, (low, high), questions)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=MultiDiscrete([words] * 4 + [2], dtype=np.uint8),
        action_space=Discrete(people + objects + places),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        metrics=("success", "accuracy"),
        measure=measure,
        digest=digest,
        distinct_levels=stories_at_least(task, people, objects, places, high),
        sound=sound,
        draw=draw,
        text=text,
        frames_per_second=2,
        action_names=(*PEOPLE[:people], *OBJECTS[:objects], *PLACES[:places]),
    )


def refuse_choices(chosen: Mapping[str, object]) -> None:
    """Refuse parameters of generated stories where stories are read."""
    for name, value in chosen.items():
        if value != inspect.signature(define).parameters[name].default:
            raise ValueError(f"{name} must be left out where path is given, not {value!r}")


def stories_at_least(task: int, people: int, objects: int, places: int, sentences: int) -> int:
    """Return a lower bound on the number of stories: those that begin with an answer and go on with walks."""
    begin = {1: people * places, 2: people * places * objects, 3: people * places * objects * (places - 1)}
    begin[5] = people * objects * (people - 1)
    return begin[task] * (people * (places - 1)) ** (sentences - FEWEST_SENTENCES[task])


# --- pictures ---------------------------------------------------------------------------------------------------------

FORMS = {
    WENT: "{who} went to the {where}.",
    TOOK: "{who} took the {what}.",
    DROPPED: "{who} dropped the {what}.",
    GIVES: "{who} gave the {what} to {where}.",
    WAS: "Where was the {what} before the {where}?",
    WHAT: "What did {who} give to {where}?",
    WHOM: "To whom did {who} give the {what}?",
    RECEIVED: "Who received the {what}?",
}


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The story, (H, W, 3) uint8."""
    from memenvs.tasks.draw_story import draw_story

    return draw_story(lines(state, level))


def text(state: np.void, level: np.void) -> str:
    """The story so far, with the answers."""
    return "\n".join(lines(state, level))


def lines(state: np.void, level: np.void) -> list[str]:
    """The sentences up to the present one, and the answers of the agent."""
    names = known_words(level)
    return told(state, level, lambda t: sentence(level["words"][t].tolist(), names), names[1:])


def known_words(level: np.void) -> list[str]:
    """The words that are no verbs, by their codes."""
    return ["", *PEOPLE[: level["people"]], *OBJECTS[: level["objects"]], *PLACES[: level["places"]]]


def sentence(words: list[int], names: list[str]) -> str:
    """A sentence in English."""
    verb = words[VERB_PLACE] - len(names)
    parts: dict[str, Any] = dict(zip(("who", "what", "where"), (names[words[i]] for i in (0, 2, 3)), strict=True))
    if verb == WHERE:
        return f"Where is {parts['who']}?" if parts["who"] else f"Where is the {parts['what']}?"
    if verb == GAVE:
        return f"Who gave the {parts['what']}" + (f" to {parts['where']}?" if parts["where"] else "?")
    return FORMS[verb].format(**parts)


# --- the environments -------------------------------------------------------------------------------------------------


class StoryQA(SingleEnv):
    """``memenvs/StoryQA-v0``: answer questions about a story read once, sentence by sentence.

    Stories and questions in the manner of four of the bAbI tasks of Weston et al. (2015, arXiv:1502.05698), drawn from
    a simulated world and never in words but in codes. People walk between places, in tasks 2 and 3 they also take and
    drop objects, and in task 5 give them to somebody in the same place. Everybody begins in a place without a name.

    - ``task=1``, one supporting fact: where is Mary?
    - ``task=2``, two facts: where is the football? Where its holder is, or where it was dropped.
    - ``task=3``, three facts: where was the football before the kitchen? If it has been there more than once, before
      the last time. One may ask for any place where it has been but the first.
    - ``task=5``, relations of three: who gave the cake (to Fred), what did Mary give to Fred, to whom did Mary give
      the cake, who received the cake? If more than one gift fits, the last one counts.

    At each sentence, first the kind of event is drawn among those that can happen, then the event. Every question has
    an answer that follows from the story.

    - Observation: ``MultiDiscrete([V, V, V, V, 2])`` of bytes, one sentence or question: who, what is done or asked,
      which object, a place or another person, as codes of one vocabulary of V = 1 + ``people`` + ``objects`` +
      ``places`` + 10 words in this order (0 for no word, the last ten are verbs and kinds of questions), then whether
      it is a question. All 0 after the end.
    - Action: ``Discrete(people + objects + places)``, the answer: action a is the word a + 1. Without effect where
      nothing is asked.
    - Reward: 1 / ``questions`` for a right answer, otherwise 0.
    - End: terminated by the last question, with which every story ends.
    - ``info``: ``accuracy``, the share of questions answered right, and ``success``, 1 if all were.

    The spaces depend on ``people``, ``objects`` and ``places`` but not on ``task``. The split of a level follows from
    the whole story with its questions.

    With ``path`` the stories are those of your files, such as all twenty tasks of bAbI, and an episode is one of them,
    drawn uniformly and read to its last question::

        1 Ada walked to the attic.
        2 Where is Ada?<tab>attic<tab>1

    The numbers begin anew with each story; the last field is not needed. A step shows a line as the codes of its words,
    in lower case, without punctuation, and followed by 0 up to the longest line, and then whether it is a question. An
    action is one of the answers in alphabetical order, of which each counts as one however many words it has
    (``apple,milk``). Words, answers and the longest line, and with them the spaces, are those of ``vocabulary``.
    Everything else is as above; ``questions`` are those of the story.

    :param task: 1, 2, 3 or 5
    :param people: number of people, from 1 (2 in task 5) to 8
    :param objects: number of objects, from 1 to 8
    :param places: number of places, from 2 to 10
    :param sentences: number of sentences of a story besides the questions, (low, high) or one number, drawn uniformly,
        up to 100; at least 1, 2, 3 or 2 for tasks 1, 2, 3 and 5, and so many more for each further question as to
        answer it
    :param questions: number of questions, spread evenly over the story, the last at its end; from 1 to 20. Stories in
        which one has no answer are drawn again
    :param path: files of stories to read instead of making some: a file, a folder for its ``*_train.txt``, a pattern
        (``"tasks/en/qa*_test.txt"``) or a list of these. The parameters above must be left out then
    :param vocabulary: files, given likewise, whose words and answers are known. By default the training files: for each
        file of ``path`` that with ``_train`` instead of ``_test`` or ``_valid`` beside it, or else itself. Anything
        unknown in ``path`` is an error
    :param split: ``"train"`` or ``"test"`` for stories that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedStoryQA(BatchedEnv):
    """The batched :class:`StoryQA`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
