"""The family tree: relations in a graph that is described once (Graves et al. 2016)."""

from memenvs.graph.family.family_tree import BatchedFamilyTree, FamilyTree

__all__ = ["BatchedFamilyTree", "FamilyTree"]
