"""Which environments there are, and what their docstrings say of them: for people and for the documentation."""

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
from memenvs.engine.definition import no_oracle

NAMESPACE = "memenvs"


def environments() -> dict[str, EnvSpec]:
    """What memenvs has registered, by id, in the order of registration."""
    return {name: spec for name, spec in gymnasium.registry.items() if spec.namespace == NAMESPACE}


def find(env_id: str) -> EnvSpec:
    """What is registered as an id.

    :param env_id: an id, for which ``memenvs/`` may be left out; or ``"package:Id"``, to import first the package that
        registers it
    :raises ValueError: if there is none; the message lists those of memenvs
    """
    package, _, name = env_id.rpartition(":")
    if package:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name is None or not package.startswith(error.name):
                raise
            raise ValueError(f"there is no module {package!r} to import {name!r} from") from error
    for known in (name, f"{NAMESPACE}/{name}"):
        if known in gymnasium.registry:
            return gymnasium.registry[known]
    raise ValueError(f"there is no environment {env_id!r}; {_known(name)}")


def _known(name: str) -> str:
    """What memenvs has, the many ids of a class by their number alone, and what is spelled alike."""
    there: dict[Any, list[str]] = {}
    for known, spec in environments().items():
        there.setdefault(spec.entry_point, []).append(known)
    told = [ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} like it" for ids in there.values()]
    alike = difflib.get_close_matches(name, [*environments(), *(known.partition("/")[2] for known in environments())])
    close = f"; spelled alike: {', '.join(alike)}" if alike else ""
    return f"memenvs has: {', '.join(told)}{close}"


def environment_class(spec: EnvSpec) -> type[SingleEnv]:
    """The class of an environment.

    :raises ValueError: for one that does not stand on :mod:`memenvs.batched`
    """
    creator: Any = spec.entry_point
    creator = load_env_creator(creator) if isinstance(creator, str) else creator
    if not (isinstance(creator, type) and issubclass(creator, SingleEnv)):
        raise ValueError(f"{spec.id} does not stand on memenvs.batched, so there is nothing to be told of it here")
    return creator


def definition_of(spec: EnvSpec) -> Definition:
    """What an environment is with the parameters it is registered with, and otherwise the default ones."""
    return environment_class(spec).define(**spec.kwargs)


def parameters(spec: EnvSpec) -> dict[str, inspect.Parameter]:
    """The parameters of ``define`` by name, with the defaults that hold for this id."""
    own = inspect.signature(environment_class(spec).define).parameters
    return {
        name: parameter.replace(default=spec.kwargs.get(name, parameter.default)) for name, parameter in own.items()
    }


def has_oracle(definition: Definition) -> bool:
    """Whether the best action is known."""
    return definition.oracle is not no_oracle


def has_split(definition: Definition) -> bool:
    """Whether its levels are divided into ``train`` and ``test``."""
    try:
        check_split(definition, "test")
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Description:
    """What the docstring of an environment says.

    :param summary: its first sentence, without the id
    :param body: what follows, without the parameters
    :param parameters: what each ``:param ...:`` says
    """

    summary: str
    body: str
    parameters: dict[str, str]


def describe(cls: type) -> Description:
    """Take a docstring apart."""
    text = inspect.cleandoc(cls.__doc__ or "")
    text, *fields = re.split(r"^:param (\w+): ", text, flags=re.MULTILINE)
    first, _, body = text.partition("\n\n")
    summary = re.sub(r"^``[\w/.-]+-v\d+``[^:]*: ", "", " ".join(first.split()))
    names, meanings = fields[::2], fields[1::2]
    told = {name: " ".join(meaning.split()) for name, meaning in zip(names, meanings, strict=True)}
    return Description(summary[:1].upper() + summary[1:], body.strip(), told)
