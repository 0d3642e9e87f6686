"""Agents of sb3-contrib's RecurrentPPO made into ours: the same weights in an LSTM of the same size, equal outputs.

Of the archive, the readable part of ``data`` (JSON) and the tensors of ``policy.pth`` are read, the latter by torch's
reader of weights alone. What Stable-Baselines3 pickled (spaces, schedules, classes) is not: spaces come from the
environment, the shape of the network from its weights.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from memagents.algorithms.ppo import RecurrentPPO
from memagents.environments.make import make_env
from memagents.environments.vector import Env
from memagents.runs import layout
from memagents.runs.agent_files import check_weights
from memagents.runs.files import CheckpointError, check_regular
from memagents.runs.foreign import is_sb3

# Hyperparameters of the same name and meaning, where they are plain numbers.
SAME = ("learning_rate", "gamma", "gae_lambda", "n_steps", "n_epochs", "ent_coef", "vf_coef", "max_grad_norm", "seed")
ACTIVATION = re.compile(r"torch\.nn\.modules\.activation\.(\w+)")
HEADS = {"mlp_extractor.policy_net": "actor", "mlp_extractor.value_net": "critic"}


def import_recurrent_ppo(path: str | Path, env: Env | str, trust: bool = False) -> RecurrentPPO:
    """Return an agent that acts and values as one that sb3-contrib's RecurrentPPO saved.

    :param path: of the archive, ``model.zip``
    :param env: an environment of the spaces that it was trained in
    :param trust: that the archive is from somebody you trust: tensors in it are in torch's format, a pickle, which is
        read by ``torch.load(weights_only=True)``
    :raises CheckpointError: without ``trust``; if it is no such archive; or for a network that has no like here: more
        than one layer of LSTM, features extractors with weights, a critic without memory, generalised
        state-dependent exploration, Dict observations
    """
    path = Path(path)
    check_regular(path)
    if not is_sb3(path):
        raise CheckpointError(f"{path} is no agent that Stable-Baselines3 or sb3-contrib saved")
    if not trust:
        raise CheckpointError(
            f"{path} holds tensors in torch's format, a pickle; if you trust whoever made it, import it with trust "
            "(--trust on the command line)"
        )
    data, theirs = _contents(path)
    shared = "lstm_critic.weight_hh_l0" not in theirs
    try:
        weights = _renamed(path, theirs, shared)
    except (LookupError, TypeError) as error:
        raise CheckpointError(f"{path} lacks a weight, or has one that is no tensor: {error}") from error
    hyperparameters = {name: data[name] for name in SAME if _is_plain(data.get(name))}
    policy_kwargs = {
        "core": "lstm",
        "core_kwargs": {"hidden_size": theirs["lstm_actor.weight_hh_l0"].shape[1]},
        "critic_core": None if shared else "same",
        "net_arch": {"pi": _sizes(theirs, "policy_net"), "vf": _sizes(theirs, "value_net")},
    }
    activation = ACTIVATION.search(str(data.get("policy_kwargs")))
    if activation is not None:
        policy_kwargs["activation_fn"] = activation[1]
    agent = RecurrentPPO("MlpPolicy", env, policy_kwargs=policy_kwargs, **hyperparameters)
    if isinstance(agent.observation_space, spaces.Dict):
        raise CheckpointError(f"{path} cannot be imported: here the entries of a Dict are encoded in another way")
    check_weights(weights, agent.policy.state_dict(), path)
    agent.policy.load_state_dict(weights)
    if isinstance(data.get("num_timesteps"), int):
        agent.num_timesteps = data["num_timesteps"]
    return agent


def import_run(archive: Path, env: str, env_kwargs: dict[str, Any], run_dir: Path, trust: bool) -> None:
    """Make a run folder of an agent that sb3-contrib's RecurrentPPO saved.

    :param archive: the file
    :param env: id of an environment of the spaces that it was trained in
    :param env_kwargs: its parameters
    :param run_dir: folder to make
    :param trust: as for :func:`import_recurrent_ppo`
    :raises ValueError: if the folder is not empty, there is no such environment, or the agent cannot be imported
    """
    agent = import_recurrent_ppo(archive, make_env(env, **env_kwargs), trust)
    agent.save(layout.empty(run_dir, overwrite=False))


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the plain part of an archive and its weights.

    :raises CheckpointError: if it is damaged, or of another algorithm
    """
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
            weights = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    except Exception as error:  # of a zip file, of JSON or of torch, which names no class of its own
        raise CheckpointError(f"{path} is damaged, or of another version: {type(error).__name__}: {error}") from error
    if not isinstance(data, dict) or not isinstance(weights, Mapping):
        raise CheckpointError(f"{path} is damaged: its data or its weights are no mapping")
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError(f"{path} is damaged: it has weights that are no tensors")
    if getattr(weights.get("lstm_actor.weight_hh_l0"), "ndim", 0) != 2:
        raise CheckpointError(f"{path} is of another algorithm than sb3-contrib's RecurrentPPO: it has no lstm_actor")
    return data, dict(weights)


def _renamed(path: Path, theirs: Mapping[str, Tensor], shared: bool) -> dict[str, Tensor]:
    """Return weights by their names here; the two biases of torch's LSTM are one.

    :raises CheckpointError: for weights that have no like here
    """
    ours, left = {}, dict(theirs)
    for memory in ("actor",) if shared else ("actor", "critic"):
        core, lstm = "core" if shared else f"core.{memory}", f"lstm_{memory}"
        ours[f"{core}.input_gates.weight"] = left.pop(f"{lstm}.weight_ih_l0")
        ours[f"{core}.recurrent_gates.weight"] = left.pop(f"{lstm}.weight_hh_l0")
        ours[f"{core}.input_gates.bias"] = left.pop(f"{lstm}.bias_ih_l0") + left.pop(f"{lstm}.bias_hh_l0")
    for name in list(left):
        head, _, rest = name.rpartition(".")
        layer = head.rpartition(".")
        if layer[0] in HEADS:
            ours[f"{HEADS[layer[0]]}.{layer[2]}.{rest}"] = left.pop(name)
        elif head in ("action_net", "value_net") or (name == "log_std" and left[name].dim() == 1):
            ours[name] = left.pop(name)
    if left:
        raise CheckpointError(f"{path} has weights that have no like here: {', '.join(sorted(left))}")
    return ours


def _sizes(weights: Mapping[str, Tensor], head: str) -> list[int]:
    """Return the sizes of the hidden layers of a head, in their order."""
    layers = {
        int(found[1]): len(weight)
        for name, weight in weights.items()
        if (found := re.fullmatch(rf"mlp_extractor\.{head}\.(\d+)\.weight", name))
    }
    return [layers[number] for number in sorted(layers)]


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
