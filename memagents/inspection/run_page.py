"""From a run folder to the page about its memory: play, record, write."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from memagents.environments.make import make_env, make_single_env
from memagents.experiments.run import Run
from memagents.inspection.ablation import KINDS, Kind
from memagents.inspection.axes import axes_of
from memagents.inspection.forks import Forked
from memagents.inspection.page import write_page
from memagents.inspection.pictures import maps_of
from memagents.inspection.places import places_of
from memagents.inspection.played import Played
from memagents.inspection.recorder import record
from memagents.inspection.recording import Recording
from memagents.inspection.replay import replay
from memagents.inspection.run_layers import forked_episode, layers_of
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import map_observations
from memagents.runs.layout import INSPECTION_FOLDER, INSPECTION_PAGE


class Inspected(NamedTuple):
    """A run that was inspected.

    :param page: path of the page
    :param recording: of its episodes
    :param forked: the first episode with its memory changed, where that was asked for and could be
    """

    page: Path
    recording: Recording
    forked: Forked | None


def inspect_run(
    run: Run,
    against: Run | None,
    played: Played,
    out: Path | None = None,
    max_steps: int = 2000,
    change: Kind | None = None,
    tensors: Sequence[str] = (),
) -> Inspected:
    """Record episodes of a run's agent into the run's folder, and write the page about them.

    :param against: another run, which plays the same episodes and is shown beside it
    :param out: path of the page; by default in the run's folder
    :param max_steps: of an episode that are shown at most
    :param change: what is done to each place of the memory before each step, see
        :func:`memagents.inspection.run_layers.layers_of`; None for nothing
    :param tensors: of the trace that are to be drawn afterwards
    :raises ValueError: if an agent cannot act in the environment, its memory has no places to be changed, or there is
        no such tensor; of the last two nothing is played before
    """
    path = run.outputs / INSPECTION_PAGE if out is None else out
    policy = run.load_agent(None, played.device, played.slots, verbose=0).policy
    if change is not None:
        check_change(run, policy, change)
    check_tensors(policy, tensors)
    recordings = [record_run(run, played, run.outputs / INSPECTION_FOLDER, states=change is not None)]
    forked = forked_episode(run, policy, played, recordings[0].episodes[0], change)
    layers = layers_of(policy, recordings[0], change, forked)
    with tempfile.TemporaryDirectory() as folder:
        if against is not None:
            recordings.append(record_run(against, played, Path(folder) / INSPECTION_FOLDER))
        write_page(path, recordings, layers, max_steps=max_steps)
    return Inspected(path, recordings[0], forked)


def check_change(run: Run, policy: CorePolicy, change: Kind) -> None:
    """Check that places of a run's memory can be changed so.

    :raises ValueError: if there are none that can be, in the words of the command line
    """
    if not isinstance(policy, MemoryPolicy):
        raise ValueError(
            f"--change is for runs of memagents train ppo and imitate, which act by a policy; {run.folder} is one of "
            f"{run.algorithm.__name__}: leave out --change"
        )
    try:
        known = places_of(policy.initial_state(1))
    except ValueError as error:
        raise ValueError(f"change: {error}") from error
    if change == "freeze" and known.kind == "entry":
        allowed = ", ".join(kind for kind in KINDS if kind != "freeze")
        raise ValueError(f"--change must be one of {allowed}, not freeze: entries of a store move on with each step")


def check_tensors(policy: CorePolicy, tensors: Sequence[str]) -> None:
    """Check that tensors of a policy's trace can be drawn, by one step of any observation.

    :raises ValueError: if not; the message lists those that there are
    """
    if not tensors:
        return
    policy.set_training_mode(False)
    observations, _ = policy.obs_to_tensor(policy.observation_space.sample())
    starts = torch.ones(1, 1, dtype=torch.bool, device=policy.device)
    window = map_observations(lambda values: values[None], observations)
    trace = replay(policy, window, policy.initial_state(1), starts).trace
    one = {name: values[:, 0].cpu().numpy() for name, values in trace.items()}
    maps_of(one, axes_of(policy.core, trace), tensors)


def record_run(run: Run, played: Played, folder: Path, states: bool = False) -> Recording:
    """Record episodes of a run's agent, with pictures where the environment has any.

    :param folder: of the recording; one that is there is replaced
    :param states: whether the states are recorded too, which changes of the memory begin from
    """
    made = filmed(played)
    agent = run.load_agent(made, played.device, played.slots, verbose=0)
    assert agent.env is not None
    about = {
        "run": run.folder.name,
        "unfinished": run.unfinished,
        "env": played.env,
        "env_kwargs": {name: value for name, value in played.env_kwargs.items() if name != "render_mode"},
        "action_names": action_names(played.env, played.env_kwargs, made.action_space),
        "action_sizes": action_sizes(made.action_space),
    }
    with tqdm(total=played.episodes, unit=" episodes", leave=False, disable=None) as bar:
        recording = record(
            agent,
            folder,
            played.episodes,
            deterministic=not played.stochastic,
            seed=played.seed,
            states=states,
            texts=True,
            overwrite=True,
            about=about,
            progress=bar.update,
        )
    agent.env.close()
    return recording


def filmed(played: Played) -> VecEnv:
    """Make the environments with pictures, or without where they have none."""
    kwargs = {name: value for name, value in played.env_kwargs.items() if name != "render_mode"}
    try:
        with warnings.catch_warnings(action="ignore"):  # Gymnasium warns of a mode that is tried and not there
            made = make_env(played.env, played.episodes, **kwargs, render_mode="rgb_array")
        made.seed(played.seed)
        made.reset()
        if made.get_images()[0] is not None:
            return made
        made.close()
    except Exception:  # of any kind: Gymnasium's DependencyNotInstalled is no ImportError
        pass  # whatever else is wrong with it, it is wrong without pictures too
    return make_env(played.env, played.episodes, **kwargs)


def action_names(env: str, env_kwargs: dict[str, Any], space: spaces.Space) -> list[str]:
    """Return the names that an environment has for its actions; none where it has not one for each."""
    single = make_single_env(env, **{name: env_kwargs[name] for name in env_kwargs if name != "render_mode"}).unwrapped
    named = getattr(getattr(single, "definition", None), "action_names", ())
    if not named:
        named = list(getattr(getattr(single, "actions", None), "__members__", ()))  # an enumeration, as MiniGrid's
    single.close()
    count = int(space.n) if isinstance(space, spaces.Discrete) else 0
    return [str(name) for name in named] if len(named) == count else []


def action_sizes(space: spaces.Space) -> list[int]:
    """Return how many choices each part of an action has; none where it is no choice."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    return np.ravel(space.nvec).tolist() if isinstance(space, spaces.MultiDiscrete) else []
