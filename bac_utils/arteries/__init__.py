"""Calcified arteries on a prepared view: their outline, and their centre lines in mm."""
