"""Estimate motion from the peaks: one file a method, and the parts they share."""
