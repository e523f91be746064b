"""Prints safetensors_vectors.hpp: a file as the Python package writes it.

    python3 safetensors_vectors.py > safetensors_vectors.hpp      (packages: numpy, safetensors 0.8.0)
"""
import numpy
import safetensors
from safetensors.numpy import save

content = save(
    {
        "weights": numpy.array([[1.5, -2.0, 0.25], [1e-30, 3e38, -0.0]], dtype=numpy.float32),
        "half": numpy.array([1.0, -2.5, 65504.0, 6e-8, float("inf")], dtype=numpy.float16),
        "scalar": numpy.array(7, dtype=numpy.int64),
        "empty": numpy.zeros((0, 3), dtype=numpy.float32),
        "bytes": numpy.array([0, 127, 255], dtype=numpy.uint8),
        "double": numpy.array([0.1], dtype=numpy.float64),
    },
    metadata={"author": "Grüße \"quoted\"", "empty": ""},
)

print("#pragma once\n")
print(f"// Made by safetensors_vectors.py with safetensors {safetensors.__version__}, numpy {numpy.__version__}.\n")
print("namespace metalloid::testing {\n")
print("inline constexpr unsigned char kPythonSafetensors[] = {")
for i in range(0, len(content), 20):
    print("    " + ", ".join(f"{b}" for b in content[i : i + 20]) + ",")
print("};\n")
print("}  // namespace metalloid::testing")
