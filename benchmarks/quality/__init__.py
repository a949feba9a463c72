"""Compare the quality of optimizers; ``python -m benchmarks.quality``."""

import os

# Set before NumPy is imported: each contestant uses one thread.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")
