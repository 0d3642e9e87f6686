"""What the games of POPGym offer beyond POPGym: parameters, twins that show all, metrics, pictures, soundness."""

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from memenvs.catalogue import definition_of, environment_class, find
from memenvs.engine.batch import Batch
from memenvs.engine.definition import defined
from memenvs.popgym.concentration import WAITS
from memenvs.popgym.ids import ENVIRONMENTS
from memenvs.testing import debug
from tests.memenvs.popgym.beside import ids_of

FAMILIES = (
    *("Autoencode", "RepeatFirst", "RepeatPrevious", "CountRecall", "HigherLower"),
    *("Battleship", "Concentration", "MineSweeper", "MultiarmedBandit"),
)
EASY = [f"memenvs/popgym-{family}Easy-v0" for family in FAMILIES]


def batch_of(name, size=1, interpret=True, **parameters):
    """A batch of an id, by default as plain Python, for which nothing is compiled."""
    spec = find(name)
    batch = Batch(defined(environment_class(spec), {**spec.kwargs, **parameters}), size, interpret=interpret)
    batch.seed(3)
    batch.reset()
    return batch


def test_all_ids_are_registered():
    for name, (_, parameters) in ENVIRONMENTS.items():
        assert find(name).id == f"memenvs/{name}"
        definition = definition_of(find(name))
        assert all(f"{key}={value}" in definition.name for key, value in parameters.items())


@pytest.mark.parametrize("name", ids_of(*FAMILIES))
def test_plain_python_finds_no_mistake(name):
    """Every index and every number that is written lies within its bounds, and ``sound`` takes the records."""
    debug(f"memenvs/{name}", steps=25)


WRONG = [
    *[(family, {"decks": value}, "decks must be") for family in FAMILIES[:5] for value in (0, 17, 1.5, True)],
    ("RepeatPrevious", {"k": 0}, "k must be an integer from 1 to 51"),
    ("RepeatPrevious", {"k": 52}, "k must be"),
    ("CountRecall", {"classes": 3}, "classes must be 2"),
    ("CountRecall", {"classes": 52}, "classes must be"),
    ("Concentration", {"classes": 4}, "classes must be 2 .* or 13"),
    ("Concentration", {"decks": "2"}, "decks must be"),
    ("Battleship", {"board": 3}, "board must be"),
    ("Battleship", {"board": 17}, "board must be"),
    ("Battleship", {"ships": ()}, "ships must be 1 to 8"),
    ("Battleship", {"ships": (1,) * 9}, "ships must be 1 to 8"),
    ("Battleship", {"ships": (2, 9)}, "ships must be lengths from 1 to 8"),
    ("Battleship", {"ships": 3}, "ships must be lengths"),
    ("Battleship", {"ships": (8, 8, 8, 8, 1)}, "at most half of the 64 squares, not 33"),
    ("MineSweeper", {"board": 1}, "board must be"),
    ("MineSweeper", {"mines": 14}, "mines must be an integer from 1 to 13"),
    ("MineSweeper", {"mines": 0}, "mines must be"),
    ("MultiarmedBandit", {"arms": 1}, "arms must be"),
    ("MultiarmedBandit", {"arms": 65}, "arms must be"),
    ("MultiarmedBandit", {"trials": 0}, "trials must be"),
    *[(family, {"observable": 1}, "observable must be") for family in FAMILIES],
]


@pytest.mark.parametrize(("family", "parameters", "message"), WRONG)
def test_wrong_parameters_are_named(family, parameters, message):
    spec = find(f"popgym-{family}Easy-v0")
    with pytest.raises(ValueError, match=message):
        defined(environment_class(spec), {**spec.kwargs, **parameters})


@pytest.mark.parametrize("name", EASY)
def test_a_memory_is_not_needed_where_all_is_shown(name):
    """What the oracle does follows from the observation of the twin alone."""
    batch = batch_of(name, observable=True)
    rng, decisions = np.random.default_rng(0), 0
    for step in range(130):
        shown, best = batch.observations, batch.oracle()[0]
        assert batch.definition.observation_space.contains(
            tuple(entry[0] for entry in shown) if isinstance(shown, tuple) else shown[0]
        )
        if batch.decision[0]:
            decisions += 1
            wanted = READ[name.split("-")[1].removesuffix("Easy")](shown)
            assert np.array_equal(np.atleast_1d(best).tolist(), np.atleast_1d(wanted).tolist())
        batch.step(np.maximum(batch.oracle(), 0) if step % 3 else batch.random_walk(rng))
    assert decisions > 50


def first_place(shown, value):
    """The first square with a value, as its row and column."""
    return divmod(int(np.flatnonzero(shown[0] == value)[0]), math.isqrt(shown[0].size))


def pair_place(shown):
    """The first card that is not open for good and is like the one that waits, if there is one."""
    classes, look = divmod(shown[0], 4)
    alike = np.isin(classes, classes[look == WAITS]) if WAITS in look else True
    return np.flatnonzero((look < WAITS) & alike)[0]


READ = {
    "Autoencode": lambda shown: shown[1][0],
    "RepeatFirst": lambda shown: shown[0, 1] - 1,
    "RepeatPrevious": lambda shown: shown[0, 1] - 1,
    "CountRecall": lambda shown: shown[0, 2],
    "HigherLower": lambda shown: shown[0, 1] < shown[0, 0],
    "Battleship": lambda shown: first_place(shown, 1),
    "Concentration": pair_place,
    "MineSweeper": lambda shown: first_place(shown, 0),
    "MultiarmedBandit": lambda shown: shown[0, :-1].argmax(),
}


