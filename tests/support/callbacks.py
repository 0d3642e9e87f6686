"""Callbacks."""

from stable_baselines3.common.callbacks import BaseCallback


class StopAfter(BaseCallback):
    """Asks for the end of a training after so many windows."""

    def __init__(self, windows):
        super().__init__()
        self.windows = windows

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.windows -= 1
        if not self.windows:
            self.model.stop()
