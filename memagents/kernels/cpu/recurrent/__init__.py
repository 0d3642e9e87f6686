"""LSTM and GRU over a window on the CPU."""
