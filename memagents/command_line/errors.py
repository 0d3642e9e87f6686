"""Ends of a process as a person at a terminal wants them: one line instead of a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def plain_errors(*kinds: type[BaseException]) -> Iterator[None]:
    """End the process at errors of these kinds with their message alone, and exit code 2.

    A KeyboardInterrupt among them ends it as the signal would have: with 130 for Ctrl-C, or 128 and the number of
    another signal (``signal``, see :class:`memagents.experiments.training.Stopped`).
    """
    try:
        yield
    except BrokenPipeError:  # nobody reads what is printed: see plain_ends
        raise
    except kinds as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        print(str(error) or "interrupted" if interrupted else f"error: {error}", file=sys.stderr)
        raise SystemExit(128 + getattr(error, "signal", signal.SIGINT) if interrupted else 2) from None


@contextlib.contextmanager
def plain_ends() -> Iterator[None]:
    """End the process in silence when nobody reads what it prints (exit code 141), and in one line at Ctrl-C (130)."""
    try:
        with plain_errors(KeyboardInterrupt):
            try:
                yield
            finally:
                sys.stdout.flush()
    except BrokenPipeError:
        try:
            print(flush=True)
        except BrokenPipeError:
            # It is the standard output, and what is left for it would fail once more when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None
        raise
