"""Scores of a run in the tests of a table."""

from typing import Any

from memagents.environments.make import make_env
from memagents.experiments.evaluation import evaluate
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.run import Run


def mean_score(
    run: Run,
    test: dict[str, Any],
    episodes: int,
    metric: str = "success",
    sampled: bool = False,
    slots: int | None = None,
    seed: int = EVALUATION_SEED,
) -> float:
    """Return a run's mean score in the episodes of a test.

    :param test: changes to the parameters of its environment; ``env`` gives another id, ``metric`` and ``sampled`` what
        stands in place of those below
    :param episodes: how many
    :param metric: ``success`` or a metric of the environment
    :param sampled: act by sampled actions instead of the most likely ones
    :param slots: of its memory, if not as many as in training
    :param seed: of the episodes
    """
    parameters = dict(test)
    env, metric = parameters.pop("env", None), parameters.pop("metric", metric)
    likely = not parameters.pop("sampled", sampled)
    env, kwargs = run.evaluation_env(env, parameters)
    agent = run.load_agent(make_env(env, min(episodes, 100), **kwargs), slots=slots)
    played = evaluate(agent, agent.env, episodes, likely, seed=seed)
    measured = played.success if metric == "success" else played.metrics[metric]
    assert measured is not None
    return float(measured.mean())
