"""The canvas, its texts, and the window."""

import sys

import numpy as np
import pytest

from memenvs.render import blank_canvas, close, draw_text, show, text_size, to_array


def test_text_is_as_wide_as_measured():
    canvas, axes = blank_canvas((300, 64))
    draw_text(axes, 150, 32, "King's Cross $1$", 20, "black", 1)
    columns = np.flatnonzero((to_array(canvas) < 128).any(axis=(0, 2)))
    assert text_size("King's Cross $1$", 20)[0] == pytest.approx(np.ptp(columns) + 1, abs=4)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(150, abs=2)


def test_window(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[:, :60] = 10, 20, 30
    show(picture, "a title")
    window = pygame.display.get_surface()
    assert window.get_size() == (120, 90)
    assert window.get_at((5, 80))[:3] == (10, 20, 30) and window.get_at((80, 5))[:3] == (0, 0, 0)
    assert pygame.display.get_caption()[0] == "a title"
    show(picture[:70], "smaller")
    assert pygame.display.get_surface().get_size() == (120, 70)
    close()
    assert not pygame.display.get_init()


def test_no_screen_is_one_clear_error(monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "nonsense")
    with pytest.raises(RuntimeError, match="rgb_array"):
        show(np.zeros((90, 120, 3), np.uint8), "a title")


def test_without_pygame_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(RuntimeError, match="pip install pygame"):
        show(np.zeros((90, 120, 3), np.uint8), "a title")
