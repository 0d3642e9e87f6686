"""Policies saved by themselves, in one file without pickle: what they were made with, weights, memory."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Self

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import get_device

from memagents.environments.spaces import space_from_json, space_to_json
from memagents.policies.encoding import guesses_known
from memagents.runs.agent_files import check_weights
from memagents.runs.bounds import bounded
from memagents.runs.files import FORMAT_VERSION, CheckpointError
from memagents.runs.plain_values import check_imported, decode, encode
from memagents.runs.trees import read_tree, write_tree

_SPACES = ("observation_space", "action_space")


class SavedPolicy(BasePolicy):
    """Stable-Baselines3's policy with a safe form of ``save`` and ``load``.

    A subclass has the parameters ``observation_space``, ``action_space`` and ``lr_schedule``, and others whose values
    are plain ones or classes of torch's.
    """

    made_with: dict[str, Any]  # the constructor's arguments, by name

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note the arguments, which ``save`` writes."""
        made = super().__new__(cls)
        if args or kwargs:  # a copy gets its attributes later
            object.__setattr__(made, "made_with", {**dict(zip(_positional(cls), args, strict=False)), **kwargs})
        return made

    def save(self, path: str | Path) -> None:
        """Write the policy to one file; nothing in it is pickled.

        Whatever a training needs to go on is not in it; :meth:`memagents.RecurrentPPO.save` writes that.

        :param path: of the file
        :raises TypeError: if the policy was made with what no file can hold
        """
        arguments = {name: value for name, value in self.made_with.items() if name != "lr_schedule"}
        spaces = {name: space_to_json(arguments.pop(name)) for name in _SPACES}
        write_tree(
            Path(path),
            {
                "format": FORMAT_VERSION,
                "policy_class": encode(type(self), "policy"),
                "arguments": {name: encode(value, name) for name, value in arguments.items()},
                **spaces,
                "weights": dict(self.state_dict()),
                "memory": self.lasting_memory(),
            },
        )

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "auto") -> Self:
        """Read a policy that :meth:`save` wrote.

        :param path: of the file
        :param device: to put it on
        :raises CheckpointError: if the file is missing, truncated or foreign, or holds a policy of another class
        """
        tree = read_tree(Path(path))
        try:
            kind = decode(tree["policy_class"], "policy", str(path))
            if not issubclass(kind, cls):
                raise CheckpointError(f"{path} holds a {kind.__name__}, not a {cls.__name__}")
            arguments = {name: decode(value, name, str(path)) for name, value in tree["arguments"].items()}
            check_imported(arguments, str(path))
            spaces = {name: space_from_json(tree[name]) for name in _SPACES}
            with guesses_known(), bounded(Path(path)):
                policy = kind(**spaces, **arguments, lr_schedule=lambda _: 0.0)
            check_weights(tree["weights"], policy.state_dict(), Path(path))
            policy.load_state_dict(tree["weights"])
            if tree["memory"] is not None:
                policy.restore_lasting_memory(tree["memory"])
        except CheckpointError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"{path} holds no policy that can be made: {error}") from error
        return policy.to(get_device(device))

    def lasting_memory(self) -> dict[str, Any] | None:
        """Return what is remembered beyond episodes, as a tree for :mod:`memagents.runs.trees`; None if nothing is."""
        return None

    def restore_lasting_memory(self, tree: dict[str, Any]) -> None:
        """Put back what :meth:`lasting_memory` returned.

        :raises ValueError: for what does not fit
        """
        raise ValueError(f"a {type(self).__name__} remembers nothing beyond episodes")


def _positional(kind: type) -> list[str]:
    """Return the names of a constructor's arguments by their places; of its base's where it passes them on."""
    for own in kind.__mro__:
        parameters = list(inspect.signature(own.__init__).parameters.values())[1:]  # type: ignore[misc]
        if all(p.kind != p.VAR_POSITIONAL for p in parameters):
            return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return []
