"""Matrix products in NumPy: the OpenBLAS that comes with it, one more contender for the fastest plain product."""

import numpy as np


def name():
    return f"NumPy {np.__version__}"


def set_up(device, threads):
    pass  # OPENBLAS_NUM_THREADS; there is no device but the CPU


def make_flush():
    source, destination = np.zeros(1 << 26, np.float32), np.empty(1 << 26, np.float32)
    return lambda: np.copyto(destination, source)


def make(operation, sizes, words, t):
    """Variants of a problem by name; nothing for an operation that is not compared."""
    if operation not in ("fully_connected", "fully_connected_gradient"):
        return {}
    n, inputs, outputs = sizes
    generator = np.random.default_rng(1)
    shapes = {"x": (n, inputs), "w": (inputs, outputs), "dy": (n, outputs)}
    x, w, dy = (t[k] if t and k in t else generator.standard_normal(s, dtype=np.float32) for k, s in shapes.items())
    y, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)
    if operation == "fully_connected":
        return {"plain product": lambda: {"y without bias": np.matmul(x, w, out=y)}}
    return {"plain product": lambda: {"dx": np.matmul(dy, w.T, out=dx), "dw": np.matmul(x.T, dy, out=dw)}}


def wait(results):
    pass


def to_numpy(value):
    return value
