"""Stories in which people go about, take, drop and give things, with questions: a small world, simulated and told.

A sentence is four word codes: who, what is done or asked, which object, and a place or another person. There is one
vocabulary, in this order: nothing (0), people, objects, places, verbs. So what can be an answer has the codes from 1,
and answer a is the word a + 1.
"""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.random import advance, between, integer

PEOPLE = ("Mary", "John", "Sandra", "Daniel", "Bill", "Fred", "Jeff", "Julie")
OBJECTS = ("football", "milk", "apple", "cake", "book", "lamp", "key", "hat")
PLACES = ("kitchen", "bathroom", "bedroom", "office", "garden", "hallway", "cellar", "garage", "park", "school")
TASKS = (1, 2, 3, 5)
FEWEST_SENTENCES = {1: 1, 2: 2, 3: 3, 5: 2}  # from which on a story can answer a question
MOST_SENTENCES = 100
MOST_QUESTIONS = 20
MOST_STEPS = MOST_SENTENCES + MOST_QUESTIONS

# Verbs: what happens, and the questions. WAS asks for the place before another, GAVE for the giver.
WENT, TOOK, DROPPED, GIVES, WHERE, WAS, GAVE, WHAT, WHOM, RECEIVED = range(10)
VERBS = 10
WHO_PLACE, VERB_PLACE, WHAT_PLACE, WHERE_PLACE = range(4)
NOBODY = -1
NO_ANSWER = 0
START = -1  # the place where everybody begins, which has no name
ATTEMPTS = 10_000  # of telling a story of a given length such that all its questions have answers

PARAMS = np.dtype(
    [
        ("task", np.int64),
        ("people", np.int64),
        ("objects", np.int64),
        ("places", np.int64),
        ("sentences", np.int64, (2,)),
        ("questions", np.int64),
    ]
)
LEVEL = np.dtype(
    [
        ("steps", np.int16),  # sentences and questions
        ("questions", np.int16),
        ("people", np.int16),
        ("objects", np.int16),
        ("places", np.int16),
        ("words", np.uint8, (MOST_STEPS, 4)),
        ("answers", np.int8, (MOST_STEPS,)),  # -1 for a sentence that is no question
    ]
)
WORLD = np.dtype(
    [
        ("time", np.int64),  # sentences and questions so far
        ("place", np.int8, (len(PEOPLE),)),
        ("holder", np.int8, (len(OBJECTS),)),
        ("lies", np.int8, (len(OBJECTS),)),  # where an object that nobody holds is
        ("been", np.int8, (len(OBJECTS), MOST_SENTENCES)),  # all places of each object one after another
        ("stays", np.int16, (len(OBJECTS),)),  # how many those are
        ("gifts", np.int8, (MOST_SENTENCES, 3)),  # giver, object, receiver
        ("given", np.int16),
    ]
)


@njit
def generate(params, key, level):
    """Tell a story; its length is drawn first, so that stories that have to be drawn again do not become rare."""
    key = advance(key)
    sentences = between(key, params.sentences)
    level.people, level.objects, level.places = params.people, params.objects, params.places
    level.questions = params.questions
    level.steps = sentences + params.questions
    world = np.empty(1, WORLD)[0]
    for _ in range(ATTEMPTS):
        key, answered = tell(params, key, level, world, sentences)
        if answered:
            return True
    return False


@njit
def tell(params, key, level, world, sentences):
    """Let things happen, with the questions spread evenly and the last of them at the end.

    :return: the next key, and whether every question has an answer
    """
    world.time = 0
    world.place[:] = START
    world.holder[:] = NOBODY
    world.lies[:] = START
    world.stays[:] = 0
    world.given = 0
    for sentence in range(1, sentences + 1):
        key = let_happen(params, key, level, world)
        if world.time - sentence < sentence * params.questions // sentences:
            key, answered = ask(params, key, level, world)
            if not answered:
                return key, False
    return key, True


# --- what happens -----------------------------------------------------------------------------------------------------


