"""Errors as a person at a terminal wants them: one line instead of a traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def plain_errors(*kinds: type[BaseException]) -> Iterator[None]:
    """End the process at errors of these kinds with their message alone, and exit code 2 (130 for Ctrl-C)."""
    try:
        yield
    except kinds as error:
        print(f"{error}" if isinstance(error, KeyboardInterrupt) else f"error: {error}", file=sys.stderr)
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from None
