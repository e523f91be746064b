"""Makes local_normalization.safetensors: what PyTorch computes, for local_normalization_test.cpp to compare with.

    python3 make_local_normalization_vectors.py      (packages: torch, safetensors; as for make_vectors.py)

Inputs are float32 numbers; everything is computed in float64 and rounded to float32 once, at the end. Images are stored
as [n, height, width, channels].
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261121)
tensors = {}


def inputs(*shape):
    return torch.empty(shape, dtype=torch.float32).uniform_(-2, 2).double().requires_grad_()


def keep(name, **values):
    for key, value in values.items():
        value = value.detach().float()
        tensors[f"{name}.{key}"] = (value.permute(0, 2, 3, 1) if value.dim() == 4 else value).contiguous()


def compare(name, function, parameters, channels=3):
    x, dy = inputs(2, channels, 5, 6), inputs(2, channels, 5, 6)
    y = function(x)
    y.backward(dy)
    keep(name, x=x, dy=dy, y=y, dx=x.grad, parameters=torch.tensor(parameters))


# size, alpha, beta, k are our kernelSize, alpha, beta, delta: both divide alpha by the whole size. For even sizes the
# window has one channel more below in both.
for size, alpha, beta, k in [(5, 1, 0.75, 2), (4, 0.5, 1.25, 1), (1, 2, 0.5, 1), (3, 1, 5, 1)]:
    compare(f"cross_channel.{size}", lambda x: F.local_response_norm(x, size, alpha, beta, k), [size, alpha, beta, k],
            channels=7)


def window_mean(x, size):
    """Zeros outside count; even windows have one pixel more on the left and on top."""
    before, after = size // 2, (size - 1) // 2
    return F.avg_pool2d(F.pad(x, (before, after, before, after)), size, stride=1)


for size, alpha, beta, delta in [(3, 1, 0.75, 2), (4, 0.5, 1.25, 1)]:
    compare(f"spatial.{size}", lambda x: x * (delta + alpha * window_mean(x * x, size)) ** -beta,
            [size, alpha, beta, delta])


def contrast(x, size, alpha, beta, delta, p0, pm, ps):
    mean = window_mean(x, size)
    variance = window_mean(x * x, size) - mean * mean
    return pm + ps * (x - p0 * mean) * (delta + alpha * variance) ** -beta


for parameters in [(3, 1, 0.5, 0.5, 1, 0, 1), (4, 0.75, 1.25, 1, 0.5, 0.25, 1.5)]:
    compare(f"contrast.{parameters[0]}", lambda x: contrast(x, *parameters), parameters)

save_file(tensors, pathlib.Path(__file__).with_name("local_normalization.safetensors"),
          metadata={"made_by": f"make_local_normalization_vectors.py with PyTorch {torch.__version__.split('+')[0]}"})
