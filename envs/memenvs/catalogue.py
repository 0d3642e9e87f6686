"""A catalogue of the environments with the descriptions in their docstrings, for people and for the documentation."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from memenvs.batched import Definition, SingleEnv
from memenvs.engine.batch import check_split
from memenvs.engine.defaults import no_oracle
from memenvs.engine.definition import defined
from memenvs.grid.ids import SUMMARIES

NAMESPACE = "memenvs"


def environments() -> dict[str, EnvSpec]:
    """Return the environments registered by memenvs, by id, in the order of registration."""
    return {name: spec for name, spec in gymnasium.registry.items() if spec.namespace == NAMESPACE}


def find(env_id: str) -> EnvSpec:
    """Return the registered environment of an id.

    :param env_id: an id, for which ``memenvs/`` may be left out; or ``"package:Id"``, to import first the package that
        registers it
    :raises ValueError: if there is none; the message lists those of memenvs
    """
    name = registered_name(env_id)
    ours = f"{NAMESPACE}/{name}"
    # MiniGrid's own ids, where it has been imported, must not hide those that are named like them here.
    for known in (ours, name) if name == env_id else (name, ours):
        if known in gymnasium.registry:
            return gymnasium.registry[known]
    raise ValueError(unknown(env_id, name))


def registered_name(env_id: str) -> str:
    """Return the id in ``env_id``, after importing the package that may stand before it: ``"package:Id"``.

    :raises ValueError: if ``env_id`` is no string, or there is no such package
    """
    if not isinstance(env_id, str):
        raise ValueError(f"env must be the id of an environment, not {env_id!r}")
    package, _, name = env_id.rpartition(":")
    missing = f"env {env_id!r}: there is no module {package!r} to import it from"
    if package.startswith("."):  # which importlib takes for a relative import
        raise ValueError(missing)
    if package:
        before = set(gymnasium.registry)
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if not f"{package}.".startswith(f"{error.name}."):  # what is missing is something else that it imports
                raise
            raise ValueError(missing) from error
        _registered.setdefault(package, set()).update(gymnasium.registry.keys() - before)
    return name


def unknown(env_id: str, name: str) -> str:
    """Return the message for an id that is not registered: those spelled alike, and what there is instead.

    :param env_id: the id; behind a package other than memenvs, that package's ids are listed, else those of memenvs
    :param name: the id without its package, from :func:`registered_name`
    """
    package = env_id.rpartition(":")[0]
    package = "" if package.partition(".")[0] == NAMESPACE else package
    bare: dict[str, list[str]] = {}  # without a namespace, which is what is left out or wrong most easily
    for known in gymnasium.registry:
        bare.setdefault(known.rpartition("/")[2], []).append(known)
    close_by = difflib.get_close_matches(name.rpartition("/")[2], bare)
    alike = ", ".join(_with_package(known, package) for one in close_by for known in sorted(bare[one], key=len))
    hint = f"spelled alike: {alike}; " if alike else ""
    own = [f"{package}:{known}" for known in sorted(gymnasium.registry) if _is_of(known, package)]
    if own:
        return f"there is no environment {env_id!r}; {hint}{package} has: {', '.join(own)}"
    return (
        f"there is no environment {env_id!r}; {hint}one that a package of yours registers is 'package:Id'; "
        f"{NAMESPACE} has: {_ours(name)}"
    )


def _ours(name: str) -> str:
    """Return the ids of memenvs; of its many of MiniGrid and of POPGym only where ``name`` is like one of them."""
    others, many = sorted(environments()), []
    for family, word in (("POPGym", "popgym"), ("MiniGrid", "MiniGrid")):
        ids = [known for known in others if known.startswith(f"{NAMESPACE}/{word}-")]
        if name.startswith(f"{NAMESPACE}/{word}"):
            return ", ".join(ids)
        others = [known for known in others if known not in ids]
        many.append(f"{len(ids)} of {family} such as {ids[-1]}")
    return f"{', '.join(others)}, {', and '.join(many)}"


_registered: dict[str, set[str]] = {}  # the ids that came with the import of a package


def _needs(name: str, package: str) -> bool:
    """Return whether a registered id is found only where a package has been imported."""
    spec, module = gymnasium.registry[name], _module(name)
    if spec.namespace == NAMESPACE or module == "minigrid":  # which is imported where an id is not found
        return False
    return module != "gymnasium" or name in _registered.get(package, ())


def _is_of(name: str, package: str) -> bool:
    """Return whether a package registers an id, which may stand for what another module makes."""
    own = name in _registered.get(package, ()) or _module(name) == package.partition(".")[0]
    return own and _needs(name, package)


def _module(name: str) -> str:
    """Return the top-level package of what makes an environment."""
    creator = gymnasium.registry[name].entry_point
    module = creator if isinstance(creator, str) else getattr(creator, "__module__", "")
    return module.partition(":")[0].partition(".")[0]


def _with_package(name: str, package: str) -> str:
    """Return a registered id as it can be given again: behind the package that was imported, unless it needs none."""
    return f"{package}:{name}" if package and _needs(name, package) else name


def environment_class(spec: EnvSpec) -> type[SingleEnv]:
    """Return the class of an environment.

    :raises ValueError: for one that is not built on :mod:`memenvs.batched`
    """
    creator: Any = spec.entry_point
    creator = load_env_creator(creator) if isinstance(creator, str) else creator
    if not (isinstance(creator, type) and issubclass(creator, SingleEnv)):
        raise ValueError(f"{spec.id} is not built on memenvs.batched, so it has no description here")
    return creator


def definition_of(spec: EnvSpec) -> Definition:
    """Return the definition of an environment with its registered parameters, and defaults for the others."""
    return defined(environment_class(spec), spec.kwargs)


def parameters(spec: EnvSpec) -> dict[str, inspect.Parameter]:
    """Return the parameters of ``define`` by name, with the defaults that hold for this id."""
    own = inspect.signature(environment_class(spec).define).parameters
    return {
        name: parameter.replace(default=spec.kwargs.get(name, parameter.default)) for name, parameter in own.items()
    }


def has_oracle(definition: Definition) -> bool:
    """Return whether the best action is known."""
    return definition.oracle is not no_oracle


def has_split(definition: Definition) -> bool:
    """Return whether its levels are divided into ``train`` and ``test``."""
    try:
        check_split(definition, "test")
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Description:
    """The contents of an environment's docstring.

    :param summary: its first sentence, without the id
    :param body: the rest, without the parameters
    :param parameters: the text of each ``:param ...:``
    """

    summary: str
    body: str
    parameters: dict[str, str]


def summary(spec: EnvSpec) -> str:
    """Return a one-line description of an id: of its level where that is one of MiniGrid's, else of its class."""
    return SUMMARIES.get(spec.kwargs.get("level", ""), "") or describe(environment_class(spec)).summary


def describe(cls: type) -> Description:
    """Split a docstring into its parts."""
    text = inspect.cleandoc(cls.__doc__ or "")
    text, *fields = re.split(r"^:param (\w+): ", text, flags=re.MULTILINE)
    first, _, body = text.partition("\n\n")
    summary = re.sub(r"^``[\w/.-]+-v\d+``[^:]*: ", "", " ".join(first.split()))
    names, meanings = fields[::2], fields[1::2]
    meaning_of = {name: " ".join(meaning.split()) for name, meaning in zip(names, meanings, strict=True)}
    return Description(summary[:1].upper() + summary[1:], body.strip(), meaning_of)
