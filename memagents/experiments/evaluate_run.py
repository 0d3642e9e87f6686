"""Evaluation of a run's agent: its scores beside those of the baselines, and its episodes in pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.wrappers import RenderCollection
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from memagents.environments.make import make_env, make_single_env
from memagents.experiments.evaluation import (
    AGENT,
    MEASURES_OF,
    SAMPLED,
    Agent,
    Interval,
    SampledActions,
    Scores,
    baselines,
    compare,
    evaluate,
    scores_json,
    scores_table,
)
from memagents.experiments.evaluation_settings import EVALUATION_ENVS, EvaluationSettings
from memagents.experiments.figures import score_over
from memagents.experiments.run import Run
from memagents.runs import files
from memagents.runs.layout import EVALUATION_FILE

MOST_AT_ONCE = 1024  # environments, where episodes may be long


class RunScores(NamedTuple):
    """Scores of a run's agent and of the baselines, and the environment they are from."""

    env: str
    env_kwargs: dict[str, Any]
    episodes: int
    seed: int
    scores: dict[str, Scores]

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return {**self._asdict(), "scores": scores_json(self.scores)}

    @property
    def title(self) -> str:
        """Title of a table of the scores."""
        kwargs = ", ".join(f"{name}={value}" for name, value in self.env_kwargs.items())
        return f"{self.env}{f' ({kwargs})' if kwargs else ''}, {self.episodes} episodes"

    @property
    def hint(self) -> str | None:
        """Advice where the most likely actions and the sampled ones do very differently."""
        if AGENT not in self.scores:
            return None
        field = measure_of([self.scores[AGENT], self.scores[SAMPLED]])
        likely, sampled = (getattr(self.scores[name], field) for name in (AGENT, SAMPLED))
        if likely.low <= sampled.high and sampled.low <= likely.high:
            return None
        if sampled.mean > likely.mean:
            better, worse = "sampled", "most likely"
            advice = (
                "Training shows sampled ones; a policy that still hesitates wants more steps, or a smaller --ent-coef "
                "where the algorithm has one; predict(..., deterministic=False) samples"
            )
        else:
            better, worse = "most likely", "sampled"
            advice = "Training shows sampled ones, so that the agent is better than its learning curve"
        return (
            f"hint: the {better} actions do better than the {worse} ones ({max(likely.mean, sampled.mean):.2f} against "
            f"{min(likely.mean, sampled.mean):.2f}). {advice}"
        )


def measure_of(scores: Iterable[Scores]) -> str:
    """Return the field by which scores are compared: success where all of them have it, or else the returns."""
    return "success" if all(one.success is not None for one in scores) else "returns"


def evaluate_run(run: Run, settings: EvaluationSettings) -> RunScores:
    """Score a run's agent beside the baselines, in the same episodes.

    :raises CheckpointError: if the run cannot be loaded, or its spaces are not the environment's
    """
    env, kwargs = run.evaluation_env(settings.env, settings.env_kwargs, settings.split)
    made = make_env(env, min(settings.episodes, EVALUATION_ENVS), **kwargs)
    agent = run.load_agent(made, settings.device, settings.slots, verbose=0)
    assert agent.env is not None
    rivals: dict[str, Agent] = {} if settings.stochastic else {AGENT: agent}
    rivals |= {SAMPLED: SampledActions(agent), **baselines(agent.env, settings.seed)}
    with tqdm(total=len(rivals) * settings.episodes, unit=" episodes", leave=False, disable=None) as bar:  # on stderr
        scores = compare(rivals, agent.env, settings.episodes, settings.seed, bar.update)
    agent.env.close()
    return RunScores(env, kwargs, settings.episodes, settings.seed, scores)


def evaluate_over(run: Run, settings: EvaluationSettings) -> list[RunScores]:
    """Score a run's agent for every value of ``settings.over``, alone: random play may take forever.

    Nothing is kept of a step but the memory's state, so that episodes of 10⁵ steps need no more room than short ones.

    :raises CheckpointError: as :func:`evaluate_run`, for any of the values before anything is played
    """
    ((name, values),) = settings.over.items()
    chosen = [run.evaluation_env(settings.env, {**settings.env_kwargs, name: v}, settings.split) for v in values]
    for env, kwargs in chosen:  # before anything is played
        run.load_agent(make_env(env, 1, **kwargs), settings.device, settings.slots, verbose=0).env.close()
    found = []
    for value, (env, kwargs) in zip(values, chosen, strict=True):
        agent = run.load_agent(
            make_env(env, min(settings.episodes, MOST_AT_ONCE), **kwargs), settings.device, settings.slots, verbose=0
        )
        assert agent.env is not None
        rivals: dict[str, Agent] = {} if settings.stochastic else {AGENT: agent}
        rivals |= {SAMPLED: SampledActions(agent)}
        title, total = f"{name}={value}", len(rivals) * settings.episodes
        with tqdm(total=total, desc=title, unit=" episodes", leave=False, disable=None) as bar:
            scores = compare(rivals, agent.env, settings.episodes, settings.seed, bar.update)
        agent.env.close()
        found.append(RunScores(env, kwargs, settings.episodes, settings.seed, scores))
    return found


