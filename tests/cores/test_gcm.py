"""Graph Convolutional Memory against the whole graph, computed anew in every step."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from memagents import make_core
from memagents.cores.core import unroll_by_steps
from memagents.memory import graph
from memagents.testing import CORE_CHECKS, core_case
from tests.cores.linear import SIZE, B, disturb, inputs_of, no_starts, single_against_double, some_starts
from tests.cores.support import SMALL
from tests.reference import gcm

both = pytest.mark.parametrize("edges", ["temporal", "learned"])
NOT_ASKED = {"gpu", "gradcheck"}  # finite differences do not see the gradients of draws


def make(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return make_core("gcm", SIZE, **({"length": 4, "width": 5} | changes)).to(dtype)


def numpy_weights(core):
    def array(tensor):
        return tensor.detach().numpy()

    return {
        "embedding": (array(core.embedding.weight), array(core.embedding.bias)),
        "layers": [tuple(map(array, (c.own.weight, c.own.bias, c.others.weight))) for c in core.layers],
    }


@both
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_equals_the_whole_graph_computed_anew(edges, mean, layers):
    core, steps = make(edges=edges, mean=mean, layers=layers), 20
    disturb(core)
    inputs, starts = inputs_of(steps), some_starts(steps)
    outputs, _, _, trace = core.unroll(inputs, core.initial_state(B), starts, trace=True)
    for b in range(B):
        begins = [0, *(t for t in range(1, steps) if starts[t, b]), steps]
        for begin, end in pairwise(begins):
            neighbours = []
            for t in range(end - begin):
                ages = (trace["edges"][begin + t, b].flip(0) == 1).nonzero().flatten().tolist()  # 0: the step before
                neighbours.append({t - 1 - age for age in ages})
                if edges == "temporal":
                    assert neighbours[-1] == set(range(max(t - 4, 0), t))
                assert not neighbours[-1] or min(neighbours[-1]) >= 0
            expected = gcm.gcm_outputs(numpy_weights(core), inputs[begin:end, b].numpy(), neighbours, mean)
            np.testing.assert_allclose(outputs[begin:end, b].detach(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("check", [c for c in CORE_CHECKS if c.name not in NOT_ASKED], ids=str)
def test_contract_with_learned_edges(check):
    check(core_case("gcm", input_size=SIZE, **SMALL["gcm"], edges="learned", draws=2))


def test_single_precision_over_4096_steps():
    assert single_against_double(lambda dtype: make(dtype, length=16, layers=2), window=256) < 1e-5


def test_two_steps_back_and_a_convolution():
    """Where tanh hardly bends, an input is seen for length × layers steps, by the taps of the paper's convolution."""
    core = make(length=2, layers=2, mean=False)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.zero_()
        core.embedding.weight[0, 0] = 1e-4
        for layer in core.layers:
            layer.own.weight[0, 0] = layer.others.weight[0, 0] = 1
        inputs = torch.zeros(7, B, SIZE, dtype=torch.float64)
        inputs[0, :, 0] = 1
        outputs = core.unroll(inputs, core.initial_state(B), no_starts(7)).outputs[:, 0, 0] * 1e4
    taps = np.convolve([1, 1, 1], [1, 1, 1])
    np.testing.assert_allclose(outputs, [*taps, 0, 0], rtol=1e-6, atol=1e-12)


def test_a_sum_over_many_saturates_and_a_mean_does_not():
    outputs = {}
    for mean in (False, True):
        core = make(length=100, layers=1, mean=mean)
        inputs = torch.ones(100, B, SIZE, dtype=torch.float64)
        outputs[mean] = core.unroll(inputs, core.initial_state(B), no_starts(100)).outputs[-1].abs().min()
    assert outputs[False] > 0.99 > outputs[True]


def test_edges_are_drawn_by_their_scores():
    scores = torch.tensor([0.0, 1.0, 2.0, 9.0], dtype=torch.float64)
    mask = torch.tensor([True, True, True, False])
    uniforms = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    edges = graph.drawn_edges(scores.expand(20_000, 4), uniforms, mask.expand(20_000, 4))
    assert ((edges == 0) | (edges == 1)).all()
    expected = torch.cat([scores[:3].softmax(0), torch.zeros(1, dtype=torch.float64)])
    torch.testing.assert_close(edges.mean(0), expected, rtol=0, atol=0.01)
    several = graph.drawn_edges(scores.expand(50, 4), uniforms[:100].view(50, 2), mask.expand(50, 4))
    assert set(several.sum(1).tolist()) == {1, 2}
    assert (graph.drawn_edges(scores, uniforms[0], torch.zeros(4, dtype=torch.bool)) == 0).all()


def test_learned_edges_are_learned():
    core = make(edges="learned", draws=2)
    core.unroll(inputs_of(8), core.initial_state(B), no_starts(8)).outputs.square().sum().backward()
    for name, parameter in core.named_parameters():
        assert (parameter.grad != 0).any(), name


@both
def test_the_trace_of_a_window_is_that_of_its_steps(edges):
    core, starts = make(edges=edges), some_starts(9)
    ways = (type(core).unroll, unroll_by_steps)
    traces = [way(core, inputs_of(9), core.initial_state(B), starts, True).trace for way in ways]
    torch.testing.assert_close(*traces)


def test_bad_parameters():
    for wrong, message in [
        ({"length": 0}, "length must be a positive integer"),
        ({"edges": "spatial"}, "edges must be one of 'temporal', 'learned', not 'spatial'"),
        ({"layers": 1.5}, "layers must be a positive integer"),
        ({"width": -1}, "width must be a positive integer"),
        ({"mean": 1}, "mean must be true or false"),
        ({"draws": 0}, "draws must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)
