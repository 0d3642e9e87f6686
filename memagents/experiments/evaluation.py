"""Evaluation of agents: episodes, success, scores between a random agent and the oracle, confidence intervals."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces
from rich import box
from rich.table import Table
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, is_vecenv_wrapped

from memagents.checks import positive_int
from memagents.environments.guidance import measure, oracle_actions
from memagents.environments.workers import named_ends
from memagents.experiments.histories import EqualHistories, may_share
from memagents.runs.random_states import preserved_random_states

RANDOM, WALK, ORACLE = "random agent", "random walk", "oracle"
AGENT, SAMPLED = "agent", "agent, sampled"  # a run's own, by most likely and by sampled actions
MEASURES_OF = {"success": "success", "returns": "return"}  # what a field of scores is called
FEW_SEEDS = 5  # below so many, tables list the seeds instead of an interval
_BOOTSTRAP_SAMPLES = 2000


class Agent(Protocol):
    """Anything that acts as SB3's policies do."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Actions (B, ...) for observations (B, ...), and the state for the next call."""


class Episodes(NamedTuple):
    """N finished episodes, (N,) each; booleans of success and the SPL where the environment tells them.

    ``metrics`` are what else the environment measures its episodes by, (N,) each.
    """

    returns: np.ndarray
    lengths: np.ndarray
    success: np.ndarray | None
    spl: np.ndarray | None
    metrics: dict[str, np.ndarray]


class Interval(NamedTuple):
    """An estimate and its 95% confidence interval."""

    mean: float
    low: float
    high: float


class Scores(NamedTuple):
    """Scores of an agent over N episodes; ``normalized`` is the return, 0 a random agent's and 1 the oracle's."""

    episodes: int
    returns: Interval
    success: Interval | None
    spl: Interval | None
    normalized: Interval | None
    metrics: dict[str, Interval]


# --- playing --------------------------------------------------------------------------------------------------------


