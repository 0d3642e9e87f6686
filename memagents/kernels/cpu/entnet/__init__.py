"""The Recurrent Entity Network over a window on the CPU."""
