"""A step as a graph: for torch (``torch.export``) and for ONNX, as bytes and as what runs them."""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from memagents.export.step import PolicyStep

Runner = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""What runs an exported step: arrays by the names of the inputs to arrays by the names of the outputs."""

METADATA = "memagents"  # the name under which a file holds its description, as JSON
_ROWS = 3  # of the example that is traced: 0 and 1 would stand for themselves alone
_BATCH = "batch"  # the name of the dynamic dimension
_INNER = "inner."  # before the names of values within an ONNX graph, lest an entry of an observation has one of them


def check_packages() -> None:
    """:raises ValueError: if what writes ONNX is not installed"""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"an .onnx file needs {' and '.join(missing)}: pip install 'memagents[export]'")


@torch.no_grad()
def traced(step: PolicyStep) -> ExportedProgram:
    """Trace a step, for batches of any size.

    :raises ValueError: if it is no static graph
    """
    inputs = step.example(_ROWS)
    dynamic = {name: {0: Dim.DYNAMIC} for name in inputs}
    with _quiet():
        program = torch.export.export(step, (inputs,), dynamic_shapes=(dynamic,), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of source, with the names of this machine's folders
    return program


def torch_bytes(program: ExportedProgram, metadata: str) -> bytes:
    """Return what a ``.pt2`` file holds."""
    file = io.BytesIO()
    with _quiet():
        torch.export.save(program, file, extra_files={METADATA: metadata})
    return file.getvalue()


def torch_runner(program: ExportedProgram) -> Runner:
    """Return what runs a traced step."""
    module = program.module()

    @torch.no_grad()
    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs: dict[str, Tensor] = module({name: torch.from_numpy(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return run


def torch_loaded(data: bytes) -> ExportedProgram:
    """Load what a ``.pt2`` file holds."""
    with _quiet():
        return torch.export.load(io.BytesIO(data))


def onnx_bytes(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], metadata: str) -> bytes:
    """Return what an ``.onnx`` file holds.

    :param inputs: names, in order
    :param outputs: names, in order
    """
    import onnxscript

    from memagents.export.decompositions import TABLE

    op: Any = onnxscript.opset18

    def sort(values: Any, stable: bool = False, dim: int = -1, descending: bool = False) -> Any:
        """By TopK, which takes equal ones by their places."""
        size = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
        return op.TopK(values, size, axis=dim, largest=int(descending), sorted=1)

    with _quiet(), torch.no_grad():
        made = torch.onnx.export(
            program.run_decompositions(TABLE),
            (),
            dynamo=True,
            verbose=False,
            input_names=inputs,
            output_names=outputs,
            custom_translation_table={torch.ops.aten.sort.stable: sort},
        )
    assert made is not None
    for value in (*made.model.graph.inputs, *made.model.graph.outputs):
        if value.shape is not None and len(value.shape):
            value.shape[0] = _BATCH
    for node in made.model.graph.all_nodes():
        node.metadata_props.clear()  # where in torch it is from: more than all the rest
        for value in node.outputs:
            if value.name and not value.is_graph_output():
                value.name = f"{_INNER}{value.name}"
    made.model.metadata_props[METADATA] = metadata
    return made.model_proto.SerializeToString()


def onnx_runner(data: bytes) -> Runner | None:
    """Load an ``.onnx`` file into ONNX Runtime; None where that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(None, inputs), strict=True))

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch has to say of its own passage through the graph."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
