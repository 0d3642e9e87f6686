"""The error of a definition."""

from __future__ import annotations


class DefinitionError(TypeError, ValueError):
    """A mistake in the definition of an environment, in one line: a function that is missing, wrong or not compilable.

    It is a ``TypeError`` as well as a ``ValueError``, so that whoever shows the ValueErrors of wrong parameters in one
    line shows this one likewise.
    """
