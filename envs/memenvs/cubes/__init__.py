"""Cubes that are shown, hidden and moved: what is remembered of where they are has to be kept up to date."""
