"""Detect and quantify breast arterial calcifications on mammograms from image-level labels.

Importing the package loads nothing heavy: each module brings its own libraries, TensorFlow among them.
"""

__version__ = "0.1.0"
