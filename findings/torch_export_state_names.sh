#!/usr/bin/env bash
# torch 2.13.0: an exported program whose state has a field that begins with another field's name cannot be loaded.
#
# A recurrent module takes its state as a NamedTuple, and its batch is to be dynamic. A good engineer expects that the names
# of the fields do not matter. Seen instead, for one step with a state of two tensors:
#   fields "slots" and "strengths"       exported; its module runs
#   fields "slots" and "slots_strength"  exported; making its module raises a SyntaxError, in code that torch generates for
#                                        the guards of the input shapes
# torch.export.export itself succeeds both times. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from collections import namedtuple

import torch


class Step(torch.nn.Module):
    def forward(self, x, state):
        return x + state[0] * state[1]


def ran(*fields):
    State = namedtuple("State", fields)
    free = {0: torch.export.Dim.DYNAMIC}
    x, state = torch.ones(3, 2), State(torch.ones(3, 2), torch.ones(3, 2))
    exported = torch.export.export(Step(), (x, state), dynamic_shapes=(free, State(free, free)), strict=False)
    try:
        exported.module()(x, state)
    except SyntaxError as error:
        return f"SyntaxError: {error.msg}"
    return "runs"


different, alike = ran("slots", "strengths"), ran("slots", "slots_strength")
print("slots, strengths:     ", different)
print("slots, slots_strength:", alike)
assert different == "runs", different
assert alike.startswith("SyntaxError"), alike
PYTHON
echo "as described"
