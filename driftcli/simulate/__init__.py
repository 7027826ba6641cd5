"""Recordings that drift in a known way, made in seconds: to try driftcli on, and to measure it by."""
