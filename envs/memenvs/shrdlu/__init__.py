"""The block puzzle of Graves et al. (2016)."""
