"""Conformance kits: what others can hold their own cores and recurrent policies against."""

from memagents.testing.conformance import Check, ConformanceError
from memagents.testing.cores import CORE_CHECKS, check_core, core_case

__all__ = [
    "CORE_CHECKS",
    "Check",
    "ConformanceError",
    "check_core",
    "core_case",
]
