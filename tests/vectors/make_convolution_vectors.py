"""Makes convolution.safetensors: what PyTorch computes, for convolution_test.cpp to compare with.

    python3 make_convolution_vectors.py      (packages: torch 2.11.0, safetensors; any recent version gives the same)

Inputs are float32 numbers; everything is computed in float64 and rounded to float32 once, at the end. Images are stored
[image][row][column][channel], weights [output channel][row][column][input channel of the group].
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261121)
tensors = {}


def inputs(*shape):
    """Uniform float32 numbers as float64, ready to be differentiated with respect to."""
    return torch.empty(shape, dtype=torch.float32).uniform_(-1, 1).double().requires_grad_()


def keep(name, parameters, **values):
    tensors[f"{name}.parameters"] = torch.tensor(parameters, dtype=torch.float32)
    for key, value in values.items():
        if value.dim() == 4:  # channels last
            value = value.permute(0, 2, 3, 1)
        tensors[f"{name}.{key}"] = value.detach().float().contiguous()


# name: input channels, output channels, kernel (x, y), stride, padding, dilation, groups, image (x, y)
convolutions = {
    "plain": (3, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1, (7, 6)),
    "stride": (2, 3, (3, 2), (2, 3), (1, 0), (1, 1), 1, (8, 7)),
    "dilation": (2, 3, (3, 3), (1, 2), (2, 1), (2, 3), 1, (8, 9)),
    "groups": (8, 12, (3, 1), (2, 1), (0, 0), (1, 1), 4, (7, 3)),
    "depthwise": (5, 5, (3, 3), (1, 1), (1, 1), (1, 1), 5, (6, 5)),
    "pointwise": (9, 7, (1, 1), (1, 1), (0, 0), (1, 1), 1, (5, 4)),
}
for name, (channels, outputs, k, s, p, d, groups, size) in convolutions.items():
    x, w, b = inputs(2, channels, size[1], size[0]), inputs(outputs, channels // groups, k[1], k[0]), inputs(outputs)
    y = F.conv2d(x, w, b, stride=s[::-1], padding=p[::-1], dilation=d[::-1], groups=groups)
    dy = inputs(*y.shape)
    y.backward(dy)
    keep(f"convolution.{name}", [*k, *s, *p, *d, groups], x=x, w=w, b=b, dy=dy, y=y, dx=x.grad, dw=w.grad, db=b.grad)

# PyTorch's transposed weights are [input channel][output channel of the group][row][column] and stand for the adjoint:
# stored here turned by 180 degrees, and by output channel.
transposes = {
    "plain": (3, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1, (5, 4)),
    "stride": (2, 3, (3, 2), (2, 3), (1, 0), (1, 1), 1, (4, 3)),
    "dilation": (2, 2, (2, 3), (2, 1), (0, 1), (3, 2), 1, (4, 4)),
    "groups": (4, 6, (3, 3), (2, 2), (1, 1), (1, 1), 2, (3, 4)),
}
for name, (channels, outputs, k, s, p, d, groups, size) in transposes.items():
    x, w, b = inputs(2, channels, size[1], size[0]), inputs(channels, outputs // groups, k[1], k[0]), inputs(outputs)
    y = F.conv_transpose2d(x, w, b, stride=s[::-1], padding=p[::-1], dilation=d[::-1], groups=groups)
    dy = inputs(*y.shape)
    y.backward(dy)

    def turned(weights):
        per_group = weights.flip(2, 3).reshape(groups, channels // groups, outputs // groups, k[1], k[0])
        return per_group.transpose(1, 2).reshape(outputs, channels // groups, k[1], k[0])

    keep(f"transpose.{name}", [*k, *s, *p, *d, groups], x=x, w=turned(w), b=b, dy=dy, y=y, dx=x.grad,
         dw=turned(w.grad), db=b.grad)

save_file(tensors, pathlib.Path(__file__).with_name("convolution.safetensors"))
