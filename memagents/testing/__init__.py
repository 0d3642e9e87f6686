"""Conformance kits: what others can hold their own cores and recurrent policies against."""

from memagents.testing.conformance import Check, ConformanceError
from memagents.testing.cores import CORE_CHECKS, check_core, core_case
from memagents.testing.policies import POLICY_CHECKS, check_recurrent_policy, policy_case

__all__ = [
    "CORE_CHECKS",
    "POLICY_CHECKS",
    "Check",
    "ConformanceError",
    "check_core",
    "check_recurrent_policy",
    "core_case",
    "policy_case",
]
