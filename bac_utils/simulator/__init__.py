"""Simulated mammograms whose calcified arteries have a known length."""
