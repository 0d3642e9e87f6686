"""Agents that live in run folders: saved without pickle, loaded to act, resumed exactly."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from memagents.algorithms.causes import listed
from memagents.algorithms.folder_owner import FolderOwner
from memagents.algorithms.training_state import ResumableAlgorithm
from memagents.checks import positive_int, string_keyed, warn_user
from memagents.cores import core_class
from memagents.environments.make import make_env
from memagents.environments.normalization import as_trained, statistics_of
from memagents.environments.spaces import space_from_json, space_to_json
from memagents.environments.vector import Env
from memagents.policies.encoding import guesses_known
from memagents.runs import agent_files
from memagents.runs.agent_files import BROKEN
from memagents.runs.bounds import bounded
from memagents.runs.checkpoint import of_one_moment
from memagents.runs.files import CheckpointError
from memagents.runs.kept import keep, keeper
from memagents.runs.layout import MEMORY_FILE, POLICY_FILE, STATE_FILE, WEIGHTS_FILE, folder_of
from memagents.runs.plain_values import (
    INSTEAD,
    LostSchedule,
    check_imported,
    decode,
    encode,
    lost,
    not_saved,
    of_scripts,
)
from memagents.runs.pretrained import is_pretrained

logger = logging.getLogger(__name__)
_SPACES = ("observation_space", "action_space")


class SavedAlgorithm(FolderOwner, ResumableAlgorithm):
    """Algorithm whose saving, loading and resuming go by run folders instead of pickled archives."""

    # The constructor's arguments that are saved with a policy.
    hyperparameters: ClassVar[tuple[str, ...]] = ()
    # Parameters that a policy gets where none are given. A file that says nothing of them is older, or of an agent that
    # gives none: there each is as the policy's own signature has it.
    policy_defaults: ClassVar[Mapping[str, Any]] = {}
    run_dir: Path | None
    keep_last: int
    keep_best: bool
    _warned_of_functions = False
    _warned_of_scripts = False
    saved_at = 0.0  # by the clock of time.monotonic, in seconds

    # --- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path, **_: Any) -> None:  # type: ignore[override]
        """Write a run folder: the policy and all that is needed to go on. Nothing in it is pickled.

        An agent that was saved there before is replaced.

        :param path: the folder (an ending ``.zip``, which SB3's callbacks add, is dropped)
        :raises ValueError: if another agent was trained in it, whose settings and log lie there
        """
        if not is_pretrained(path):
            self.check_training(folder_of(path))
        memory = self.policy.lasting_memory()
        agent_files.write(
            *(path, self.description(), self.policy.state_dict(), memory),
            *(self.training_state(), statistics_of(self.env)),
        )

    def save_or_warn(self) -> int:
        """Save to ``run_dir``, or warn that it is not possible now: on a full disk, at the next checkpoint it may be.

        :return: the step at which it was saved; -1 if it was not, or there is no such folder
        """
        self.saved_at = time.monotonic()
        if self.run_dir is None:
            return -1
        try:
            self.save(self.run_dir)
        except OSError as error:
            warn_user(f"no checkpoint at step {self.num_timesteps}, the last one stays: {error}")
            return -1
        self.keep(self.run_dir)
        return self.num_timesteps

    def save_last(self) -> None:
        """Save to ``run_dir``, if there is one, at the end of a training.

        :raises OSError: if that is not possible
        """
        if self.run_dir is not None:
            self.save(self.run_dir)
            self.keep(self.run_dir)

    def keep(self, run_dir: Path) -> None:
        """Keep this moment's checkpoint beside the last one, if ``keep_last`` or ``keep_best`` ask for it."""
        enough = min(len(self.ep_info_buffer or ()), self.episodes_here) >= self.stats_window_size
        mean_return = self.mean_return() if enough else None
        keep(run_dir, self.save, self.num_timesteps, mean_return, self.keep_last, self.keep_best, self.lesson)

    @classmethod
    def load(  # type: ignore[override]
        cls,
        path: str | Path,
        env: Env | None = None,
        device: torch.device | str = "auto",
        slots: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load an agent from a run folder, to act, or to begin a new ``learn`` from its weights.

        :param path: the folder
        :param env: an environment of the saved spaces, or None. Where the training normalised observations by a
            VecNormalize and ``env`` has none, it gets one with the saved statistics, which stay as they are; rewards
            are not normalised
        :param slots: give the memory so many slots, where no weight depends on their number (NTM, DNC, SAM, SDNC)
        :param kwargs: arguments of the constructor to change
        :raises CheckpointError: if the folder is missing, truncated, of a newer version or of other spaces; or the
            weights do not allow another number of slots
        """
        return of_one_moment(folder_of(path), lambda: cls._load(path, env, device, slots, **kwargs))

    @classmethod
    def _load(
        cls, path: str | Path, env: Env | None, device: torch.device | str, slots: int | None, **kwargs: Any
    ) -> Self:
        description = agent_files.read_description(path)
        if slots is not None:
            description = {**description, "policy_kwargs": _with_slots(description["policy_kwargs"], slots, path)}
            if kwargs.get("policy_kwargs"):
                kwargs["policy_kwargs"] = _with_slots(kwargs["policy_kwargs"], slots, path)
        agent = cls._build(folder_of(path), description, env, device, kwargs)
        agent.policy.load_state_dict(agent._weights_in(path, resized=slots is not None))
        if agent.policy.remembers:
            agent._take_memory(path)
        agent.num_timesteps = description["num_timesteps"]
        agent._current_progress_remaining = description["progress_remaining"]  # how much it still explores
        return agent

    @classmethod
    def resume(cls, path: str | Path, env: Env, device: torch.device | str = "auto", **kwargs: Any) -> Self:
        """Load an agent exactly as it was at its last checkpoint, its environment, memory and random states included.

        Where the environment offers no snapshot (see :mod:`memagents.environments.snapshot`), its next episodes begin
        anew.

        :param path: the run folder; logs and checkpoints go on in it
        :param env: an environment like the one it was trained in; a VecNormalize may be left out
        :param kwargs: arguments of the constructor that no file can hold, such as a schedule that is a function
        :raises CheckpointError: as :meth:`load`
        """
        if env is None:
            raise ValueError("env: a run goes on in an environment like the one it was trained in, not None")
        folder = folder_of(path)
        run = keeper(folder)
        if run is not None:
            raise CheckpointError(f"{folder} is a checkpoint that {run} keeps: copy it, and go on from the copy")
        description, state = of_one_moment(
            folder, lambda: (agent_files.read_description(folder), agent_files.read_training_state(folder))
        )
        if description["algorithm"] != cls.__name__:
            raise CheckpointError(f"{folder} is a run of {description['algorithm']}, not of {cls.__name__}")
        agent = cls._build(folder, description, env, device, {"run_dir": folder, **kwargs}, going_on=True)
        file = folder / STATE_FILE
        try:
            agent_files.check_weights(state["weights"], agent.policy.state_dict(), file)
            agent.policy.load_state_dict(state["weights"])
            if state["memory"] is not None:
                agent.policy.restore_lasting_memory(state["memory"])
            agent.restore_training_state(state)
        except CheckpointError:
            raise
        except BROKEN as error:
            raise CheckpointError(f"{file} does not fit the run's {POLICY_FILE} or its environment: {error}") from error
        return agent

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: Any = "auto") -> None:
        """Take weights, and what a policy remembers beyond episodes, from a run folder; or those of ``get_parameters``.

        :param exact_match: false to let heads for training alone (``policy.training_heads``) stay as they are where
            the folder has none like them, and to begin a critic's own memory, which is like the actor's, with the
            weights of one that served both
        :raises CheckpointError: if the folder cannot be used; the weights stay as they were
        """
        if not isinstance(load_path_or_dict, dict):
            self._take_order(load_path_or_dict)
            folder, own = load_path_or_dict, self.policy_kwargs.get("critic_core")
            try:
                load_path_or_dict = {"policy": self._weights_in(folder, exact_match=exact_match)}
            except CheckpointError as error:
                theirs = agent_files.read_description(folder)["policy_kwargs"].get("critic_core")
                if exact_match and theirs is None and own is not None:
                    hint = (
                        "there one memory serves actor and critic; exact_match=False begins both of two alike with it"
                    )
                    raise CheckpointError(f"{error}; {hint}") from error
                raise
            if self.policy.remembers:
                self._take_memory(folder)
        elif not exact_match and "policy" in load_path_or_dict:
            load_path_or_dict = {**load_path_or_dict, "policy": self.policy.adopted(load_path_or_dict["policy"])}
        super().set_parameters(load_path_or_dict, exact_match, device)

    # --- what the files hold ----------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Describe the agent for ``policy.json``: all of it but the weights, in plain values.

        :raises TypeError: for a hyperparameter that cannot be saved
        """
        policy_kwargs = encode(self.policy_kwargs, "policy_kwargs")
        hyperparameters = {name: encode(getattr(self, name), name) for name in self.hyperparameters}
        self._warn_of_functions(policy_kwargs, hyperparameters)
        policy_class = encode(self.policy_class, "policy")
        self._warn_of_scripts(policy_class, policy_kwargs)
        return {
            "algorithm": type(self).__name__,
            "num_timesteps": self.num_timesteps,
            "progress_remaining": self._current_progress_remaining,
            "mean_return": self.mean_return(),
            "lesson": self.lesson,
            "n_envs": self.n_envs,
            "policy_class": policy_class,
            "policy_kwargs": policy_kwargs,
            "hyperparameters": hyperparameters,
            **{name: space_to_json(getattr(self, name)) for name in _SPACES},
        }

    def _warn_of_functions(self, policy_kwargs: Any, hyperparameters: dict[str, Any]) -> None:
        """Warn once of what will have to be given again when the agent is loaded."""
        lost = not_saved(policy_kwargs, "policy_kwargs")
        lost += [found for name, encoded in hyperparameters.items() for found in not_saved(encoded, name)]
        if lost and not self._warned_of_functions:
            self._warned_of_functions = True
            are, them = ("are functions", "them") if len(lost) > 1 else ("is a function", "it")
            warn_user(
                f"{', '.join(lost)} {are}, which no file can hold: pass {them} again to load or resume ({INSTEAD})"
            )

    def _warn_of_scripts(self, *encoded: Any) -> None:
        """Warn once of classes that no other program will find."""
        classes = of_scripts(list(encoded))
        if classes and not self._warned_of_scripts:
            self._warned_of_scripts = True
            warn_user(f"{listed(classes)} defined in a script, and loaded by no other: put it into a module")

    def check_schedules(self) -> None:
        """:raises ValueError: for a schedule that was not given again after loading, and is needed to learn"""
        for name in self.hyperparameters:
            value = getattr(self, name)
            if isinstance(value, LostSchedule):
                raise ValueError(lost(name, value.was))

    # --- building ---------------------------------------------------------------------------------------------------

    @classmethod
    def _build(
        cls,
        folder: Path,
        description: dict[str, Any],
        env: Env | None,
        device: Any,
        changes: dict[str, Any],
        going_on: bool = False,
    ) -> Self:
        """Make an agent of the described shape, with fresh weights, in an environment normalised as in the training.

        :param going_on: whether statistics of the normalisation go on, see
            :func:`memagents.environments.normalization.as_trained`
        """
        path = folder / POLICY_FILE
        try:
            given = make_env(env) if isinstance(env, str) else env
            if given is not None:
                env = as_trained(given, agent_files.read_normalization(folder), going_on)
            agent = cls._unset(description, str(path), env, device, changes, going_on)
            for name in _SPACES:
                space, theirs = space_from_json(description[name]), getattr(agent, name, None)
                if env is not None and theirs != space:
                    raise CheckpointError(f"{path}: {name} was {space}, but that of env is {theirs}")
                setattr(agent, name, space)  # its own, since equal Dicts may have their entries in another order
            if env is None:
                agent.n_envs = description["n_envs"]
            with guesses_known(), bounded(folder / WEIGHTS_FILE):
                agent._setup_model()
            agent.claim(folder)
            if env is not given:
                logger.info("observations are normalised by the statistics in %s", folder)
        except CheckpointError:
            raise
        except BROKEN as error:
            name = str(error).partition(" ")[0]
            change = f"; {name}=… changes it" if name in cls.hyperparameters else ""
            raise CheckpointError(f"{path}: no agent can be made of it: {error}{change}") from error
        return agent

    @classmethod
    def _unset(
        cls,
        description: dict[str, Any],
        source: str,
        env: Env | None,
        device: Any,
        changes: dict[str, Any],
        going_on: bool,
    ) -> Self:
        """Call the constructor as described, without its last step, for which the spaces must be known.

        :param going_on: whether it will learn, for which it needs schedules that no file can hold
        """
        saved = {**description["hyperparameters"], "policy_kwargs": description["policy_kwargs"]}
        # An agent of another kind (PPO from imitation's weights) takes the arguments that both have.
        allowed = {*cls.hyperparameters, "policy_kwargs"} - changes.keys()
        arguments: dict[str, Any] = {}
        for name, value in saved.items():
            if name in allowed:
                unsaved = isinstance(value, dict) and not_saved(value, name) == [name]
                arguments[name] = (
                    LostSchedule(value["not_saved"]) if unsaved and not going_on else decode(value, name, source)
                )
        check_imported(arguments.get("policy_kwargs", {}), source)
        policy: type[BasePolicy] = decode(description["policy_class"], "policy", source)
        kinds = tuple(dict.fromkeys(cls.policy_aliases.values()))
        if isinstance(policy, type) and not issubclass(policy, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise CheckpointError(f"{source}: the policy is a {policy.__name__}; {cls.__name__} needs a {names}")
        if "policy_kwargs" in changes:  # without those that an agent has where none are given, which stay the file's
            theirs = {name: value for name, value in saved["policy_kwargs"].items() if name in cls.policy_defaults}
            asked = decode(theirs, "policy_kwargs", source) | string_keyed("policy_kwargs", changes["policy_kwargs"])
            check_imported(asked, source)
            changes = {**changes, "policy_kwargs": asked}
        return cls(policy, env, device=device, _init_setup_model=False, **{**arguments, **changes})  # type: ignore[arg-type,call-arg]

    def _weights_in(self, path: str | Path, resized: bool = False, exact_match: bool = True) -> dict[str, Tensor]:
        """Read the weights of a run folder and hold them against this agent's.

        :param resized: the agent's memory may have more slots than the one that was saved
        :param exact_match: see :meth:`set_parameters`
        """
        weights, own_weights = agent_files.read_weights(path), self.policy.state_dict()
        if not exact_match:
            weights = self.policy.adopted(weights)
        if resized:
            own = {name.removeprefix("core."): tensor for name, tensor in weights.items() if name.startswith("core.")}
            weights |= {f"core.{name}": tensor for name, tensor in self.policy.core.with_more_slots(own).items()}
        agent_files.check_weights(weights, own_weights, folder_of(path) / WEIGHTS_FILE)
        return weights

    def _take_order(self, path: str | Path) -> None:
        """Order the entries of a Dict as in a run folder, since weights belong to entries in their order."""
        space = space_from_json(agent_files.read_description(path)["observation_space"])
        own = self.observation_space
        if not (isinstance(space, spaces.Dict) and isinstance(own, spaces.Dict)):
            return
        if space.keys() != own.keys() or list(space) == list(own):
            return
        if self.num_timesteps:
            raise CheckpointError(f"{path}: the entries of observation_space are {', '.join(space)}, in another order")
        self.observation_space = spaces.Dict([(name, own[name]) for name in space])  # pairs: a mapping is sorted
        self._setup_model()

    def _take_memory(self, path: str | Path) -> None:
        """Let the policy remember what that of a run folder does beyond episodes."""
        file = folder_of(path) / MEMORY_FILE
        tree = agent_files.read_memory(path)
        try:
            self.policy.restore_lasting_memory(tree)
        except BROKEN as error:
            raise CheckpointError(f"{file} does not fit the policy: {error}") from error


def _with_slots(policy_kwargs: dict[str, Any], slots: int, path: str | Path) -> dict[str, Any]:
    """Ask for another number of slots in the parameters of a policy."""
    core = policy_kwargs.get("core", "lstm")
    check_imported(policy_kwargs, str(folder_of(path) / POLICY_FILE))
    if "slots" not in inspect.signature(core_class(core)).parameters:
        raise ValueError(f"slots: the core {core!r} of {folder_of(path)} has none")
    core_kwargs = {**(policy_kwargs.get("core_kwargs") or {}), "slots": positive_int("slots", slots)}
    return {**policy_kwargs, "core_kwargs": core_kwargs}
