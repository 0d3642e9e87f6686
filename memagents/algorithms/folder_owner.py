"""Whose training a folder holds, so that no agent writes over another's."""

from __future__ import annotations

from pathlib import Path

from memagents.runs.layout import holds_agent, holds_training


class FolderOwner:
    """Agent that knows the folders in which its own files may be replaced."""

    _own_folders: frozenset[Path] = frozenset()  # that it has trained in, or was loaded from

    def claim(self, folder: Path) -> None:
        """Take a folder for one in which this agent's files may be replaced."""
        self._own_folders |= {folder.resolve()}

    def train_in(self, folder: Path) -> None:
        """Make a folder this agent's own.

        :raises ValueError: if there is another agent in it
        """
        if holds_agent(folder):
            self._check_own(folder, "run_dir")
        self.claim(folder)

    def check_training(self, folder: Path) -> None:
        """:raises ValueError: if another agent was trained in a folder, whose settings and log lie there"""
        if holds_training(folder):
            self._check_own(folder, "path")

    def _check_own(self, folder: Path, argument: str) -> None:
        """:raises ValueError: if this agent did not train in a folder or one around it, nor was loaded from it"""
        place = folder.resolve()
        if self._own_folders.isdisjoint((place, *place.parents)):
            raise ValueError(
                f"{argument} {folder} holds another agent's training: choose another folder, or remove it; "
                f"{type(self).__name__}.resume({str(folder)!r}, env) goes on with that training"
            )
