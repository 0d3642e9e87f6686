"""LSTM and GRU over a window on a GPU."""
