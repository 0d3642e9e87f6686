"""What the windows of EntNet, RMC and Stable Hadamard Memory have in common: rows of a batch that go their own way."""

from typing import NamedTuple

import pytest
import torch

from memagents import make_core
from memagents.kernels.cpu.entnet import window as entnet
from memagents.kernels.cpu.rmc import window as rmc
from memagents.kernels.cpu.shm import window as shm
from tests.kernels.support.windows import assert_equal_unrolls, assert_same_bits, assert_weights_learn_alike, on_threads

KERNELS = {"entnet": entnet, "rmc": rmc, "shm": shm}
OPTIONS = {
    "entnet": {"slots": 5, "width": 11},
    "rmc": {"slots": 5, "width": 16, "heads": 2},
    "shm": {"width": 11, "thetas": 7, "bound": 1.0},
}
NAMES = list(KERNELS)


def make(name):
    torch.manual_seed(0)
    core = make_core(name, 4, **OPTIONS[name]).double()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return core


def window(core, steps, batch, chance_of_start=0.3):
    """Inputs, a state as in the middle of an episode, and starts."""
    inputs, state = torch.randn(steps, batch, 4, dtype=torch.float64), core.initial_state(batch)
    state = state._replace(memory=0.3 * torch.randn_like(state.memory))
    return inputs, state, torch.rand(steps, batch) < chance_of_start


class Operands(NamedTuple):
    """Operands of a window that have a row for each of the batch; those of steps are (T, B, ·)."""

    of_steps: list[torch.Tensor]
    starts: torch.Tensor
    memory: torch.Tensor

    def part(self, steps=slice(None), rows=slice(None), memory=None):
        of_steps = [tensor[steps, rows] for tensor in self.of_steps]
        return Operands(of_steps, self.starts[steps, rows], self.memory[rows] if memory is None else memory)


def operands(name, steps, batch):
    """The kernel as a function of :class:`Operands` that returns (T, B, ·) and the memory after; and such operands."""
    core = make(name)
    inputs, state, starts = window(core, steps, batch)
    with torch.no_grad():
        x = core.project(inputs)
        if name == "entnet":
            key_rows, weight, slopes = core.from_key(core.keys), core.from_memory.weight.detach(), core.memory_slopes
            others, given = (core.keys.detach(), key_rows, weight, slopes.detach()), Operands([x], starts, state.memory)
            return lambda o: entnet.entnet_window(o.of_steps[0], o.starts, *others, o.memory), given
        if name == "shm":
            given = Operands([x, torch.randint(7, (steps, batch))], starts, state.memory)
            thetas = core.thetas.detach()
            return lambda o: shm.shm_window(o.of_steps[0], o.starts, thetas, o.of_steps[1], 1.0, o.memory), given
        named = {key: operand.detach() for key, operand in core._operands(x, state).items()}
        given = Operands([named.pop("x_qkv"), named.pop("x_gates")], starts, named.pop("memory"))
        layers = [core.mlp[0], core.mlp[2]]
        perceptron = [layer.weight.detach() for layer in layers], [layer.bias.detach() for layer in layers]
        initial = core.initial_state(1).memory[0]

    def call(o):
        own = {"x_qkv": o.of_steps[0], "x_gates": o.of_steps[1], "memory": o.memory}
        after = rmc.rmc_window(*perceptron, o.starts, initial, 2, (0.0, 1.0), **named | own)
        return after, after[-1]

    return call, given


@pytest.mark.parametrize("name", NAMES)
def test_a_start_at_every_position(name, fused):
    core = make(name)
    inputs, state, _ = window(core, 7, 7)
    assert_equal_unrolls(core, inputs, state, torch.eye(7, dtype=torch.bool), tolerance=1e-12)
    assert fused


@pytest.mark.parametrize("name", NAMES)
def test_without_gradients_to_the_state(name):
    core = make(name)
    assert_weights_learn_alike(core, *window(core, 4, 3))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_the_same_in_any_batch_and_any_cut(name):
    """To the last bit, so that acting row by row and learning from windows agree."""
    call, given = operands(name, 6, 19)
    *whole, after = call(given)
    for row in (0, 17):
        *own, own_after = call(given.part(rows=slice(row, row + 1)))
        assert_same_bits([*own, own_after], [*(w[:, row : row + 1] for w in whole), after[row : row + 1]])
    memory, found = given.memory, []
    for t in range(6):  # as in acting
        *step, memory = call(given.part(steps=slice(t, t + 1), memory=memory))
        found.append(step)
    assert_same_bits([*(torch.cat(parts) for parts in zip(*found, strict=True)), memory], [*whole, after])


@pytest.mark.parametrize("name", NAMES)
def test_without_gradients_it_is_the_same(name):
    """Then room for a single step is enough."""
    call, given = operands(name, 7, 9)
    learning = call(given._replace(memory=given.memory.clone().requires_grad_()))
    assert learning[0].requires_grad
    assert_same_bits(call(given), [result.detach() for result in learning])


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_does_not_matter(name, monkeypatch):
    call, given = operands(name, 24, 40)
    module, used = KERNELS[name], []
    run = module.run
    monkeypatch.setattr(module, "run", lambda function, threads: used.append(threads) or run(function, threads))
    monkeypatch.setattr(module, "_STEP", 1)

    def learn():
        own, memory = given.of_steps[0].clone().requires_grad_(), given.memory.clone().requires_grad_()
        learned = call(Operands([own, *given.of_steps[1:]], given.starts, memory))
        learned[0].square().sum().backward()
        return [learned[0].detach(), call(given)[0], own.grad, memory.grad]

    results = on_threads(learn)
    assert set(used) == {1, 2, 3}
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


@pytest.mark.parametrize("name", NAMES)
def test_operands_need_not_be_contiguous(name):
    call, given = operands(name, 4, 5)
    strided = [torch.stack([tensor, tensor], dim=-1)[..., 0] for tensor in (*given.of_steps, given.memory)]
    assert_same_bits(call(Operands(strided[:-1], given.starts, strided[-1])), call(given))


@pytest.mark.parametrize("name", NAMES)
def test_not_a_number_stays_in_its_row_and_ends_at_a_start(name):
    call, given = operands(name, 4, 9)
    given.starts[:] = False
    clean, memory = call(given), given.memory.clone()
    memory[5] = torch.nan
    given.starts[2, 5] = True
    found, others = call(given._replace(memory=memory)), [0, 1, 2, 3, 4, 6, 7, 8]
    assert found[0][:2, 5].isnan().any() and found[0][2:].isfinite().all()
    assert_same_bits([found[0][:, others], found[-1][others]], [clean[0][:, others], clean[-1][others]])


@pytest.mark.parametrize("name", NAMES)
def test_backward_twice_through_one_window_but_not_differentiable_twice(name):
    call, given = operands(name, 3, 5)
    memory = given.memory.clone().requires_grad_()
    result = call(given._replace(memory=memory))[0]
    first, second = (torch.autograd.grad(result.square().sum(), memory, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    (gradient,) = torch.autograd.grad(result.square().sum(), memory, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        gradient.sum().backward()


@pytest.mark.parametrize("name", NAMES)
def test_what_goes_through_the_plain_loop(name, fused):
    core = make(name).float()
    inputs, state, starts = torch.randn(2, 3, 4), core.initial_state(3), torch.zeros(2, 3, dtype=torch.bool)
    assert core.unroll(inputs, state, starts, trace=True).trace
    with torch.autocast("cpu", torch.bfloat16):
        assert core.unroll(inputs, state, starts).state.memory.dtype == torch.float32
    assert not fused
