"""Workspaces, and their work as a CUDA graph, for which something else stands in."""

import warnings

import pytest
import torch

from memagents.kernels.cuda import graph
from tests.kernels.support.interpreter import FakeGraph, fake_graphs


@pytest.fixture
def cuda(monkeypatch):
    return fake_graphs(monkeypatch)


def test_a_workspace_is_borrowed_until_its_token_is_gone():
    made = []
    pool = graph.Workspaces(lambda key: made.append(key) or [key], spare=2)
    first, token = pool.borrow("a")
    second, other = pool.borrow("a")
    assert first is not second and made == ["a", "a"]
    del token
    third, token = pool.borrow("a")
    assert third is first and len(made) == 2
    del token, other
    for key in ("b", "c", "d"):
        pool.borrow(key)
    assert len(pool) == 2 and made == ["a", "a", "b", "c", "d"]
    pool.borrow("c")
    assert len(made) == 5, "the two that were used last are kept"


def test_the_second_call_is_captured_and_replayed(cuda):
    calls = []
    captured = graph.Captured(cuda)
    for _ in range(4):
        captured(lambda: calls.append(FakeGraph.made))
    assert calls == [0, 1], "once launched, once recorded"
    assert captured._graph.replayed == 3


def test_inside_another_capture_nothing_is_captured(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    calls = []
    captured = graph.Captured(cuda)
    for _ in range(3):
        captured(lambda: calls.append(1))
    assert len(calls) == 3 and not FakeGraph.made


def test_a_failed_capture_is_said_once_and_the_work_goes_on(cuda, monkeypatch):
    def refuse():
        raise RuntimeError("no memory for a graph")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    calls = []
    captured = graph.Captured(cuda)
    captured(lambda: calls.append(1))
    with pytest.warns(UserWarning, match="no memory for a graph"):
        captured(lambda: calls.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured(lambda: calls.append(1))
    assert len(calls) == 3


def test_elsewhere_every_call_is_made():
    calls = []
    captured = graph.Captured(torch.device("cpu"))
    for _ in range(3):
        captured(lambda: calls.append(1))
    assert len(calls) == 3
