"""What a training can be told: on the command line, in a recipe, in the ``config.yaml`` of a run."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
import yaml
from stable_baselines3.common.utils import LinearSchedule
from tyro.constructors import PrimitiveConstructorSpec

from memagents.checkpoint import CheckpointError, write_bytes
from memagents.curriculum import Lesson

CONFIG_FILE = "config.yaml"


class _Loader(yaml.SafeLoader):
    """YAML that reads 3e-4 as a number, as its version 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_pairs(words: Sequence[str]) -> dict[str, Any]:
    """Parameters from the command line: words ``key=value``, or a YAML mapping; values are YAML.

    :raises ValueError: for anything else
    """
    pairs: dict[str, Any] = {}
    for word in words:
        try:
            key, equals, value = word.partition("=")
            mapping = {key: yaml.load(value, _Loader)} if key.isidentifier() and equals else yaml.load(word, _Loader)
        except yaml.YAMLError as error:
            raise ValueError(f"{word!r} is no YAML: {error}") from error
        if not isinstance(mapping, dict):
            raise ValueError(f"{word!r} must be key=value, or a YAML mapping such as '{{key: value}}'")
        pairs |= mapping
    return pairs


Pairs = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEY=VALUE",
        instance_from_str=parse_pairs,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda pairs: [f"{k}={yaml.safe_dump(v, default_flow_style=True)}" for k, v in pairs.items()],
    ),
]


