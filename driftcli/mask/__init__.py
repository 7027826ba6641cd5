"""Spans of time that the motion estimate leaves out: found in the signal, or named by the user."""
