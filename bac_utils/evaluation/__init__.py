"""External evaluation: calibration, comparison of models, decision curves, subgroups, shift, sample size and readers.

What each number means is in `docs/evaluation.md`.
"""
