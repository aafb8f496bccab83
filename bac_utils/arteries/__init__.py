"""Calcified arteries in a prepared view: their outline, and their centre lines in mm."""
