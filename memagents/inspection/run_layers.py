"""What is found out about the episodes of a recording, as layers of the page and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memagents.environments.make import make_env
from memagents.experiments.run import Run
from memagents.inspection.ablation import Ablations, Kind, ablate
from memagents.inspection.forks import KINDS as FORKED_KINDS
from memagents.inspection.forks import Forked, fork
from memagents.inspection.page.layer import PAST_STEP, Layer
from memagents.inspection.pictures import Map, draw_maps, maps_of
from memagents.inspection.played import Played
from memagents.inspection.recording import TRACE, RecordedEpisode, Recording
from memagents.inspection.smear import smear
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import CorePolicy

LONGEST_SMEAR = 400  # steps of an episode: the work grows by their square
_DONE = {"erase": "erased", "noise": "given noise", "swap": "swapped with the next", "freeze": "frozen"}


def layers_of(
    policy: CorePolicy, recording: Recording, change: Kind | None = None, forked: Forked | None = None
) -> list[Layer]:
    """Return what values and actions hang on, and what becomes of the episodes when the memory is changed.

    :param policy: that played
    :param change: what is done to each place before each step; None for no ablation
    :param forked: the first episode with its memory changed, where it could be forked
    :raises ValueError: if the agent's memory has no places to be changed
    """
    layers = []
    if isinstance(policy, MemoryPolicy):
        for number, episode in enumerate(recording.episodes):
            if episode.length <= LONGEST_SMEAR:
                layers += _smears(policy, episode, number)
    if change is not None:
        for number, episode in enumerate(recording.episodes):
            layers.append(_ablated(ablate(policy, episode, change), number))
    if forked is not None:
        layers.append(_forked(forked))
    return layers


def forked_episode(
    run: Run, policy: CorePolicy, played: Played, episode: RecordedEpisode, change: Kind | None
) -> Forked | None:
    """Play the first episode of a recording again with each place changed before each step.

    :return: None where there is no change, or none that can be forked: of other environments than memenvs, and with
        actions that are sampled
    """
    if played.stochastic or change not in FORKED_KINDS:
        return None

    def make(rows: int):  # type: ignore[no-untyped-def]
        return run.load_agent(make_env(played.env, rows, **played.env_kwargs), played.device, played.slots).env

    try:
        return fork(policy, make, change, episode=episode, seed=played.seed)
    except ValueError:  # it offers no snapshots, or does not play the episode again
        return None


def draw_run(
    path: Path, recording: Recording, tensors: Sequence[str], forked: Forked | None = None, episode: int = 0
) -> None:
    """Draw tensors of an episode's trace, and below them what each change of the memory cost.

    :param path: of the PNG or SVG
    :param tensors: names of the trace
    :param forked: the first episode with its memory changed
    :param episode: number of the one that is drawn
    :raises ValueError: if there is no such tensor
    """
    chosen = recording.episodes[episode]
    trace = {name.removeprefix(f"{TRACE}."): values for name, values in chosen.read(TRACE).items()}
    maps = maps_of(trace, recording.description["axes"], tensors)
    if forked is not None:
        title = f"return lost if a {forked.place} is {_DONE[forked.kind]} before the step"
        maps.append(Map(title, forked.whole - forked.returns, forked.place))
    draw_maps(maps, path, [text.split("\n")[0] for text in chosen.texts()])


def _smears(policy: MemoryPolicy, episode: RecordedEpisode, number: int) -> list[Layer]:
    of = {"value": "the value", "action": "the log-probability of the action"}
    return [
        Layer(
            f"what {told} hangs on",
            number,
            _past(smear(policy, episode, which)),  # type: ignore[arg-type]
            PAST_STEP,
            f"How much of each past observation {told} of a step hangs on, by gradient, as shares of 1.",
        )
        for which, told in of.items()
    ]


def _past(shares: np.ndarray) -> np.ndarray:
    """Return shares (T, T) with nothing where the future would be."""
    return np.where(np.tri(len(shares), dtype=bool), shares, np.nan)


def _ablated(found: Ablations, number: int) -> Layer:
    return Layer(
        f"policy with a {found.place} {_DONE[found.kind]}",
        number,
        found.worst(),
        found.place,
        f"By how much the policy departs, at most in all later steps (KL, nats), when the {found.place} is "
        f"{_DONE[found.kind]} before the step.",
    )


def _forked(found: Forked) -> Layer:
    return Layer(
        f"return lost with a {found.place} {_DONE[found.kind]}",
        0,
        found.whole - found.returns,
        found.place,
        f"What the episode's return loses when the {found.place} is {_DONE[found.kind]} before the step and the agent "
        "goes on in the environment.",
    )
