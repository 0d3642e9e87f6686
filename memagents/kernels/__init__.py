"""Fused forward and backward of hot cores; each names the plain-torch function that it must equal."""