def show_over(evaluations: Sequence[RunScores], over: dict[str, list[Any]], path: Path) -> None:
    """Print the scores over the values of a parameter, and draw them.

    :param over: the parameter and its values
    :param path: of the PNG
    """
    ((name, values),) = over.items()
    agents = list(evaluations[0].scores)
    field = measure_of(scores for evaluation in evaluations for scores in evaluation.scores.values())
    measure = MEASURES_OF[field]
    table = Table(title=f"{measure} over {name}, {evaluations[0].episodes} episodes each, with 95% intervals")
    for head in (name, *agents):
        table.add_column(head)
    curves: dict[str, list[Interval]] = {agent: [] for agent in agents}
    for value, evaluation in zip(values, evaluations, strict=True):
        for agent, scores in evaluation.scores.items():
            curves[agent].append(getattr(scores, field))
        shown = (curves[agent][-1] for agent in agents)
        table.add_row(str(value), *(f"{i.mean:.3f} ({i.low:.3f} to {i.high:.3f})" for i in shown))
    Console().print(table)
    score_over(name, values, curves, path, measure)


def show_evaluation(run: Run, episodes: int, device: str = "auto") -> None:
    """Evaluate a run in its own environment, on held-out levels where there are any; print the table and keep it.

    :param episodes: of each agent; with 0 nothing is evaluated
    """
    if episodes:
        evaluation = evaluate_run(run, EvaluationSettings(episodes=episodes, device=device))
        files.write_json(run.outputs / EVALUATION_FILE, evaluation.to_json())
        show_scores(evaluation)
    print(f"all of it is in {run.outputs}")


def show_scores(evaluation: RunScores) -> None:
    """Print the table of an evaluation, and a hint where there is one."""
    Console().print(scores_table(evaluation.title, evaluation.scores))
    if evaluation.hint is not None:
        print(evaluation.hint)


def check_filmed(run: Run, settings: EvaluationSettings) -> None:
    """Take a first picture of the environment that :func:`scenes` films.

    :raises ValueError: if it cannot be made, or gives no picture
    """
    env, kwargs = run.evaluation_env(settings.env, settings.env_kwargs, settings.split)
    with warnings.catch_warnings(action="ignore"):  # Gymnasium warns of a mode that is tried and not there
        single = make_single_env(env, **{**kwargs, "render_mode": "rgb_array"})
    single.reset(seed=settings.seed)
    try:
        picture: Any = single.render()
    except Exception as error:  # of any kind: Gymnasium's DependencyNotInstalled is no ImportError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"env {env!r} cannot be filmed: its picture fails with {reason}") from error
    finally:
        single.close()
    shape = np.shape(picture) if isinstance(picture, np.ndarray) else None
    if shape is None or len(shape) != 3 or shape[2] != 3 or picture.dtype != np.uint8:
        what = f"{picture.dtype} {shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise ValueError(f"env {env!r} cannot be filmed: its pictures must be uint8 (height, width, 3), not {what}")


def scenes(run: Run, settings: EvaluationSettings) -> list[list[np.ndarray]]:
    """Play episodes of a run's agent and take pictures.

    :return: for each episode the environment's ``rgb_array`` pictures (H, W, 3), from its first to its last observation
    """
    env, kwargs = run.evaluation_env(settings.env, settings.env_kwargs, settings.split)
    single = make_single_env(env, **{**kwargs, "render_mode": "rgb_array"})
    # The camera is inside the VecEnv, which resets within the step and so never shows how an episode ended.
    camera = RenderCollection(single, pop_frames=False, reset_clean=False)
    agent = run.load_agent(camera, settings.device, settings.slots, verbose=0)
    assert agent.env is not None
    played = evaluate(agent, agent.env, settings.episodes, not settings.stochastic, settings.seed)
    ends = np.cumsum(1 + played.lengths)
    agent.env.close()
    pictures = [np.asarray(frame) for frame in camera.frame_list]
    return [pictures[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