def evaluate(
    agent: Agent,
    env: VecEnv,
    episodes: int,
    deterministic: bool = True,
    seed: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Episodes:
    """Play exactly ``episodes`` episodes.

    Each of the B environments contributes its first ``episodes / B``, a number fixed beforehand as in SB3's
    ``evaluate_policy``: taking whichever end first would favour the short ones. Nothing drawn here changes the random
    numbers of a training that goes on around it.

    :param agent: anything with SB3's ``predict``
    :param env: B environments; they are reset
    :param episodes: how many in all
    :param deterministic: the most likely actions instead of sampled ones
    :param seed: of the environments and of the sampled actions; without it both go on from where they are
    :param progress: called with the number of episodes that have just finished
    :raises FloatingPointError: if an observation is not finite, or what the agent makes of it; naming the step
    """
    positive_int("episodes", episodes)
    env, remaining = monitored(env), quotas(episodes, env.num_envs)
    player: Agent = EqualHistories(agent) if deterministic and may_share(agent) else agent
    finished: list[list[dict[str, Any]]] = [[] for _ in remaining]
    with preserved_random_states(), named_ends(lambda: env), _acting(agent):
        if seed is not None:
            env.seed(seed)
            set_random_seed(seed)
        observations, state, steps = env.reset(), None, 0
        starts = np.ones(env.num_envs, dtype=bool)
        while remaining.any():
            try:
                actions, state = player.predict(observations, state, starts, deterministic)
            except FloatingPointError as error:
                raise FloatingPointError(f"at step {steps} of the evaluation, {error}") from error
            steps += 1
            observations, _, starts, infos = env.step(actions)
            for i in np.flatnonzero(starts & (remaining > 0)).tolist():
                finished[i].append(infos[i])
                remaining[i] -= 1
                if progress is not None:
                    progress(1)
    return _episodes([info for infos in finished for info in infos], metric_names(env))


def _acting(agent: Agent) -> AbstractContextManager[object]:
    """Return the context of many steps by the same weights, where the agent's policy has one."""
    acting = getattr(getattr(agent, "policy", agent), "acting", None)
    return nullcontext() if acting is None else acting()


def monitored(env: VecEnv) -> VecEnv:
    """Return environments that tell of episodes at their ends, as a ``Monitor`` does, wrapped if they do not yet."""
    return env if is_vecenv_wrapped(env, VecMonitor) or env.env_is_wrapped(Monitor)[0] else VecMonitor(env)


def quotas(episodes: int, rows: int) -> np.ndarray:
    """Return how many of some episodes each of B rows plays, (B,): as evenly as can be."""
    return np.array([(episodes + row) // rows for row in range(rows)])


def metric_names(env: VecEnv) -> list[str]:
    """Return the environment's own measures of episodes, beside success and SPL; none unless it is one of memenvs."""
    names = getattr(env.get_attr("definition", [0])[0], "metrics", ()) if env.has_attr("definition") else ()
    return [name for name in names if name not in ("success", "spl")]


def _episodes(infos: list[dict[str, Any]], metrics: list[str]) -> Episodes:
    """Collect finished episodes from the infos of their last steps."""
    success, spl = ([measure(info, name) for info in infos] for name in ("success", "spl"))
    return Episodes(
        np.array([info["episode"]["r"] for info in infos], dtype=np.float64),
        np.array([info["episode"]["l"] for info in infos], dtype=np.int64),
        None if None in success else np.array(success) > 0.5,
        None if None in spl else np.array(spl, dtype=np.float64),
        {
            name: np.array([info[name] for info in infos], dtype=np.float64)
            for name in metrics
            if all(name in info for info in infos)  # a wrapper that cuts episodes knows nothing of them
        },
    )


class SampledActions:
    """Agent that acts by actions drawn from its policy, as in training, instead of by the most likely ones.

    :param agent: anything with SB3's ``predict``
    """

    def __init__(self, agent: Agent):
        self.agent = agent

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Return sampled actions (B, ...), whatever ``deterministic`` says, and the state for the next call."""
        return self.agent.predict(observation, state, episode_start, False)


class RandomAgent:
    """Uniformly random actions.

    :param action_space: of one environment
    :param seed: of its own generator
    """

    def __init__(self, action_space: spaces.Space, seed: int = 0):
        self.action_space = copy.deepcopy(action_space)
        self.action_space.seed(seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Return as many actions as ``episode_start`` (B,) has rows."""
        return np.stack([self.action_space.sample() for _ in episode_start]), None


class RandomWalk:
    """Random actions among those that do something, which the environment's ``random_walk(rng)`` draws.

    :param env: the environments it is asked to act in
    :param seed: of its own generator
    """

    def __init__(self, env: VecEnv, seed: int = 0):
        self.env, self.rng = env, np.random.default_rng(seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Actions (B,)."""
        walk = getattr(self.env, "random_walk", None)
        actions = walk(self.rng) if walk is not None else self.env.env_method("random_walk", self.rng)
        return np.asarray(actions), None


class OracleAgent:
    """The environment's own best actions; any action where none matters.

    :param env: the environments it is asked to act in
    """

    def __init__(self, env: VecEnv):
        self.env = env

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Actions (B,)."""
        actions = oracle_actions(self.env)
        return np.where(actions == -1, getattr(self.env.action_space, "start", 0), actions), None


def baselines(env: VecEnv, seed: int = 0) -> dict[str, Agent]:
    """A random agent, and a random walk and the oracle where the environment offers them.

    :param env: the environments they act in; they are reset
    :param seed: of the random ones
    """
    agents: dict[str, Agent] = {RANDOM: RandomAgent(env.action_space, seed)}
    observations = env.reset()
    for name, method, agent in ((WALK, "random_walk", RandomWalk(env, seed)), (ORACLE, "oracle", OracleAgent(env))):
        if not (hasattr(env, method) or env.has_attr(method)):
            continue  # asking for it in vain would end the processes of a SubprocVecEnv
        try:
            agent.predict(observations)
        except (AttributeError, NotImplementedError, ValueError):
            continue
        agents[name] = agent
    return agents


# --- statistics -----------------------------------------------------------------------------------------------------


def compare(
    agents: Mapping[str, Agent],
    env: VecEnv,
    episodes: int,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Scores]:
    """The scores of several agents in the same episodes.

    :param agents: by name, e.g. ``{"mine": agent, **baselines(env)}``; with a random agent and the oracle among them
        the scores are also normalised
    :param env: environments that all of them can act in
    :param episodes: for each of them
    :param seed: of the environments
    :param progress: called with the number of episodes that have just finished
    """
    played = {name: evaluate(agent, env, episodes, True, seed, progress) for name, agent in agents.items()}
    return {name: _scores(name, done, played) for name, done in played.items()}


def _scores(name: str, done: Episodes, played: Mapping[str, Episodes]) -> Scores:
    """The scores of an agent's episodes, beside those of the others."""
    normalized = {RANDOM: Interval(0, 0, 0), ORACLE: Interval(1, 1, 1)}.get(name)  # by definition
    if RANDOM not in played or ORACLE not in played:
        normalized = None
    elif normalized is None:
        normalized = normalized_score(done.returns, played[RANDOM].returns, played[ORACLE].returns)
    success, spl = (None if values is None else mean_interval(values) for values in (done.success, done.spl))
    metrics = {name: mean_interval(values[np.isfinite(values)]) for name, values in done.metrics.items()}
    return Scores(len(done.returns), mean_interval(done.returns), success, spl, normalized, metrics)


def mean_interval(values: np.ndarray) -> Interval:
    """The mean of independent values, with its 95% confidence interval.

    Numbers: Student's t. Booleans are a proportion: Wilson's score interval (Wilson 1927, JASA 22:209), which stays
    within [0, 1] and has a width even where all are alike.

    :param values: (N,) numbers or booleans
    """
    from scipy import stats  # a second to import, and only where something is evaluated

    values = np.asarray(values)
    n, mean = len(values), float(values.mean())
    if values.dtype == bool:
        low, high = stats.binomtest(int(values.sum()), n).proportion_ci(method="wilson")
        return Interval(mean, float(low), float(high))
    if n <= 1:
        return Interval(mean, -math.inf, math.inf)
    half = float(stats.t.ppf(0.975, n - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def over_seeds(values: Sequence[float], digits: int, low: float = -math.inf, high: float = math.inf) -> str:
    """Return the text of a result over seeds: the mean, and in brackets how far it can be trusted.

    One seed is the mean alone. Two to four are listed: an interval of so few says more about Student's t than about
    them. Five and more have the 95% interval of their mean.

    :param values: one for each seed
    :param digits: after the point
    :param low: least possible value, such as 0 of a count; the interval is cut off there
    :param high: greatest possible value, such as 1 of a share
    """
    if not len(values):
        raise ValueError("values must hold a number for each seed, and there is none")
    interval = mean_interval(np.asarray(values, dtype=np.float64))
    mean, *inner = (f"{value:,.{digits}f}" for value in (interval.mean, *values))
    if len(values) == 1:
        return mean
    if len(values) < FEW_SEEDS:
        return f"{mean} ({', '.join(inner)})"
    return f"{mean} ({max(interval.low, low):,.{digits}f} to {min(interval.high, high):,.{digits}f})"


def normalized_score(scores: np.ndarray, random_scores: np.ndarray, oracle_scores: np.ndarray) -> Interval:
    """(score − random) / (oracle − random), with a 95% percentile bootstrap over the three samples (Efron 1979).

    :param scores: (N,), and likewise the scores of a random agent and of the oracle, of any length each
    :return: not a number where the oracle is no better than the random agent
    """
    rng = np.random.default_rng(0)
    samples = (np.asarray(scores, float), np.asarray(random_scores, float), np.asarray(oracle_scores, float))

    def ratio(score: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(high > low, (score - low) / (high - low), np.nan)

    low, high = np.quantile(ratio(*(_resampled_means(sample, rng) for sample in samples)), (0.025, 0.975))
    return Interval(float(ratio(*(sample.mean() for sample in samples))), float(low), float(high))


def _resampled_means(sample: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The means of samples (N,) drawn with replacement, a million numbers at a time at most."""
    n = len(sample)
    sizes = [len(part) for part in np.array_split(np.arange(_BOOTSTRAP_SAMPLES), 1 + _BOOTSTRAP_SAMPLES * n // 10**6)]
    return np.concatenate([sample[rng.integers(n, size=(size, n))].mean(axis=1) for size in sizes])


# --- showing --------------------------------------------------------------------------------------------------------


def scores_table(title: str, scores: Mapping[str, Scores]) -> Table:
    """A row an agent, a column a measure, each with its 95% interval."""
    columns = {"return": "returns", "success": "success", "SPL": "spl", "normalised": "normalized"}
    shown = {head: field for head, field in columns.items() if any(getattr(s, field) for s in scores.values())}
    table = Table(title=title, caption=_caption(shown), box=box.SIMPLE, leading=1)
    table.collapse_padding, table.pad_edge = True, False  # room for numbers in one piece
    table.add_column("agent", no_wrap=True)
    metrics = list(dict.fromkeys(name for score in scores.values() for name in score.metrics))
    for head in (*shown, *(name.replace("_", " ") for name in metrics)):
        table.add_column(head, justify="center", overflow="fold")  # broken in a narrow terminal, not cut
    for name, score in scores.items():
        cells = [getattr(score, field) for field in shown.values()] + [score.metrics.get(metric) for metric in metrics]
        table.add_row(name, *map(interval_text, cells))
    return table


def _caption(shown: Collection[str]) -> str:
    """Return what a table of scores means, as far as its columns ask for it."""
    others = {"success": "Wilson's for success", "normalised": "a bootstrap for normalised"}
    kinds = ", ".join(["Student's t over the episodes", *(others[head] for head in others if head in shown)])
    parts = [
        "agents act by their most likely actions, unless they are sampled",
        f"in brackets: 95% confidence intervals ({kinds})",
    ]
    if "normalised" in shown:
        parts.append("normalised: 0 the random agent's return, 1 the oracle's")
    return "; ".join(parts)


def interval_text(interval: Interval | None) -> str:
    """The estimate, and under it the interval in brackets."""
    return "" if interval is None else f"{interval.mean:.3f}\n\\[{interval.low:.3f}, {interval.high:.3f}]"


def scores_json(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """The scores as plain values; null for what is no number."""

    def plain(value: Any) -> Any:
        if isinstance(value, Interval):
            return {name: bound if math.isfinite(bound) else None for name, bound in value._asdict().items()}
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        return value

    return {name: {field: plain(v) for field, v in score._asdict().items()} for name, score in scores.items()}
