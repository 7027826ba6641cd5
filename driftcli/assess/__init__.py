"""Scores of a motion, and the verdict on it."""
