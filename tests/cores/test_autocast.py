"""Under autocast matrices are multiplied in bfloat16, but memories are looked through in float32.

The numbers here are exact in bfloat16, and the scores, 256 and 257 (or 1 and 1 + 2^-8), are not: in bfloat16 they would
be equal.
"""

import torch

from memagents import make_core
from memagents.cores.transformer import RelativeAttention

INPUTS = torch.tensor([[[16.0, 0.0]], [[16.0, 1.0]], [[16.0, 1.0]]])  # (T, 1, 2)
EYE = torch.eye(2)


def core_of(name, **parameters):
    """All parameters zero."""
    core = make_core(name, 2, **parameters)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.zero_()
    return core


def trace_of(core, inputs):
    starts = torch.zeros(inputs.shape[:2], dtype=torch.bool)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return core.unroll(inputs, core.initial_state(1), starts, trace=True).trace


def as_by_scores(weights, *scores):
    torch.testing.assert_close(weights, torch.tensor(scores).softmax(0), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_hopfield():
    core = core_of("hopfield", length=2, width=2, heads=1, beta=1.0)
    core.state_patterns.weight.copy_(EYE)
    core.stored_patterns.weight.copy_(EYE)
    as_by_scores(trace_of(core, INPUTS[:2])["retrieval_weights"][1, 0, 0], 256.0, 257.0)


@torch.no_grad()
def test_memn2n():
    core = core_of("memn2n", length=2, hidden_size=2, hops=1)
    core.embeddings.weight[:2] = EYE
    as_by_scores(trace_of(core, INPUTS[:2])["hop_1_weights"][1, 0], 256.0, 257.0)


@torch.no_grad()
def test_kv():
    core = core_of("kv", length=2, hidden_size=2, hops=1)
    core.embedding.weight.copy_(EYE)
    as_by_scores(trace_of(core, INPUTS)["hop_1_weights"][2, 0], 256.0, 257.0)


@torch.no_grad()
def test_relative_attention():
    attention = RelativeAttention(2, 1)
    attention.queries.weight.copy_(EYE)
    attention.keys.weight.copy_(EYE)
    attention.ages.weight.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        _, weights = attention(INPUTS[:2].transpose(0, 1), torch.ones(1, 1, 2, dtype=torch.bool), 2)
    as_by_scores(weights[0, 0, 0], 256 * 0.5**0.5, 257 * 0.5**0.5)


@torch.no_grad()
def test_entnet():
    core = core_of("entnet", slots=1, width=2)
    core.encoding.weight.copy_(EYE)
    core.keys.fill_(0.5)  # of which the slot is one copy and the key another
    gates = trace_of(core, torch.tensor([[[1.0, 2**-8]]]))["write_gates"]
    torch.testing.assert_close(gates[0, 0, 0], torch.tensor(1 + 2**-8).sigmoid(), rtol=1e-5, atol=1e-5)


def test_dmn():
    trace = trace_of(make_core("dmn", 2, length=3, hidden_size=4), torch.randn(5, 1, 2))
    assert trace["pass_1_weights"].dtype == torch.float32


@torch.no_grad()
def test_universal():
    """The halting probabilities are computed in full precision under autocast."""
    torch.manual_seed(0)
    core = make_core("universal", 2, threshold=1.0)
    core.halting.bias.zero_()
    logits = trace_of(core, torch.randn(20, 1, 2))["update_weights"][..., 0].logit()
    assert (logits - logits.bfloat16()).abs().max() > 1e-4
