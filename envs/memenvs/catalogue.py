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
    name = registered_name(env_id)
    ours = f"{NAMESPACE}/{name}"
    # MiniGrid's own ids, where it has been imported, must not hide those that are named like them here.
    for known in (ours, name) if name == env_id else (name, ours):
        if known in gymnasium.registry:
            return gymnasium.registry[known]
    raise ValueError(unknown(env_id, name))


def registered_name(env_id: str) -> str:
    """The id in ``env_id``, after an import of the package that may stand before it: ``"package:Id"``.

    :raises ValueError: if that is no text, or there is no such package
    """
    if not isinstance(env_id, str):
        raise ValueError(f"env must be the id of an environment, not {env_id!r}")
    package, _, name = env_id.rpartition(":")
    missing = f"env {env_id!r}: there is no module {package!r} to import it from"
    if package.startswith("."):  # which importlib takes for a relative import
        raise ValueError(missing)
    if package:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if not f"{package}.".startswith(f"{error.name}."):  # what is missing is something else that it imports
                raise
            raise ValueError(missing) from error
    return name


def unknown(env_id: str, name: str) -> str:
    """What to say of an id that is not registered: what memenvs has, and what is spelled alike.

    :param name: what :func:`registered_name` gives for the id
    """
    ours = sorted(environments())
    grids = [known for known in ours if known.startswith(f"{NAMESPACE}/MiniGrid-")]
    others = ", ".join(known for known in ours if known not in grids)
    shown = f"{others}, and {len(grids)} of MiniGrid such as {grids[-1]}"
    if name.startswith(f"{NAMESPACE}/MiniGrid"):
        shown = ", ".join(grids)
    bare: dict[str, list[str]] = {}  # without a namespace, which is what is left out or wrong most easily
    for known in gymnasium.registry:
        bare.setdefault(known.rpartition("/")[2], []).append(known)
    close_by = difflib.get_close_matches(name.rpartition("/")[2], bare)
    alike = ", ".join(known for one in close_by for known in sorted(bare[one], key=len))
    return (
        f"there is no environment {env_id!r}; {NAMESPACE} has: {shown}; {f'spelled alike: {alike}; ' if alike else ''}"
        "an id that a package of yours registers is found as 'package:Id'"
    )


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
