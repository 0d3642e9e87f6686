"""Whether a program may look at numbers to choose its way."""

from __future__ import annotations

import torch
from torch import Tensor


def may_look(tensor: Tensor) -> bool:
    """Return whether the numbers of a tensor may be looked at.

    On an accelerator they would have to be waited for. While a step is exported as a graph there are none yet, and the
    graph has to take the way that is right for all.
    """
    return tensor.device.type == "cpu" and not torch.compiler.is_exporting()