@njit
def let_happen(params, key, level, world):
    """Draw one event: first the kind, uniformly of those that can happen, then which, uniformly too."""
    key = advance(key)
    who = integer(key, params.people)
    key, other = choose_place(params, key, world.place[who])
    kind, thing, kinds = WENT, 0, 1
    for candidate in range(TOOK, last_kind(params.task) + 1):
        key, events, a, o, b = choose_event(params, key, world, candidate)
        if events > 0:
            # Replaced by the n-th with probability 1/n, each is equally likely to stay; here and below.
            kinds += 1
            key = advance(key)
            if integer(key, kinds) == 0:
                kind, who, thing, other = candidate, a, o, b
    what, where = object_word(level, thing), 0
    if kind == WENT:
        go(params, world, who, other)
        what, where = 0, place_word(level, other)
    elif kind == TOOK:
        world.holder[thing] = who
        arrive(world, thing, world.place[who])
    elif kind == DROPPED:
        world.holder[thing] = NOBODY
        world.lies[thing] = world.place[who]
    else:
        world.holder[thing] = other
        gift = world.gifts[world.given]
        gift[0], gift[1], gift[2] = who, thing, other
        world.given += 1
        where = person(other)
    write(level, world, person(who), kind, what, where, NO_ANSWER)
    return key


@njit
def choose_place(params, key, here):
    """Draw any place other than this one.

    :return: the next key and the place
    """
    key = advance(key)
    place = integer(key, params.places - (here >= 0))
    return key, place + (0 <= here <= place)


@njit
def last_kind(task):
    """The last kind of event of a task: nothing is taken in task 1, and given only in task 5."""
    return WENT if task == 1 else GIVES if task == 5 else DROPPED


@njit
def choose_event(params, key, world, kind):
    """An event of a kind, uniformly of those that can happen.

    :return: the next key, how many can happen, then who, the object, and the receiver of a gift
    """
    events, who, thing, other = 0, 0, 0, 0
    for a in range(params.people):
        for o in range(params.objects):
            for b in range(params.people if kind == GIVES else 1):
                if can_happen(params, world, kind, a, o, b):
                    events += 1
                    key = advance(key)
                    if integer(key, events) == 0:
                        who, thing, other = a, o, b
    return key, events, who, thing, other


@njit
def can_happen(params, world, kind, who, thing, other):
    """Return whether somebody can take, drop or give an object.

    What has never been taken can be anywhere. In tasks 2 and 3 nobody takes anything in the place without a name.
    """
    here = world.place[who]
    if kind == TOOK:
        there = world.lies[thing] == here or world.stays[thing] == 0
        return there and world.holder[thing] == NOBODY and (here >= 0 or params.task == 5)
    if kind == DROPPED:
        return world.holder[thing] == who
    return world.holder[thing] == who and who != other and world.place[other] == here


@njit
def go(params, world, who, place):
    """Let somebody go to a place, with everything they hold."""
    world.place[who] = place
    for thing in range(params.objects):
        if world.holder[thing] == who:
            arrive(world, thing, place)


@njit
def arrive(world, thing, place):
    """An object is at a place."""
    stays = world.stays[thing]
    if stays == 0 or world.been[thing, stays - 1] != place:
        world.been[thing, stays] = place
        world.stays[thing] = stays + 1


# --- what is asked ----------------------------------------------------------------------------------------------------


@njit
def ask(params, key, level, world):
    """A question of the task, uniformly of those that have an answer.

    :return: the next key, and whether there is one
    """
    if params.task == 1:
        key, who, verb, what, where, answer = ask_for_person(params, key, level, world)
    elif params.task == 2:
        key, who, verb, what, where, answer = ask_for_object(params, key, level, world)
    elif params.task == 3:
        key, who, verb, what, where, answer = ask_for_earlier_place(params, key, level, world)
    else:
        key, who, verb, what, where, answer = ask_for_gift(params, key, level, world)
    write(level, world, who, verb, what, where, answer)
    return key, answer != NO_ANSWER


# Each gives the next key, the four words of a question and the word that answers it, or NO_ANSWER.


