"""Spoiled inputs for every reader of what others made: test support, and a test of some hundred of them."""
