"""`implicit`'s ALS by conjugate gradient (C++), a whole fit a step.

implicit_als.py PAIRS.npz DIM ITERATIONS THREADS

Its own threads are the ones that pay, so that it asks for BLAS to have one.
"""

import os
import sys
from importlib.metadata import version

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
import scipy.sparse
from implicit.als import AlternatingLeastSquares
from rounds import serve

file, dim, iterations, threads = sys.argv[1], *map(int, sys.argv[2:5])
pairs = np.load(file)
count = len(pairs["user"])
known = scipy.sparse.csr_matrix((np.ones(count, np.float32), (pairs["user"], pairs["item"])))


def step() -> None:
    """From the log to the factors."""
    model = AlternatingLeastSquares(factors=dim, iterations=iterations, num_threads=threads, use_gpu=False)
    model.fit(known, show_progress=False)


serve(step, 1, known.nnz * iterations, library="implicit", version=version("implicit"))
