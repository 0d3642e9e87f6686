"""Checks of a contract: a name, a function that asks for one promise, and advice for who broke it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

Subject = TypeVar("Subject")


class ConformanceError(AssertionError):
    """A promise of the contract that is not kept.

    :ivar check: name of the check
    :ivar seen: the difference that it saw
    :ivar advice: the usual cause, and what to do
    """

    def __init__(self, check: str, seen: str, advice: str):
        super().__init__(f"{check}: {seen}\nAdvice: {advice}")
        self.check, self.seen, self.advice = check, seen, advice


class Difference(AssertionError):
    """A difference seen inside a check.

    :param seen: in words and numbers
    :param advice: where it is more precise than the check's own
    """

    def __init__(self, seen: str, advice: str | None = None):
        super().__init__(seen)
        self.advice = advice


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One check; called with what it examines, it raises :class:`ConformanceError` or returns nothing."""

    name: str
    advice: str
    body: Callable[[Subject], None]

    def __call__(self, subject: Subject) -> None:
        try:
            self.body(subject)
        except Difference as difference:
            raise ConformanceError(self.name, str(difference), difference.advice or self.advice) from None
        except AssertionError as error:  # of torch.testing
            raise ConformanceError(self.name, str(error), self.advice) from None
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
            raise ConformanceError(
                self.name, seen, "This was raised, not compared; see the traceback above."
            ) from error

    def __str__(self) -> str:
        return self.name


def check(advice: str) -> Callable[[Callable[[Subject], None]], Check[Subject]]:
    """Decorator that makes a check, named as the function.

    :param advice: the usual cause of a failure, and what to do
    """
    return lambda body: Check(body.__name__, advice, body)


def run_checks(checks: Iterable[Check[Subject]], subject: Subject, skip: Collection[str]) -> None:
    """Run all checks in their order, but for those skipped by name.

    :raises ConformanceError: by the first check that fails
    :raises ValueError: if ``skip`` names no check
    """
    checks = tuple(checks)
    names = [one.name for one in checks]
    unknown = sorted(set([skip] if isinstance(skip, str) else skip) - set(names))
    if unknown:
        raise ValueError(f"skip names no check by {unknown[0]!r}; there are: {', '.join(names)}")
    for one in checks:
        if one.name not in skip:
            one(subject)


def require(condition: object, seen: str, advice: str | None = None) -> None:
    """Raise :class:`Difference` unless the condition is true."""
    if not condition:
        raise Difference(seen, advice)


def agree(what: str, actual: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    """Require tensors, or trees of them, to be equal in shape, type and, but for rounding, in their numbers."""
    torch.testing.assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=True, msg=lambda seen: f"{what} differ. {seen}"
    )


def are_close(actual: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-11) -> bool:
    """Whether :func:`agree` would pass."""
    try:
        agree("", actual, expected, rtol, atol)
    except AssertionError:
        return False
    return True
