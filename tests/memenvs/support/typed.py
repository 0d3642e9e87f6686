"""The types that Numba gives to the operations of a function and of those it calls, without compiling the function."""

from numba import types
from numba.core import ir
from numba.core.compiler import run_frontend
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target
from numba.core.ssa import reconstruct_ssa
from numba.core.typed_passes import type_inference_stage

COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}  # of mixed signs, Numba gets right


def mixtures(function, arguments, seen=None):
    """Yield function, line, operator, types and result of each operation with a uint64 whose result is none."""
    seen = set() if seen is None else seen
    if (function, arguments) in seen:
        return
    seen.add((function, arguments))
    typing, target = cpu_target.typing_context, cpu_target.target_context
    code = reconstruct_ssa(run_frontend(function.py_func))
    typed = type_inference_stage(typing, target, code, arguments, None)
    for block in code.blocks.values():
        for statement in block.body:
            value = statement.value if isinstance(statement, ir.Assign) else None
            if not isinstance(value, ir.Expr):
                continue
            if value.op in ("binop", "inplace_binop") and value.fn.__name__ not in COMPARISONS:
                left, right, result = (typed.typemap[v.name] for v in (value.lhs, value.rhs, statement.target))
                if types.uint64 in (types.unliteral(left), types.unliteral(right)) and result != types.uint64:
                    name = f"{function.py_func.__module__}.{function.py_func.__name__}"
                    yield name, statement.loc.line, value.fn.__name__, f"{left} {right}", str(result)
            if value.op == "call":
                called = typed.typemap[value.func.name]
                if isinstance(called, types.Dispatcher) and isinstance(called.dispatcher, Dispatcher):
                    given = tuple(map(types.unliteral, typed.calltypes[value].args))
                    yield from mixtures(called.dispatcher, given, seen)