@njit
def ask_for_person(params, key, level, world):
    """Answer the question: where is somebody?"""
    candidates, who, answer = 0, 0, NO_ANSWER
    for candidate in range(params.people):
        if world.place[candidate] >= 0:
            candidates += 1
            key = advance(key)
            if integer(key, candidates) == 0:
                who, answer = person(candidate), place_word(level, world.place[candidate])
    return key, who, WHERE, 0, 0, answer


@njit
def ask_for_object(params, key, level, world):
    """Answer the question: where is something? With whoever holds it, or at the last place where it has been."""
    candidates, what, answer = 0, 0, NO_ANSWER
    for thing in range(params.objects):
        stays = world.stays[thing]
        if stays > 0:
            candidates += 1
            key = advance(key)
            if integer(key, candidates) == 0:
                what, answer = object_word(level, thing), place_word(level, world.been[thing, stays - 1])
    return key, 0, WHERE, what, 0, answer


@njit
def ask_for_earlier_place(params, key, level, world):
    """Answer the question: where was something before it was, for the last time, in some place?"""
    candidates, what, where, answer = 0, 0, 0, NO_ANSWER
    for thing in range(params.objects):
        for i in range(1, world.stays[thing]):
            if last_stay(world, thing, i):
                candidates += 1
                key = advance(key)
                if integer(key, candidates) == 0:
                    what, where = object_word(level, thing), place_word(level, world.been[thing, i])
                    answer = place_word(level, world.been[thing, i - 1])
    return key, 0, WAS, what, where, answer


@njit
def last_stay(world, thing, i):
    """Return whether an object never came back to where it was on its stay number i."""
    later = i + 1
    while later < world.stays[thing] and world.been[thing, later] != world.been[thing, i]:
        later += 1
    return later == world.stays[thing]


@njit
def ask_for_gift(params, key, level, world):
    """Answer a question about the last gift that fits: who gave, what was given, who received it."""
    if world.given == 0:
        return key, 0, 0, 0, 0, NO_ANSWER
    key = advance(key)
    gift = world.gifts[integer(key, world.given)]
    key = advance(key)
    verb = GAVE + max(integer(key, 5) - 1, 0)  # of the five forms two have this verb
    key = advance(key)
    # What the question says of the gift; -1 for what it leaves out, which any gift fits.
    giver = gift[0] if verb in (WHAT, WHOM) else NOBODY
    thing = gift[1] if verb != WHAT else -1
    receiver = gift[2] if verb == WHAT or (verb == GAVE and integer(key, 2) == 0) else NOBODY
    gift = last_gift(world, giver, thing, receiver)
    if verb == GAVE:
        answer = person(gift[0])
    elif verb == WHAT:
        answer = object_word(level, gift[1])
    else:
        answer = person(gift[2])
    what = object_word(level, thing) if thing >= 0 else 0
    return key, person(giver), verb, what, person(receiver), answer


@njit
def last_gift(world, giver, thing, receiver):
    """Return the last gift that fits a question; there is one."""
    last = world.given - 1
    while not (
        (giver < 0 or world.gifts[last, 0] == giver)
        and (thing < 0 or world.gifts[last, 1] == thing)
        and (receiver < 0 or world.gifts[last, 2] == receiver)
    ):
        last -= 1
    return world.gifts[last]


# --- words ------------------------------------------------------------------------------------------------------------


@njit
def person(who):
    return 1 + who  # nobody is 0


@njit
def object_word(level, thing):
    return 1 + level.people + thing


@njit
def place_word(level, place):
    return 1 + level.people + level.objects + place


@njit
def first_verb(level):
    """The code of the first verb."""
    return 1 + level.people + level.objects + level.places


@njit
def write(level, world, who, verb, what, where, answer):
    """Write the next sentence or question: the words, 0 for none, but the number of the verb."""
    level.words[world.time, WHO_PLACE] = who
    level.words[world.time, VERB_PLACE] = first_verb(level) + verb
    level.words[world.time, WHAT_PLACE] = what
    level.words[world.time, WHERE_PLACE] = where
    level.answers[world.time] = answer - 1
    world.time += 1
