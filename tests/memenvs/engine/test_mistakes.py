# ruff: noqa: RET503
"""Mistakes in definitions: each is one error when the environment is defined or made, which names the function."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Tuple

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.compilation import njit
from memenvs.engine.batch import Batch
from memenvs.engine.errors import DefinitionError
from tests.memenvs.support.drifting import define

OWNER = r"Drifting\(width=3, patience=12\)"


def place_only(*fields):
    return np.dtype([("key", np.uint64), ("place", np.int64), *fields])


@njit
def write_metric(state, level, out):
    out[0] = 1


@njit
def sometimes_act(state, level):
    if state.place > 0:
        return 1


@njit
def act_halfway(state, level):
    return 0.5


@njit
def draw_without_a_word(params, key, level):
    level.width, level.patience = params.width, params.patience


@njit
def return_two(state, level, action):
    return 1.0, state.place == level.width


@njit
def return_one_or_three(state, level, action):
    if action == 1:
        return 0.0
    return 1.0, False, False


def not_compiled(state, level, action):
    return 1.0, False, False


def one_more(x):
    return x + 1


@njit
def call_what_is_not_compiled(state, level, action):
    state.place = one_more(state.place)
    return 1.0, False, False


@njit
def write_a_field_that_is_missing(state, level, action):
    state.plaec = action
    return 1.0, False, False


@njit
def read_a_field_that_is_missing(state, level, action):
    return 1.0, state.place == level.widht, False


@njit
def call_what_is_missing(state, level, action):
    return no_such_function(state.place), False, False  # type: ignore[name-defined]  # noqa: F821


@njit
def observe_beyond_the_end(state, level, out):
    out.place[0] = 1
    out.scent[0, 2] = 1


@njit
def read_beyond_the_end(state, level, out):
    out.place[0] = out.scent[2, 0]


@njit
def no_mask(state, level):
    pass


@njit
def legal_without_a_field(state, level, mask):
    mask[level.widht] = True


@njit
def maybe_sound(params, state, level):
    if level.width > 0:
        return True


@njit
def step_swapped(level, state, action):
    return 1.0, state.place == level.width, False


@njit
def step_swapped_in_silence(first, second, action):
    return 1.0, second.place == first.width, False


@njit
def measure_beyond_the_end(state, level, out):
    out[0] = 1
    out[-2] += state.place


@njit
def measure_on_one_path(state, level, metrics):
    if state.place == level.width:
        metrics[2] = 1


@njit
def legal_beyond_the_end(state, level, mask):
    mask[3] = True


@njit
def read_a_global_beyond_the_end(state, level, action):
    return GLOBAL_ARRAY[2 + 1], False, False


@njit
def read_a_global_list(state, level, action):
    return GLOBAL_LIST[action], False, False


@njit
def read_a_global_set(state, level, action):
    return 1.0 if action in GLOBAL_SET else 0.0, False, False


@njit
def read_a_global_dict(state, level, action):
    return GLOBAL_DICT[action], False, False


@njit
def format_a_number(state, level, action):
    said = f"{state.place:.2f}"
    return float(len(said)), False, False


@njit
def open_a_file(state, level, action):
    with open("log") as log:
        log.write("step")
    return 1.0, False, False


GLOBAL_LIST, GLOBAL_SET, GLOBAL_DICT, GLOBAL_ARRAY = [0.5, 1.5], {1, 2}, {0: 0.5}, np.zeros(3)
GLOBAL, ALLOWED = "`step` of NAME cannot be compiled: the global", "must be a number, a tuple or a NumPy array, not a"
PLACE = r"\(.*test_mistakes.py, line \d+\)\. To run it as plain Python: memenvs.testing.debug$"
ORDER = r"\(state, level, action\), in this order"


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        # The five that newcomers make most.
        (
            {"out": np.dtype([("place", np.int16, (1,)), ("scent", np.float32, (2,))])},
            "`out` of NAME and its observation_space, at 'scent', must have the same dtype and shape, "
            r"not float32 \(2,\) and float32 \(2, 2\)",
        ),
        ({"step": not_compiled}, "`step` of NAME must be decorated with memenvs.compilation.njit"),
        (
            {"state": np.dtype([("place", np.int64), ("age", np.int64)])},
            r"`state` of NAME must have a field 'key' of uint64, which is missing among \['place', 'age'\]",
        ),
        ({"generate": draw_without_a_word}, "`generate` of NAME must return True or False on every path, not None"),
        ({"oracle": sometimes_act}, "`oracle` of NAME must return an integer on every path, not int64 or None"),
        # Others.
        (
            {"out": np.dtype([("place", np.int32, (1,)), ("scent", np.float32, (2, 2))])},
            r".* at 'place', must have the same dtype and shape, not int32 \(1,\) and int16 \(1,\)",
        ),
        (
            {"out": np.dtype([("place", np.int16, (1,)), ("smell", np.float32, (2, 2))])},
            r"`out` of NAME must have a field for each entry of observation_space, \['place', 'scent'\], not",
        ),
        ({"out": np.dtype([("place", np.int16, (1,))])}, "`out` of NAME has one field, which gives an array: "),
        (
            {"observation_space": Box(0, 1, (2,))},
            r"`out` of NAME has the fields .*: observation_space must be a Dict or a Tuple",
        ),
        (
            {"observation_space": Tuple([Box(0, 1, (2,))])},
            r"`out` of NAME must have a field for each of the 1 entries of observation_space, not \['place', 'scent'\]",
        ),
        (
            {"observation_space": Tuple([Box(0, 1, (2,))] * 2)},
            "`out` of NAME, at 'place', and entry 0 of its observation_space must have the same dtype and shape",
        ),
        (
            {"observation_space": Dict({"place": Box(0, 1, (1,), np.int16)})},
            r"`out` of NAME must have a field for each entry of observation_space, \['place'\], not",
        ),
        ({"metrics": ("success",)}, r"`measure` of NAME must be given, to write its metrics \['success'\]"),
        ({"metrics": "success", "measure": write_metric}, "`metrics` of NAME must be a tuple of names, not 'success'"),
        ({"measure": write_metric}, "`metrics` of NAME must name what its `measure` writes"),
        ({"state": np.dtype([("key", np.int64)])}, "`state` of NAME must have a field 'key' of uint64, not int64"),
        (
            {"state": place_only(("age", ">i8"))},
            "`state.age` of NAME must have this machine's order of bytes, not '>i8'",
        ),
        (
            {"level": np.dtype([("map", [("cells", ">u2", (3, 3))])])},
            "`level.map.cells` of NAME must have this machine's order of bytes, not '>u2'",
        ),
        ({"params": np.zeros(1, [("width", ">f4")])}, "`params.width` of NAME must have this machine's order of bytes"),
        (
            {"out": np.dtype([("place", ">i2", (1,)), ("scent", "f4", (2, 2))])},
            "`out.place` of NAME must have this mach",
        ),
        ({"state": place_only(("gone", bool, (3,)))}, "`state.gone` of NAME must be an array of uint8: Numba has no"),
        ({"state": place_only(("name", object))}, "`state.name` of NAME must be a number, not object"),
        ({"params": np.zeros(2, [("width", int)])}, r"`params` of NAME must be one record in an array of shape \(1,\)"),
        ({"level": [("width", int)]}, "`level` of NAME must be a dtype of named fields, not"),
        ({"observe": no_mask}, r"`observe` of NAME must take the arguments \(state, level, out\): too many positional"),
        ({"observe": None}, "`observe` of NAME must be a function, not None"),
        ({"step": return_two}, r"`step` of NAME must return reward, .*, not 2 values \(float64, bool\)"),
        (
            {"step": return_one_or_three},
            "`step` of NAME cannot be compiled: its paths return values of different types",
        ),
        (
            {"step": call_what_is_not_compiled},
            "`step` of NAME cannot be compiled: it calls `one_more`, which must be decorated with .*test_mistakes.py",
        ),
        (
            {"step": write_a_field_that_is_missing},
            r"`step` of NAME cannot be compiled: no record has a field 'plaec' among {'state': \['key', 'place', ",
        ),
        (
            {"step": read_a_field_that_is_missing},
            "`step` of NAME cannot be compiled: no record has a field 'widht' among {'state': ",
        ),
        ({"step": call_what_is_missing}, "`step` of NAME cannot be compiled: `no_such_function` is not defined"),
        ({"oracle": act_halfway}, "`oracle` of NAME must return an integer on every path, not float64"),
        (
            {"observe": observe_beyond_the_end},
            r"`observe` of NAME has the index \(0, 2\) into an array of shape \(2, 2\)",
        ),
        ({"observe": read_beyond_the_end}, r"`observe` of NAME has the index \(2, 0\) into an array of shape \(2, 2\)"),
        ({"legal": legal_without_a_field}, "`legal` of NAME cannot be compiled: no record has a field 'widht' among"),
        ({"sound": maybe_sound}, "`sound` of NAME must return True or False on every path, not bool or None"),
        (
            {"step": step_swapped},
            rf"`step` of NAME must take the arguments {ORDER}, not \(level, state, action\)$",
        ),
        (
            {"step": step_swapped_in_silence},
            f"`step` of NAME cannot be compiled: it asks another record for the field 'place' of `state`; .*{ORDER}",
        ),
        (
            {"measure": measure_beyond_the_end, "metrics": ("success",)},
            r"`measure` of NAME has the index -2 into an array of shape \(1,\), in line \d+$",
        ),
        (
            {"measure": measure_on_one_path, "metrics": ("success", "found")},
            r"`measure` of NAME has the index 2 into an array of shape \(2,\), in line \d+$",
        ),
        ({"legal": legal_beyond_the_end}, r"`legal` of NAME has the index 3 into an array of shape \(3,\)"),
        ({"step": read_a_global_beyond_the_end}, r"`step` of NAME has the index 3 into an array of shape \(3,\)"),
        ({"step": read_a_global_list}, f"{GLOBAL} `GLOBAL_LIST` {ALLOWED} list {PLACE}"),
        ({"step": read_a_global_set}, f"{GLOBAL} `GLOBAL_SET` {ALLOWED} set {PLACE}"),
        ({"step": read_a_global_dict}, f"{GLOBAL} `GLOBAL_DICT` {ALLOWED} dict {PLACE}"),
        ({"step": format_a_number}, f"`step` of NAME cannot be compiled: format spec in f-strings .* {PLACE}"),
        ({"step": open_a_file}, f"`step` of NAME cannot be compiled: The 'with .* {PLACE}"),
    ],
)
def test_a_mistake_is_named(mistake, message):
    with pytest.raises(ValueError, match=f"^{message.replace('NAME', OWNER)}") as caught:
        Batch(replace(define(), **mistake), 1)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "mistake",
    [
        {"oracle": sometimes_act},
        {"observe": observe_beyond_the_end},
        {"measure": measure_beyond_the_end, "metrics": ("success",)},
    ],
)
def test_a_mistake_is_named_again(mistake):
    for _ in range(2):
        with pytest.raises(DefinitionError, match=f"^`{next(iter(mistake))}` of"):
            Batch(replace(define(), **mistake), 1)


def test_the_metrics_are_counted_whatever_has_been_compiled_before():
    metrics = ("success", "found")
    Batch(replace(define(), measure=measure_beyond_the_end, metrics=metrics), 1)
    with pytest.raises(DefinitionError, match="the index -2 into"):
        Batch(replace(define(), measure=measure_beyond_the_end, metrics=metrics[:1]), 1)


def test_functions_may_give_their_arguments_other_names():
    @njit
    def step(s, floor, a):
        return 1.0, s.place == floor.width, False

    assert Batch(replace(define(), step=step), 1).size == 1


def forget_the_return(width=3):
    define(width)


def forget_a_function(width=3):
    return Definition(**{name: value for name, value in vars(define(width)).items() if name != "step"})


@pytest.mark.parametrize(
    ("make", "parameters", "message"),
    [
        (define, {"widht": 3}, r"parameters of Own must be \(width, patience\): got an unexpected .* 'widht'"),
        (lambda size: define(size), {}, r"parameters of Own must be \(size\): missing a required argument: 'size'"),
        (forget_the_return, {}, "`define` of Own must return a Definition, not None"),
        (forget_a_function, {}, "`define` of Own: Definition missing 1 required positional argument: 'step'"),
    ],
)
@pytest.mark.parametrize("kind", [SingleEnv, BatchedEnv])
def test_mistakes_of_define(kind, make, parameters, message):
    with pytest.raises(DefinitionError, match=f"^{message}"):
        type("Own", (kind,), {"define": staticmethod(make)})(**parameters)


def test_definitions_with_records_that_begin_alike_do_not_warn():
    """The defaults, which definitions share, are not taken for those of another's shorter records."""
    names = ("generate", "reset", "step", "observe", "digest")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for more in ([], [("one", np.int64)], [("one", np.int64), ("two", np.int64)]):
            definition = define()
            own = {name: njit(getattr(definition, name).py_func) for name in names}
            batch = Batch(replace(definition, state=place_only(("age", np.int64), *more), **own), 2)
            batch.seed(0)
            batch.reset()
            batch.step(batch.random_walk(np.random.default_rng(0)))
            batch.restore(batch.snapshot())
