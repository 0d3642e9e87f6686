"""The Relational Memory Core over a window on the CPU."""
