"""Simulated mammograms with calcified arteries of known length."""
