"""RLlib's learners, which also learn what a memory asks for: ponder costs, penalties on writes, recalled observations.

RLlib's own losses know nothing of them, so that a module's are added here.
"""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.appo.torch.appo_torch_learner import APPOTorchLearner
from ray.rllib.algorithms.impala.torch.impala_torch_learner import IMPALATorchLearner
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from torch import Tensor

from memagents.rllib.module import CORE_LOSSES


class CoreLosses:
    """Put before a learner of RLlib, add the mean of the memory's own losses to its loss."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """Return the loss of the algorithm and of the memory."""
        loss = super().compute_loss_for_module(  # type: ignore[misc]
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        own = fwd_out.get(CORE_LOSSES)
        if own is None:
            return loss
        mask = batch.get(Columns.LOSS_MASK)
        mean = own.mean() if mask is None else own[mask].mean()
        self.metrics.log_value((module_id, CORE_LOSSES), mean.detach(), window=1)  # type: ignore[attr-defined]
        return loss + mean


class PPOLearner(CoreLosses, PPOTorchLearner):
    """PPO's."""


class APPOLearner(CoreLosses, APPOTorchLearner):
    """APPO's."""


class IMPALALearner(CoreLosses, IMPALATorchLearner):
    """IMPALA's."""


LEARNERS: dict[type, type] = {
    PPOTorchLearner: PPOLearner,
    APPOTorchLearner: APPOLearner,
    IMPALATorchLearner: IMPALALearner,
}
"""What takes the place of each of RLlib's."""
