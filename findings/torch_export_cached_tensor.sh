#!/usr/bin/env bash
# torch 2.13.0: after an export, a module that keeps a table in a cache gives fake tensors in ordinary calls.
#
# A module makes a table of positions once for each length and keeps it with functools.cache, as many do. A good engineer
# expects that torch.export.export looks at the module and leaves it as it was. Seen instead:
#   the module is called, exported, called  a tensor of numbers both times
#   it is exported, then called             a FakeTensor, without numbers: the table was made while tracing, and stays
# The export itself succeeds without a warning. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W error - <<'PYTHON'
import functools

import torch


def module():
    @functools.cache
    def positions(length):
        return torch.arange(length, dtype=torch.float32)

    class Window(torch.nn.Module):
        def forward(self, x):
            return x + positions(x.shape[0])

    return Window()


def after(called_before):
    window, x = module(), torch.ones(3)
    if called_before:
        window(x)
    torch.export.export(window, (x,), strict=False)
    return type(window(x)).__name__


called, fresh = after(True), after(False)
print("called, exported, called:", called)
print("exported, called:        ", fresh)
assert (called, fresh) == ("Tensor", "FakeTensor"), (called, fresh)
PYTHON
echo "as described"
