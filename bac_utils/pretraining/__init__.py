"""Making the bundled weights from simulated views."""
