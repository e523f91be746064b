"""Makes pooling.safetensors: what PyTorch computes, for pooling_test.cpp to compare with.

    python3 make_pooling_vectors.py      (packages: torch 2.11.0, safetensors; any recent version gives the same numbers)

Inputs are float32 numbers; everything is computed in float64 and rounded to float32 once, at the end. Images are stored
in the order [image][row][column][channel].
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261121)
tensors = {}


def inputs(*shape):
    """Uniform float32 numbers as float64, ready to be differentiated with respect to."""
    return torch.empty(shape, dtype=torch.float32).uniform_(-2, 2).double().requires_grad_()


def keep(name, value):
    tensors[name] = value.detach().float().permute(0, 2, 3, 1).contiguous()


x = inputs(2, 3, 8, 6)
keep("x", x)

# The settings stand in pooling_test.cpp as well. Pairs are (rows, columns).
cases = {
    "max": lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1)),
    "max_dilated": lambda x: F.max_pool2d(x, (2, 2), (1, 2), 0, (2, 3)),
    "average_with_padding": lambda x: F.avg_pool2d(x, (3, 4), (2, 3), (1, 2), count_include_pad=True),
    "average_without_padding": lambda x: F.avg_pool2d(x, (3, 4), (2, 3), (1, 2), count_include_pad=False),
    "average_global": lambda x: F.adaptive_avg_pool2d(x, (1, 1)),
    "average_adaptive": lambda x: F.adaptive_avg_pool2d(x, (4, 2)),
    "max_adaptive": lambda x: F.adaptive_max_pool2d(x, (4, 2)),
    "l2": lambda x: F.lp_pool2d(x, 2, (3, 2), (2, 1)),
    "nearest": lambda x: F.interpolate(x, scale_factor=(1, 3), mode="nearest"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=(3, 2), mode="bilinear", align_corners=False),
    "bilinear_aligned": lambda x: F.interpolate(x, scale_factor=(3, 2), mode="bilinear", align_corners=True),
}
for name, f in cases.items():
    y = f(x)
    dy = inputs(*y.shape)
    x.grad = None
    y.backward(dy)
    keep(f"{name}.y", y)
    keep(f"{name}.dy", dy)
    keep(f"{name}.dx", x.grad)

save_file(tensors, pathlib.Path(__file__).parent / "pooling.safetensors")
