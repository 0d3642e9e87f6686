"""Names that users of Stable-Baselines3 and sb3-contrib know, and what stands for them here."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple, NoReturn


class Equivalent(NamedTuple):
    """What stands for an argument of theirs: in Python, and on the command line where that is written otherwise."""

    python: str
    options: str | None = None


_NO_SDE = Equivalent("no equivalent: exploration by state-dependent noise is not implemented")
_NO_BUFFER = Equivalent("no equivalent: windows of experience stay on the device")
_SETS = "a minibatch is a set of environments with their whole window"

ARGUMENTS = {
    "batch_size": Equivalent(f"n_minibatches: {_SETS}", f"--n-minibatches: {_SETS}"),
    "use_sde": _NO_SDE,
    "sde_sample_freq": _NO_SDE,
    "rollout_buffer_class": _NO_BUFFER,
    "rollout_buffer_kwargs": _NO_BUFFER,
    "buffer_size": Equivalent("NEC's buffer_size; agents that learn from windows keep none"),
    "lstm_hidden_size": Equivalent(
        "policy_kwargs={'core': 'lstm', 'core_kwargs': {'hidden_size': 256}}",
        "--core lstm --core-kwargs hidden_size=256",
    ),
    "n_lstm_layers": Equivalent("one layer; another core may have several, such as 'gtrxl'"),
    "shared_lstm": Equivalent(
        "policy_kwargs={'critic_core': None, 'critic_gradient': False}: one memory, which the critic does not train",
        "--critic-core None --policy-kwargs critic_gradient=false: one memory, which the critic does not train",
    ),
    "enable_critic_lstm": Equivalent(
        "policy_kwargs={'critic_core': None}: one memory for both, trained by both; by default each has one, 'same'",
        "--critic-core None: one memory for both, trained by both; by default each has one, same",
    ),
    "lstm_kwargs": Equivalent("policy_kwargs={'core_kwargs': {...}}", "--core-kwargs KEY=VALUE"),
    "net_arch": Equivalent("policy_kwargs={'net_arch': [64]}", "--policy-kwargs 'net_arch=[64]'"),
    "tensorboard_log": Equivalent("nothing: every run folder has its events, which tensorboard --logdir runs shows"),
}
POLICIES = {
    "MlpLstmPolicy": "'MlpPolicy', whose core is an LSTM by default",
    "CnnLstmPolicy": "'CnnPolicy', whose core is an LSTM by default",
    "MultiInputLstmPolicy": "'MultiInputPolicy', whose core is an LSTM by default",
}


def hint(name: str) -> str:
    """Return what stands for an argument, as the end of a message; nothing for a name that is not known."""
    return f"; instead of {name}: {ARGUMENTS[name].python}" if name in ARGUMENTS else ""


def option_hint(name: str, settings: Collection[str]) -> str:
    """Return the same as :func:`hint` in the words of the command line.

    :param name: of the argument
    :param settings: names of those that the command has; nothing else is recommended
    """
    if name not in ARGUMENTS:
        return ""
    python, options = ARGUMENTS[name]
    named = re.findall(r"--([a-z-]+)", options or "")
    fits = all(option.replace("-", "_") in settings for option in named)
    return f"; instead of {name}: {options or python}" if fits else ""


def alike(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that another may stand for: spelled alike, of these initials, or with this word in them."""
    known = list(names)
    meant = [own for own in known if name in (own, *own.split("_")) or name == "".join(w[0] for w in own.split("_"))]
    return list(dict.fromkeys([*meant, *difflib.get_close_matches(name, known, n=3)]))


def refuse_argument(algorithm: type, name: str) -> NoReturn:
    """Refuse an argument that an agent does not have.

    :raises TypeError: with those that are spelled alike, if there are any
    """
    ours = [cls for cls in algorithm.__mro__[:-1] if not cls.__module__.startswith("stable_baselines3.")]
    parameters = [p for cls in ours for p in inspect.signature(cls.__init__).parameters.values()]  # type: ignore[misc]
    own = [p.name for p in parameters if p.kind != p.VAR_KEYWORD and p.name != "self" and not p.name.startswith("_")]
    found = alike(name, dict.fromkeys(own))
    near = f"; spelled alike: {', '.join(found)}" if found else ""
    if name in inspect.signature(algorithm.policy_aliases["MlpPolicy"]).parameters:  # type: ignore[attr-defined]
        near = f": it is one of the policy's, policy_kwargs={{{name!r}: …}}"
    raise TypeError(f"{algorithm.__name__} has no argument {name!r}{near}")


def check_arguments(algorithm: str, names: Iterable[str]) -> None:
    """Refuse arguments of other libraries' agents.

    :param algorithm: name of the agent, for the message
    :param names: of arguments that it does not have
    :raises TypeError: naming the first that is known, and what stands for it here
    """
    for name in names:
        if name in ARGUMENTS:
            raise TypeError(f"{algorithm} has no argument {name!r}{hint(name)}")
