"""Weights that need an inverse have the same bits whatever the number of threads of linear algebra libraries."""

import os
import subprocess
import sys

import pytest

PRINT_DIGEST = """
import hashlib, numpy as np, sys
from importlib import import_module
module = import_module("driftcli.interpolate." + sys.argv[1])
i = np.arange(200)
positions = np.column_stack([6 * (i % 8), 6 * (i // 8)]).astype(float)
parameters = module.Parameters(**({"p": 2} if sys.argv[1] == "kriging" else {}))
print(hashlib.md5(module.Kernel(parameters, positions).weights(np.full(200, 3.3)).tobytes()).hexdigest())
"""


@pytest.mark.parametrize("method", ["kriging", "gaussian_process"])
def test_same_bits_for_any_number_of_library_threads(method):
    digests = []
    for threads in ("1", "2"):
        environment = os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        run = subprocess.run(
            [sys.executable, "-c", PRINT_DIGEST, method], env=environment, capture_output=True, text=True, check=True
        )
        digests.append(run.stdout.strip())
    assert len(digests[0]) == 32
    assert digests[0] == digests[1]