@dataclass(kw_only=True)
class Settings:
    """What every training can be told.

    :param env: id of an environment: one of memenvs or gymnasium, or "package:Id" to import the package that registers
        it
    :param env_kwargs: its parameters, as key=value with values in YAML (--env-kwargs length=5 'stations=[4, 6]') or as
        one YAML mapping (--env-kwargs '{length: 5}'); they add to those of the recipe. Where an environment has splits,
        training is on split=train unless a split is named
    :param n_envs: how many environments run side by side
    :param condition_on: what of the previous step the agent also sees
    :param core: the memory system, or "package:name" to import the package that registers it
    :param core_kwargs: its parameters, written like --env-kwargs
    :param policy_kwargs: further parameters of the policy, such as net_arch=[64], written like --env-kwargs
    :param recipe: settings to begin with: a name in train/recipes, or the path of a YAML file; the command line
        overrides it
    :param init_from: begin with the weights of this run
    :param resume: go on exactly with this interrupted run; but for --device, nothing else may be said then
    :param total_timesteps: environment steps to learn from
    :param learning_rate: of the optimiser
    :param memory_learning_rate: of the memory's parameters; by default the same
    :param schedule: whether the learning rates stay, or fall linearly to zero
    :param gamma: discount of later rewards
    :param max_grad_norm: the gradient's norm is clipped to it
    :param seed: of everything random
    :param device: auto, cpu, cuda or cuda:N
    :param threads: of torch; by default one for each core (or OMP_NUM_THREADS)
    :param run_dir: folder of the run; by default a new one named runs/ENV-CORE-SEED
    :param overwrite: replace the run that is in --run-dir
    :param checkpoint_interval: windows (of NEC: updates) from one checkpoint to the next
    :param eval_episodes: episodes of the evaluation that follows, on split=test where there is one; 0 for none
    :param imports: packages to import first, for cores and environments they register
    :param review: share of the environments that a lesson leaves to all earlier ones
    :param lessons: a curriculum; in recipes only
    """

    algorithm: ClassVar[str]

    env: str = "memenvs/TMaze-v0"
    env_kwargs: Pairs = field(default_factory=dict)
    n_envs: int = 64
    condition_on: tuple[Literal["action", "reward"], ...] = ()
    core: str = "lstm"
    core_kwargs: Pairs = field(default_factory=dict)
    policy_kwargs: Pairs = field(default_factory=dict)
    recipe: str | None = None
    init_from: str | None = None
    resume: str | None = None
    total_timesteps: int = 1_000_000
    learning_rate: float = 3e-4
    memory_learning_rate: float | None = None
    schedule: Literal["constant", "linear"] = "constant"
    gamma: float = 0.99
    max_grad_norm: float = 0.5
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    run_dir: str | None = None
    overwrite: bool = False
    checkpoint_interval: int = 50
    eval_episodes: int = 500
    imports: tuple[str, ...] = ()
    review: float = 0.0
    lessons: tyro.conf.Suppress[tuple[Lesson, ...]] = ()

    def __post_init__(self) -> None:
        for name, low in (("total_timesteps", 1), ("eval_episodes", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")
        if not 0 <= self.review < 1:
            raise ValueError(f"review must be a share in [0, 1), not {self.review}")

    def hyperparameters(self) -> dict[str, Any]:
        """What of the settings are arguments of the algorithm's constructor, by their names there."""
        names = ("gamma", "max_grad_norm", "condition_on", "checkpoint_interval", "seed", "device")
        rates = {name: self._scheduled(getattr(self, name)) for name in ("learning_rate", "memory_learning_rate")}
        return {
            **rates,
            **{name: getattr(self, name) for name in names},
            "stats_window_size": max(200, 2 * self.n_envs) if self.lessons else 100,
            "policy_kwargs": {**self.policy_kwargs, "core": self.core, "core_kwargs": self.core_kwargs},
        }

    def _scheduled(self, rate: float | None) -> Any:
        return rate if rate is None or self.schedule == "constant" else LinearSchedule(rate, 0.0, 1.0)


@dataclass(kw_only=True)
class WindowSettings(Settings):
    """What is told to the agents that learn from windows of experience.

    :param n_steps: length of a window of experience; it should hold two episodes or more where the task allows
    :param n_minibatches: sets into which the environments of a window are dealt; by default 4
    :param n_epochs: passes over a window
    :param gae_lambda: λ of the generalised advantage estimation
    :param ent_coef: weight of the entropy bonus
    :param final_ent_coef: what it becomes, linearly, by the end of the training; by default it stays
    :param vf_coef: weight of the value loss
    """

    n_steps: int = 128
    n_minibatches: int | None = None
    n_epochs: int = 4
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    final_ent_coef: float | None = None
    vf_coef: float = 0.5

    def hyperparameters(self) -> dict[str, Any]:
        own = ("n_steps", "n_minibatches", "n_epochs", "gae_lambda", "ent_coef", "vf_coef")
        told = {**super().hyperparameters(), **{name: getattr(self, name) for name in own}}
        if self.final_ent_coef is not None:
            told["ent_coef"] = LinearSchedule(self.ent_coef, self.final_ent_coef, 1.0)
        return told


@dataclass(kw_only=True)
class PPOSettings(WindowSettings):
    """Proximal policy optimisation through a memory.

    :param clip_range: ε of the surrogate objective
    :param clip_range_vf: the same around the old values; by default values are not clipped
    :param normalize_advantage: advantages of a window to mean 0 and standard deviation 1
    :param target_kl: stop the epochs of a window beyond 1.5 times this divergence; by default never
    """

    algorithm: ClassVar[str] = "RecurrentPPO"

    clip_range: float = 0.2
    clip_range_vf: float | None = None
    normalize_advantage: bool = True
    target_kl: float | None = None

    def hyperparameters(self) -> dict[str, Any]:
        own = ("clip_range", "clip_range_vf", "normalize_advantage", "target_kl")
        return {**super().hyperparameters(), **{name: getattr(self, name) for name in own}}


@dataclass(kw_only=True)
class ImitationSettings(WindowSettings):
    """Imitation of the environment's oracle, through a memory.

    :param oracle_share: probability of doing what the oracle says rather than what the policy says: 1 is behaviour
        cloning, less is DAgger
    :param whole_episodes: begin new episodes with every window, so that none is cut before its first end
    """

    algorithm: ClassVar[str] = "Imitation"

    n_epochs: int = 1
    oracle_share: float = 1.0
    whole_episodes: bool = False

    def hyperparameters(self) -> dict[str, Any]:
        own = ("oracle_share", "whole_episodes")
        return {**super().hyperparameters(), **{name: getattr(self, name) for name in own}}


S = TypeVar("S", bound=Settings)


# --- the command line -----------------------------------------------------------------------------------------------


def command_line(cls: type[S], recipes: Path, argv: Sequence[str] | None = None) -> S:
    """The settings a script was given: the recipe's, then those of the command line; or the run's that is resumed.

    :param cls: :class:`PPOSettings` or :class:`ImitationSettings`
    :param recipes: folder of the recipes
    :param argv: the command line without the script's name; by default this process's
    :raises ValueError: for an unknown recipe or a setting that is not allowed; tyro itself answers ``--help`` and what
        is no option at all, and exits
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--recipe", "--resume", "--device"):
        early.add_argument(option)
    given, others = early.parse_known_args(argv)
    if given.resume is not None and not {"-h", "--help"} & set(others):
        if others or given.recipe is not None:
            raise ValueError(
                f"--resume goes on with the settings in {Path(given.resume) / CONFIG_FILE}; beside it only --device is "
                f"allowed, not {(['--recipe'] if given.recipe else others)[0]}"
            )
        return _resumed(cls, Path(given.resume), given.device)
    begun = of_recipe(cls, given.recipe, recipes) if given.recipe is not None else cls()
    return _merged(begun, tyro.cli(cls, default=begun, args=argv))


def _resumed(cls: type[S], folder: Path, device: str | None) -> S:
    """The settings of an interrupted run, if it is one of this kind."""
    settings = of_run(folder, resume=str(folder))
    if not isinstance(settings, cls):
        raise CheckpointError(f"{folder} is a run of {settings.algorithm}, and this script trains {cls.algorithm}")
    return settings if device is None else dataclasses.replace(settings, device=device)


def _merged(begun: S, told: S) -> S:
    """The settings told, their parameters on top of the recipe's; those of another environment or core do not apply."""
    changes: dict[str, Any] = {}
    for owner, name in (("env", "env_kwargs"), ("core", "core_kwargs")):
        before, after = getattr(begun, name), getattr(told, name)
        if getattr(begun, owner) == getattr(told, owner):
            changes[name] = {**before, **after}
        elif before == after:
            changes[name] = {}
    if begun.env != told.env:
        changes["lessons"] = ()
    changes["policy_kwargs"] = {**begun.policy_kwargs, **told.policy_kwargs}
    return dataclasses.replace(told, **changes)


# --- files ----------------------------------------------------------------------------------------------------------


def of_recipe(cls: type[S], name: str, recipes: Path, **changes: Any) -> S:
    """The settings of a recipe.

    :param name: of a file in ``recipes`` without its ending, or the path of a YAML file
    :param changes: settings that differ from it
    :raises ValueError: if there is no such recipe (the message lists those there are), or it says something wrong
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else recipes / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in recipes.glob("*.yaml")))
        raise ValueError(f"there is no recipe {name!r}; there are: {there}; or give the path of a YAML file")
    return from_mapping(cls, {**_read(path), "recipe": name}, str(path), **changes)


def of_run(folder: Path, **changes: Any) -> Settings:
    """The settings of a run.

    :param folder: the run's
    :param changes: settings that differ from it
    :raises CheckpointError: if it has none, or they cannot be read
    """
    path = folder / CONFIG_FILE
    if not folder.is_dir():
        raise CheckpointError(f"there is no run folder {folder}")
    if not path.is_file():
        raise CheckpointError(f"{folder} is no run of the training scripts: it has no {CONFIG_FILE}")
    values = _read(path)
    algorithm = values.pop("algorithm", None)
    kinds: dict[Any, type[Settings]] = {kind.algorithm: kind for kind in (PPOSettings, ImitationSettings)}
    if algorithm not in kinds:
        raise CheckpointError(f"{path}: algorithm must be {' or '.join(kinds)}, not {algorithm!r}")
    try:
        return from_mapping(kinds[algorithm], values, str(path), **changes)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def imports_of_run(folder: Path) -> tuple[str, ...]:
    """The packages a run imported, without which its core or environment may be unknown; none if it does not tell."""
    return of_run(folder).imports if (folder / CONFIG_FILE).is_file() else ()


def write_config(settings: Settings, folder: Path) -> None:
    """All that was asked, as ``config.yaml``."""
    values = {"algorithm": settings.algorithm, **dataclasses.asdict(settings)}
    values |= {name: list(values[name]) for name in ("condition_on", "imports", "lessons")}
    for name in ("resume", "overwrite"):
        del values[name]
    write_bytes(folder / CONFIG_FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())


def from_mapping(cls: type[S], values: Mapping[str, Any], source: str, **changes: Any) -> S:
    """Settings from plain values, checked.

    :param source: what the values are from, for messages
    :raises ValueError: for a setting that does not exist, or a value of a wrong kind
    """
    annotations = get_type_hints(cls)
    hints = {f.name: annotations[f.name] for f in dataclasses.fields(cls)}
    values = dict(values)
    if "lessons" in values:
        values["lessons"] = _lessons(values["lessons"], source)
    unknown = [name for name in values if name not in hints]
    if unknown:
        raise ValueError(f"{source}: there is no setting {unknown[0]!r}; there are: {', '.join(sorted(hints))}")
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{source}: {name} must be {_in_words(hints[name])}, not {value!r}")
        if isinstance(value, list):
            values[name] = tuple(value)
    return cls(**{**values, **changes})


def _lessons(lessons: Any, source: str) -> tuple[Lesson, ...]:
    """A curriculum from plain values."""
    known = [f.name for f in dataclasses.fields(Lesson)]
    if not isinstance(lessons, list) or not all(isinstance(one, dict) and set(one) <= set(known) for one in lessons):
        raise ValueError(f"{source}: lessons must be a list of mappings with {' and '.join(known)}, not {lessons!r}")
    made = tuple(Lesson(**{"env_kwargs": {}, **one}) for one in lessons)
    for number, lesson in enumerate(made):
        asked = [rate for rate in (lesson.success, lesson.accuracy) if rate is not None]
        good = all(isinstance(rate, int | float) and 0 < rate <= 1 for rate in asked)
        if not isinstance(lesson.env_kwargs, dict) or not good or not (asked or lesson is made[-1]):
            raise ValueError(
                f"{source}: lesson {number} needs env_kwargs, a mapping, and success or accuracy, a rate above 0 and "
                f"up to 1 (only the last may lack both), not {lessons[number]!r}"
            )
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} is no readable YAML file: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise CheckpointError(f"{path} must hold a mapping of settings")
    return values


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from YAML is of the kind that an annotation wants."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, inner[0]) for one in value)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def _in_words(hint: Any) -> str:
    """What :func:`_fits` wants."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(one) for one in inner)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return f"a list of {_in_words(inner[0])}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a text", dict: "a mapping"}
    return words.get(origin or hint, "null")
