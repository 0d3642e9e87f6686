"""Questions about a story, in the manner of the bAbI tasks 1, 2, 3 and 5 of Weston et al. (2015, arXiv:1502.05698)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, is_integer, within
from memenvs.compilation import njit
from memenvs.random import fold
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
def reset(state, level):
    state.time = 0
    state.right = 0
    state.said[:] = -1


@njit
def step(state, level, action):
    if state.time >= level.steps:
        return 0.0, True, False
    right = action == level.answers[state.time]
    if level.answers[state.time] >= 0:
        state.said[state.time] = action
    state.right += right
    state.time += 1
    return right / level.questions, state.time == level.steps, False


@njit
def observe(state, level, out):
    if state.time == level.steps:
        out.observation[:] = 0
        return
    for i in range(4):
        out.observation[i] = level.words[state.time, i]
    out.observation[4] = level.answers[state.time] >= 0


@njit
def oracle(state, level):
    return np.int64(level.answers[state.time]) if state.time < level.steps else np.int64(-1)


@njit
def measure(state, level, out):
    asked = 0
    for t in range(state.time):
        asked += level.answers[t] >= 0
    out[0] = state.right == level.questions
    out[1] = state.right / max(asked, 1)


@njit
def digest(level):
    total = np.uint64(0)
    for t in range(level.steps):
        for word in level.words[t]:
            total = fold(total, word)
    return total


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
) -> Definition:
    """The definition of a task; the parameters are those of :class:`StoryQA`."""
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

    return draw_story(told(state, level))


def text(state: np.void, level: np.void) -> str:
    """The story so far, with the answers."""
    return "\n".join(told(state, level))


def told(state: np.void, level: np.void) -> list[str]:
    """The sentences up to the present one, and the answers of the agent."""
    names = vocabulary(level)
    lines = []
    for t in range(min(int(state["time"]) + 1, int(level["steps"]))):
        line = sentence(level["words"][t].tolist(), names)
        right, said = int(level["answers"][t]), int(state["said"][t])
        if said >= 0:
            verdict = "right" if said == right else f"wrong: {names[right + 1]}"
            line += f" {names[said + 1]} ({verdict})"
        lines.append(line)
    return lines


def vocabulary(level: np.void) -> list[str]:
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

    :param task: 1, 2, 3 or 5
    :param people: number of people, from 1 (2 in task 5) to 8
    :param objects: number of objects, from 1 to 8
    :param places: number of places, from 2 to 10
    :param sentences: number of sentences of a story besides the questions, (low, high) or one number, drawn uniformly,
        up to 100; at least 1, 2, 3 or 2 for tasks 1, 2, 3 and 5, and so many more for each further question as to
        answer it
    :param questions: number of questions, spread evenly over the story, the last at its end; from 1 to 20. Stories in
        which one has no answer are drawn again
    :param split: ``"train"`` or ``"test"`` for stories that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedStoryQA(BatchedEnv):
    """The batched :class:`StoryQA`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
