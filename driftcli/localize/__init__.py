"""Where on the probe each peak comes from: one file per method, what they share in `waveforms.py`."""
