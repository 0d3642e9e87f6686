"""Keys as a person presses them, in a terminal or in a window, each by one name: "up", "enter", "q", "7"."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator

ARROWS = ("up", "right", "down", "left")
UNKNOWN = "unknown"  # a key without a name here, such as F1
INTERRUPTS = ("\x03", "\x04", "")  # Ctrl-C, Ctrl-D, and the end of the input
_SEQUENCES = {
    b"\x1b" + kind + final: name
    for kind in (b"[", b"O")
    for final, name in zip((b"A", b"C", b"B", b"D"), ARROWS, strict=True)
}
_BYTES = {b"\r": "enter", b"\n": "enter", b" ": "space", b"\x7f": "backspace", b"\b": "backspace", b"\x1b": "escape"}


@contextlib.contextmanager
def terminal_keys() -> Iterator[Callable[[], str]]:
    """Yield a function that waits for the next key on standard input, a terminal; its settings are restored afterwards.

    :raises RuntimeError: if there is no terminal
    """
    try:
        import termios
        import tty
    except ImportError as error:
        raise RuntimeError("keys are read from a terminal as Unix has it; use --window here") from error
    if not sys.stdin.isatty():
        raise RuntimeError("keys are read from a terminal, and the standard input is none")
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield lambda: _terminal_key(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _terminal_key(descriptor: int) -> str:
    pressed = os.read(descriptor, 1)
    if pressed == b"\x1b":
        rest = _rest_of_sequence(descriptor)
        return _SEQUENCES.get(pressed + rest, UNKNOWN if rest else "escape")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    key = decoder.decode(pressed)
    while pressed and not key:  # a letter of several bytes
        pressed = os.read(descriptor, 1)
        key = decoder.decode(pressed, final=not pressed)
    return _BYTES.get(pressed, key)


def _rest_of_sequence(descriptor: int) -> bytes:
    """Return the characters that follow an escape at once; a person is not so fast."""
    rest = b""
    while select.select([descriptor], [], [], 0.05)[0] and (pressed := os.read(descriptor, 1)):
        rest += pressed
        # After "[" come digits and marks, and then a letter or "~"; after "O" one letter; all else stands alone.
        if rest[:1] not in (b"[", b"O") or (len(rest) > 1 and rest[-1:] >= b"@"):
            break
    return rest


def window_key() -> str:
    """Wait for the next key in pygame's window, which is open; closing it counts as the end of the input."""
    import pygame

    named = dict(zip((pygame.K_UP, pygame.K_RIGHT, pygame.K_DOWN, pygame.K_LEFT), ARROWS, strict=True))
    named |= {pygame.K_RETURN: "enter", pygame.K_KP_ENTER: "enter", pygame.K_SPACE: "space"}
    named |= {pygame.K_BACKSPACE: "backspace", pygame.K_ESCAPE: "escape"}
    while True:
        event = pygame.event.wait()
        if event.type == pygame.QUIT:
            return ""
        if event.type == pygame.KEYDOWN:
            key = named.get(event.key, event.unicode)
            if key:  # and not a shift key alone
                return key