@pytest.mark.parametrize("name", EASY)
def test_metrics_of_the_best_play_and_of_random_play(name):
    envs = gym.make_vec(name, num_envs=64)
    rng = np.random.default_rng(0)
    means = {}
    for style in ("best", "random"):
        envs.reset(seed=1)
        found = {metric: [] for metric in envs.unwrapped.definition.metrics}
        for _ in range(420):
            actions = np.maximum(envs.oracle(), 0) if style == "best" else envs.random_walk(rng)
            infos = envs.step(actions)[4]
            for metric, values in found.items():
                values.extend(infos[metric][infos[f"_{metric}"]] if metric in infos else ())
        means[style] = {metric: np.mean(values) for metric, values in found.items()}
    assert means["best"]["success"] == 1
    assert means["random"]["success"] < 1
    assert means["best"].get("exploded", 0) == 0
    for metric in means["best"].keys() - {"success", "exploded"}:
        assert means["best"][metric] == 1
        assert 0 <= means["random"][metric] < 1


@pytest.mark.parametrize("name", EASY)
def test_pictures_and_texts(name):
    batch = batch_of(name)
    for _ in range(12):
        batch.step(np.maximum(batch.oracle(), 0))
    state, level = batch.rows["state"][0], batch.rows["level"][0]
    image = batch.definition.draw(state, level)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10
    words = batch.definition.text(state, level)
    assert len(words.splitlines()) > 3


def test_a_picture_of_many_decks_shows_those_rows_that_matter():
    batch = batch_of("memenvs/popgym-RepeatFirstHard-v0")
    state, level = batch.rows["state"][0], batch.rows["level"][0]
    height = batch.definition.draw(state, level).shape[0]
    assert batch.definition.text(state, level).splitlines()[1].startswith("[")
    for time in (400, 830):
        state["time"] = time
        lines = batch.definition.text(state, level).splitlines()
        assert len(lines) == 9
        assert any("[" in line for line in lines[1:])
        assert batch.definition.draw(state, level).shape[0] == height < 1000


DAMAGES = {
    "Autoencode": ("level.n", "level.cards", "state.time"),
    "RepeatFirst": ("level.k", "level.cards", "state.time"),
    "CountRecall": ("level.classes", "level.queries", "level.cards", "state.time", "state.counts"),
    "HigherLower": ("level.n", "level.cards", "state.time"),
    "Battleship": ("level.board", "level.ships", "state.hits", "state.last"),
    "Concentration": ("level.cards", "state.first", "state.shown", "state.up", "state.seen"),
    "MineSweeper": ("level.mined", "level.board", "state.open", "state.last"),
    "MultiarmedBandit": ("level.arms", "level.best", "level.chances", "state.last", "state.pulls"),
}


@pytest.mark.parametrize(("family", "field"), [(family, one) for family, fields in DAMAGES.items() for one in fields])
def test_a_snapshot_that_was_damaged_is_refused(family, field):
    envs = gym.make_vec(f"memenvs/popgym-{family}Easy-v0", num_envs=2)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(envs.action_space.sample())
    kept, batch = envs.snapshot(), envs.unwrapped.batch
    record, name = field.split(".")
    values = batch.rows[record][name]
    most = 100 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    for wrong in (most,) if values.dtype.kind == "u" else (most, -5):
        values[(1, *[0] * (values.ndim - 1))] = wrong
        damaged = envs.snapshot()
        with pytest.raises(ValueError, match="damaged"):
            envs.restore(damaged)
        envs.restore(kept)


def test_an_end_in_both_ways_is_one_where_the_definition_does_not_say_so():
    definition = definition_of(find("popgym-BattleshipEasy-v0"))
    for said in (True, False):
        batch = Batch(replace(definition, both_ends=said), 1, autoreset=False, interpret=True)
        batch.seed(0)
        batch.reset()
        batch.rows["state"]["time"] = 52
        for _ in range(12):
            batch.step(batch.oracle())
        assert (batch.terminated[0], batch.truncated[0]) == (True, said)


def test_a_time_limit_beside_a_termination():
    definition = replace(definition_of(find("popgym-BattleshipEasy-v0")), both_ends=True)
    batch = Batch(definition, 1, limit=12, autoreset=False, interpret=True)
    batch.seed(0)
    batch.reset()
    for _ in range(12):
        batch.step(batch.oracle())
    assert (batch.terminated[0], batch.truncated[0]) == (True, False)


def test_ships_of_other_lengths_and_boards_of_other_sizes():
    for parameters in ({"board": 4, "ships": (1, 1, 2, 4)}, {"board": 16, "ships": (16, 16, 5, 5, 5, 5, 5, 5)}):
        batch = batch_of("memenvs/popgym-BattleshipEasy-v0", **parameters)
        level = batch.rows["level"][0]
        bits = np.unpackbits(level["ships"].view(np.uint8), bitorder="little")
        assert bits.sum() == level["squares"] == sum(parameters["ships"])
        assert not bits[parameters["board"] ** 2 :].any()
    assert batch_of("memenvs/popgym-MineSweeperEasy-v0", board=16, mines=12).definition.observation_space == Discrete(
        10
    )
