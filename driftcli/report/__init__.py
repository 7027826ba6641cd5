"""Figures and the page, of what they are given."""
