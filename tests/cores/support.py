"""Sizes and weights shared by the tests of cores."""

import torch

from memagents import make_core

# Three slots for the DNC: of more, some are alike to the last bit after a start, and it is rounding that decides which
# of them is written next. The state is then the same but for the order of its slots, and the outputs are the same.
SMALL = {
    "none": {"hidden_size": 5},
    "gru": {"hidden_size": 5},
    "lstm": {"hidden_size": 5},
    "dnc": {"slots": 3, "width": 4, "read_heads": 2, "controller_size": 5, "ready_to_record": False},
    "rmc": {"slots": 3, "width": 4, "heads": 2},
    "ntm": {"slots": 4, "width": 3, "read_heads": 2, "controller_size": 5},
    "sam": {"slots": 6, "width": 4, "read_heads": 2, "reads": 3, "controller_size": 5, "ready_to_record": False},
    "sdnc": {"slots": 6, "width": 4, "read_heads": 2, "reads": 2, "links": 3, "controller_size": 5},
    "memn2n": {"length": 4, "hidden_size": 5, "hops": 2},
    "kv": {"length": 4, "hidden_size": 5, "hops": 2, "condition_size": 1},
    "dmn": {"length": 4, "hidden_size": 5, "passes": 2},
    "entnet": {"slots": 3, "width": 5},
    "hopfield": {"length": 4, "width": 6, "heads": 2, "updates": 2},
    "gtrxl": {"length": 3, "layers": 2, "width": 6, "heads": 2, "feedforward": 5},
    "compressive": {"length": 2, "compressed": 2, "rate": 2, "layers": 2, "width": 4, "heads": 2},
    "universal": {"length": 3, "max_depth": 3, "width": 4, "heads": 2},
    "ffm": {"memory_size": 3, "context_size": 2, "output_size": 5, "horizon": 20},
    "shm": {"width": 3, "thetas": 5, "encoding_size": 6},
    "mingru": {"hidden_size": 5},
    "lru": {"width": 5, "state_size": 3, "layers": 2},
    "s5": {"width": 5, "state_size": 3, "layers": 2},
    "lmu": {"hidden_size": 5, "order": 3, "theta": 4.0, "signals": 2},
    "gcm": {"length": 3, "width": 5},
    "deltanet": {"width": 5, "heads": 2, "key_size": 3, "value_size": 2, "layers": 2, "chunk": 3},
    "mamba2": {"width": 5, "heads": 2, "head_size": 3, "state_size": 2, "layers": 2, "chunk": 3},
    "mlstm": {"width": 5, "heads": 2, "head_size": 4, "layers": 2, "chunk": 3},
    "mann": {"slots": 3, "width": 4, "heads": 2, "controller_size": 5},
    "epn": {"length": 3, "width": 4, "heads": 2, "output_size": 12},
    "hcam": {"chunks": 2, "chunk_size": 2, "top_k": 2, "width": 4, "feedforward": 5, "stop_gradient": False},
    "aler": {"slots": 3, "width": 4, "hidden_size": 5},
    "stack": {"cores": ["gru", "lstm"], "periods": [1, 3], "cores_kwargs": {"hidden_size": 3}},
}
DISTRIBUTIONS = {
    "rmc": ["block_1_weights"],
    "ntm": ["read_weights", "write_weights", "shift_weights"],
    "memn2n": ["hop_1_weights", "hop_2_weights"],
    "dmn": ["pass_1_weights", "pass_2_weights"],
    "entnet": ["read_weights"],
    "hopfield": ["retrieval_weights"],
    "gtrxl": ["layer_1_weights", "layer_2_weights"],
    "compressive": ["layer_1_weights", "layer_2_weights"],
    "universal": ["update_weights"],
    "mann": ["read_weights"],
    "epn": ["iteration_1_weights", "iteration_2_weights", "maximum_weights"],
    "hcam": ["recent_weights"],
    "aler": ["read_weights", "write_weights"],
}
# Left out of the check of this name, since finite differences see what their gradients are not meant to.
STOPPED_GRADIENTS = {
    "compressive",  # before and behind its convolutions
    "sdnc",  # at its links
    "aler",  # straight-through at its addresses, which finite differences do not see
}


def perturbed(name, size, dtype=torch.float64, noise=0.3, **kwargs):
    """A core whose weights are all away from where they begin."""
    torch.manual_seed(0)
    core = make_core(name, size, **kwargs).to(dtype)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return core


def random_inputs(steps, rows, size, dtype=torch.float64):
    """The same numbers in any precision, (T, B, I)."""
    return torch.randn(steps, rows, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


# --- weights of Transformers, as their reference takes them -----------------------------------------------------------


def arrays(**tensors):
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def attention_weights(attention):
    return arrays(
        W_q=attention.queries.weight,
        W_kE=attention.keys.weight,
        W_v=attention.values.weight,
        W_kR=attention.ages.weight,
        W_o=attention.output.weight,
        u=attention.content_bias,
        v=attention.position_bias,
    )


def perceptron_weights(mlp):
    return arrays(W_1=mlp[0].weight, b_1=mlp[0].bias, W_2=mlp[2].weight, b_2=mlp[2].bias)


def norm_weights(norm):
    return tuple(arrays(scale=norm.weight, shift=norm.bias).values())
