"""Finding peaks in preprocessed traces: one file per method, what they share in `extrema.py`."""
