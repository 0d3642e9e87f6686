"""The conformance kit of cores."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from memagents.cores import MemoryCore
from memagents.testing import core_checks, core_numbers, core_windows
from memagents.testing.conformance import Check, run_checks
from memagents.testing.core_case import CoreCase, CoreMaker, case_of

CORE_CHECKS: tuple[Check[CoreCase], ...] = (
    core_checks.states,
    core_checks.shapes,
    core_checks.initial_state,
    core_checks.nothing_kept,
    core_checks.same_again,
    core_checks.arguments,
    core_checks.pointwise,
    core_checks.rows,
    core_checks.picked_rows,
    core_checks.starts,
    core_checks.leaks,
    core_windows.recur,
    core_windows.steps,
    core_windows.halves,
    core_windows.chunks,
    core_numbers.history,
    core_numbers.reach,
    core_numbers.gradcheck,
    core_numbers.finite,
    core_numbers.autocast,
    core_numbers.trace,
    core_numbers.moves,
    core_numbers.gpu,
    core_numbers.saving,
    core_numbers.refusals,
    core_numbers.more_slots,
)
"""All checks of a core, in the order in which :func:`check_core` runs them: what others build on comes first.

Each has a ``name`` and takes a :class:`CoreCase`, so that pytest can ask them one by one::

    @pytest.mark.parametrize("check", CORE_CHECKS, ids=str)
    def test_my_core(check):
        check(core_case(MyCore, hidden_size=5))
"""


def core_case(
    core: str | type[MemoryCore] | CoreMaker,
    *,
    input_size: int = 5,
    batch_size: int = 3,
    steps: int = 9,
    distributions: Collection[str] = (),
    **core_kwargs: Any,
) -> CoreCase:
    """What a single check of :data:`CORE_CHECKS` takes; the parameters are those of :func:`check_core`."""
    sizes = {"input_size": input_size, "batch_size": batch_size, "steps": steps}
    return case_of(core, core_kwargs, **sizes, distributions=tuple(distributions))


def check_core(
    core: str | type[MemoryCore] | CoreMaker,
    *,
    input_size: int = 5,
    batch_size: int = 3,
    steps: int = 9,
    distributions: Collection[str] = (),
    skip: Collection[str] = (),
    **core_kwargs: Any,
) -> None:
    """Hold a core against the contract of :class:`~memagents.cores.MemoryCore`.

    The checks, in their order, with their cost in windows of ``steps`` (f: forward alone; b: forward and backward):

    - ``states`` (2 f): a NamedTuple of tensors, batch first, whose shapes and types never change; initial states alike.
    - ``shapes`` (2 f): outputs, losses and trace are (T, B, ...), of one step (B, ...); a trace only if asked for.
    - ``initial_state`` (none): its rows share no memory with one another, other leaves or parameters.
    - ``nothing_kept`` (1 f): nothing of a sequence stays on the module; no tensor hides from ``.to()``.
    - ``same_again`` (3 f): the same call gives the same bits and draws from no global generator.
    - ``arguments`` (1 f): none is changed in place.
    - ``pointwise`` (1 f): ``project`` and ``readout`` of a window are those of each step and row alone.
    - ``rows`` (2 B + 1 f, 1 b): inputs of one row leave the others equal to the last bit; gradients stay in it.
    - ``picked_rows`` (2 steps): states can be picked and joined by row.
    - ``starts`` (2 T f): from a start on, at every position, all is as from a fresh state; a late reset is named.
    - ``leaks`` (1 b, 3 f): neither a gradient nor NaN passes a start.
    - ``recur`` (2 (T + 3) b): a window equals the default loop of ``step``, values and gradients, starts everywhere.
    - ``steps`` (6 b): a window equals one-step calls, values and gradients.
    - ``halves`` (2 f): a window in two halves is the window.
    - ``chunks`` (3 b): a window whose chunks are computed again in backward is the window.
    - ``history`` (1 b, 2 f): what later outputs depend on gets a gradient from them: nothing is detached.
    - ``reach`` (1 b): gradients reach every input and every trained parameter.
    - ``gradcheck`` (about 12 f, 3 steps of 2 rows): gradients equal finite differences in float64.
    - ``finite`` (8 b of 12 steps): nothing overflows for zero, huge, repeated or random inputs, nor under autocast.
    - ``autocast`` (2 f): bfloat16 changes the outputs by little.
    - ``trace`` (1 f of 20 steps): finite; ``*_weights`` and ``*_modes`` are weightings.
    - ``moves`` (3 f): ``.to()`` moves everything, states included.
    - ``gpu`` (2 b): a GPU gives the same; skipped where there is none.
    - ``saving`` (4 f): ``state_dict`` through a file, and ``copy.deepcopy``, give the same core.
    - ``refusals`` (none): inputs and starts of a wrong shape are refused by name.
    - ``more_slots`` (1 f): a core takes the weights of one with fewer slots, where it offers that.

    With small sizes (a width of 5, a few slots) this takes a second or two. Random draws are welcome where they come
    from a key in the state; the core is examined in training mode, as it is made. Where only rounding tells apart slots
    that are equal after a start (``dnc``), two ways to compute may order them differently: choose at most three slots.

    :param core: a registered name (``"dnc"``, ``"my_package:mine"``), a subclass of ``MemoryCore``, or a function that
        makes one, called with ``input_size`` and the parameters
    :param input_size: width of one input
    :param batch_size: rows, at least 2
    :param steps: of a window, at least 4
    :param distributions: entries of the trace whose sum must be exactly 1
    :param skip: names of checks left out, such as ``gradcheck`` for a core with the stop-gradients of its paper
    :param core_kwargs: parameters of the core; choose small ones
    :raises ConformanceError: by the first check that fails, with its name, the difference seen, and advice
    :raises ValueError: for arguments that are not allowed
    """
    sizes = {"input_size": input_size, "batch_size": batch_size, "steps": steps}
    case = core_case(core, **sizes, distributions=distributions, **core_kwargs)
    case.make()  # what is wrong with the parameters is raised as it is
    run_checks(CORE_CHECKS, case, skip)
