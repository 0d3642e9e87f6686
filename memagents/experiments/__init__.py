"""Experiments: settings and recipes, training, evaluation, figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.experiments.catalogue import ALGORITHMS
    from memagents.experiments.evaluate_run import evaluate_run
    from memagents.experiments.evaluation import compare, evaluate
    from memagents.experiments.evaluation_settings import EvaluationSettings
    from memagents.experiments.run import Run, load_agent

__all__ = ["ALGORITHMS", "EvaluationSettings", "Run", "compare", "evaluate", "evaluate_run", "load_agent"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "ALGORITHMS": "memagents.experiments.catalogue",
        "EvaluationSettings": "memagents.experiments.evaluation_settings",
        "Run": "memagents.experiments.run",
        "compare": "memagents.experiments.evaluation",
        "evaluate": "memagents.experiments.evaluation",
        "evaluate_run": "memagents.experiments.evaluate_run",
        "load_agent": "memagents.experiments.run",
    },
)
