"""A run's policy as a file that needs neither memagents nor, in ONNX Runtime, torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from memagents.checks import path_ending
from memagents.experiments.run import Run
from memagents.export.check import MOST_TIES, ROWS, STEPS, TOLERANCE, Difference, largest_difference
from memagents.export.description import described
from memagents.export.names import check_distinct
from memagents.export.normalization import normalization_of
from memagents.export.programs import (
    Runner,
    check_packages,
    onnx_bytes,
    onnx_runner,
    torch_bytes,
    torch_loaded,
    torch_runner,
    traced,
)
from memagents.export.step import PolicyStep, check_exportable, outputs_of
from memagents.runs import agent_files
from memagents.runs.files import write_bytes
from memagents.runs.random_states import preserved_random_states

ENDINGS = (".onnx", ".pt2")
_LONGEST = 300  # of the reasons that torch gives


class Exported(NamedTuple):
    """A file that was written.

    ``difference`` is the largest one from the policy over 200 steps; None where nothing is installed to run the file.
    """

    path: Path
    difference: Difference | None


def export_run(run: Run | str | Path, path: str | Path, slots: int | None = None) -> Exported:
    """Write one step of a run's policy to a file, held against the policy itself before.

    The step takes observations as the environment gives them, whether an episode begins, and the state; it returns the
    most likely action, what its distribution is made of, the value and the next state. All of it has names, and any
    number of rows: docs/export.md tells which. Normalisation of observations is a part of the step.

    :param run: a run, its folder, or ``pretrained:NAME``
    :param path: of the file: ``.onnx`` for ONNX Runtime, ``.pt2`` for ``torch.export.load``; one that is there is
        replaced
    :param slots: of the memory; by default as many as it was trained with
    :raises CheckpointError: if there is no such run, or it cannot be loaded
    :raises ValueError: if the path is none of these, a package is missing, or the policy cannot be exported, or its
        exported step gives other numbers; nothing is written then
    """
    path = path_ending("path", Path(path), *ENDINGS)
    if path.suffix.lower() == ".onnx":
        check_packages()
    run = run if isinstance(run, Run) else Run.open(run)
    with preserved_random_states():  # a training may be going on in this process
        agent = run.load_agent(None, "cpu", slots, verbose=0)
        policy = check_exportable(agent.policy, run.description["algorithm"])
        policy.set_training_mode(False)
        policy.mixed_precision = False  # what it stands for is full precision
        step = PolicyStep(policy, normalization_of(agent_files.read_normalization(run.folder))).eval()
        if path.suffix.lower() == ".onnx":
            check_distinct(step.entries, outputs_of(step))
        data, difference = _checked(step, path, described(step, run.description))
    write_bytes(path, data)
    return Exported(path, difference)


def _checked(step: PolicyStep, path: Path, description: dict[str, Any]) -> tuple[bytes, Difference | None]:
    """Return the bytes of the file, and how far its step is from the policy's.

    :raises ValueError: if it cannot be made, or is too far
    """
    ending, core = path.suffix.lower(), description["core"]
    try:
        data, runner = _made(step, ending, json.dumps(description))
        difference = None if runner is None else _of_any_batch(step, runner)
    except Exception as error:  # of any kind: torch's and ONNX Runtime's errors have no base of their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
        other = "" if ending == ".pt2" else "; a path that ends in .pt2 may do"
        raise ValueError(
            f"a policy with the core {core!r} cannot be exported as {ending}: its step is no graph of fixed operations "
            f"that the file knows ({reason}). Every core of memagents can be exported as it is by default{other}"
        ) from error
    if difference is not None and not difference.size <= TOLERANCE:
        raise ValueError(
            f"{path} is not written: over {STEPS} steps the exported step departs from the policy by "
            f"{difference.size:.1e} ({difference.name}), and at most {TOLERANCE:.0e} is allowed"
        )
    if difference is not None and difference.ties > MOST_TIES * STEPS * ROWS:
        raise ValueError(
            f"{path} is not written: in {difference.ties} of {STEPS * ROWS} steps rounding decides what the memory "
            "does, so that nothing can be said of the exported one"
        )
    return data, difference


def _made(step: PolicyStep, ending: str, metadata: str) -> tuple[bytes, Runner | None]:
    """The bytes of the file, and what runs them."""
    program = traced(step)
    if ending == ".pt2":
        data = torch_bytes(program, metadata)
        return data, torch_runner(torch_loaded(data))
    data = onnx_bytes(program, list(step.example(1)), outputs_of(step), metadata)
    return data, onnx_runner(data)


def _of_any_batch(step: PolicyStep, runner: Runner) -> Difference:
    """The largest difference over many steps, and over a few of one environment alone."""
    many, one = largest_difference(step, runner), largest_difference(step, runner, steps=5, rows=1, seed=1)
    return max(many, one, key=lambda difference: difference.size)._replace(ties=many.ties + one.ties)
