"""The sparse memories, SAM and SDNC, over a window on the CPU."""
