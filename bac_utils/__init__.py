"""Detect and quantify breast arterial calcifications on mammograms from image-level labels.

Importing the package loads nothing heavy: each module brings its own libraries, TensorFlow among them.
"""

import os

__version__ = "0.1.0"

# TensorFlow leaves oneDNN off on processors without AVX-512; with it the network runs two to three times as fast there.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# glibc returns freed memory to the system at once, and gets it back page by page: a sixth of the time of rendering.
# Both are read when a process starts, so they hold for the kernels and workers that this one starts.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(256 * 2**20))
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
