"""Detect and quantify breast arterial calcifications on mammograms from image-level labels.

Importing the package is fast: each module imports only the libraries that it needs, including TensorFlow.
"""

import os

__version__ = "0.1.0"

# The kit's networks run on TensorFlow, whichever backend the user's Keras is set to. The bundled weights can also be
# trained with another one (see weights/README.md).
os.environ["KERAS_BACKEND"] = os.environ.get("BAC_UTILS_PRETRAIN_BACKEND", "tensorflow")

# TensorFlow leaves oneDNN off on processors without AVX-512; with it, networks run two to three times as fast there.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# glibc returns freed memory to the system at once and requests it again page by page, which takes a sixth of the
# rendering time. Both variables are read when a process starts, so they apply to the kernels and workers of this one.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(256 * 2**20))
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
