"""Writing to the least used slots: Santoro et al. 2016."""

import torch

from memagents.memory.least_used import least_used, update_usage, write, write_weighting


def test_of_slots_used_alike_the_first_are_the_least_used():
    usage = torch.tensor([[2.0, 1.0, 1.0, 0.5, 1.0]])
    assert least_used(usage, 1).tolist() == [[3]]
    assert least_used(usage, 3).tolist() == [[3, 1, 2]]
    assert least_used(torch.zeros(1, 50), 1).tolist() == [[0]]
    assert least_used(torch.zeros(1, 50), 50).tolist() == [list(range(50))]


def test_least_used_passes_no_gradient():
    usage = torch.rand(2, 4, requires_grad=True)
    assert not least_used(usage, 2).requires_grad
    assert update_usage(usage, torch.rand(2, 1, 4), torch.rand(2, 1, 4), 0.5).requires_grad


def test_usage_fades_and_counts_reads_and_writes_of_all_heads():
    reads, writes = torch.tensor([[[0.5, 0.0], [0.25, 0.75]]]), torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    assert update_usage(torch.tensor([[1.0, 2.0]]), reads, writes, 0.5).tolist() == [[1.25, 2.75]]


def test_a_write_empties_the_least_used_slots_and_adds():
    memory, least = torch.arange(1.0, 7).view(1, 3, 2), torch.tensor([[1]])
    weights = write_weighting(torch.tensor([[[1.0, 0.0, 0.0]]]), least, torch.tensor([[[0.25]]]))
    assert weights.tolist() == [[[0.25, 0.75, 0.0]]]
    written = write(memory, weights, torch.tensor([[[4.0, 8.0]]]), least)
    assert written.tolist() == [[[2.0, 4.0], [3.0, 6.0], [5.0, 6.0]]]
