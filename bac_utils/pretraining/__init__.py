"""Training of the bundled weights on simulated views."""
