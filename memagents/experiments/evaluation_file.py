"""What is read again of the file that an evaluation leaves in a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memagents.experiments.evaluation import MEASURES_OF
from memagents.runs.files import CheckpointError, read_json
from memagents.runs.layout import EVALUATION_FILE


def read_means(folder: Path, agents: Sequence[str]) -> tuple[str, dict[str, dict[str, float | None]]]:
    """Read the environment of a run's evaluation, and the means that it found.

    :param folder: of the run
    :param agents: whose means are wanted
    :return: ``{agent: {"returns": mean, "success": mean}}``, without success where the environment knows none; None for
        a mean that is not finite
    :raises CheckpointError: if the run has not been evaluated, or the file does not hold these
    """
    path = folder / EVALUATION_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has not been evaluated: it has no {EVALUATION_FILE}")
    found = read_json(path)
    try:
        scores = {agent: {**found["scores"][agent]} for agent in agents}
        means = {
            agent: {field: own[field]["mean"] for field in MEASURES_OF if field == "returns" or own[field] is not None}
            for agent, own in scores.items()
        }
        if not all(mean is None or isinstance(mean, int | float) for own in means.values() for mean in own.values()):
            raise TypeError
        return str(found.get("env", "")), means
    except (KeyError, TypeError, AttributeError) as error:
        wanted = " and of ".join(map(repr, agents))
        raise CheckpointError(f"{path} must hold the mean scores of {wanted}: evaluate the run anew") from error
