"""Recordings: opened read-only, handed out in windows, converted to traces and back, and written."""
