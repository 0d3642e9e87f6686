"""The passes of a Dynamic Memory Network over facts, on the CPU."""
