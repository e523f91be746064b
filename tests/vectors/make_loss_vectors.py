"""Makes loss.safetensors: what PyTorch computes, for loss_test.cpp to compare with.

    python3 make_loss_vectors.py      (packages: torch 2.11.0, safetensors; any recent version gives the same numbers)

Inputs are float32 numbers; everything is computed in float64 and rounded to float32 once, at the end. Images are
[y][x][channel]; losses are those of every element, which reductions are made of, and gradients those of their sum.
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261121)
tensors = {}
SHAPE = (3, 4, 5)


def uniform(low, high):
    """Uniform float32 numbers as float64, ready to be differentiated with respect to."""
    return torch.empty(SHAPE, dtype=torch.float32).uniform_(low, high).double().requires_grad_()


def keep(name, **values):
    for key, value in values.items():
        tensors[f"{name}.{key}"] = value.detach().float().contiguous()


def losses(name, y, t, elements, labels=True):
    """`elements(y, t)` gives the loss of every element."""
    loss = elements(y, t)
    loss.sum().backward()
    keep(name, y=y, t=t, loss=loss, dy=y.grad)
    if labels:
        keep(name, dt=t.grad)


def binary():
    return torch.randint(0, 2, SHAPE).double()


def distribution():
    """Numbers that sum up to 1 over the channels, rounded to float32."""
    return torch.softmax(uniform(-2, 2).detach(), -1).float().double().requires_grad_()


losses("meanAbsoluteError", uniform(-3, 3), uniform(-3, 3), lambda y, t: (y - t).abs())
losses("meanSquaredError", uniform(-3, 3), uniform(-3, 3), lambda y, t: F.mse_loss(y, t, reduction="none"))
# Of whole pixels: PyTorch has one loss for each, the sum over the channels.
losses("softMaxCrossEntropy", uniform(-6, 6), distribution(), lambda y, t: F.cross_entropy(
    y.reshape(-1, SHAPE[2]), t.reshape(-1, SHAPE[2]), reduction="none"))
losses("softMaxCrossEntropySmoothed", uniform(-6, 6), distribution(), lambda y, t: F.cross_entropy(
    y.reshape(-1, SHAPE[2]), t.reshape(-1, SHAPE[2]), reduction="none", label_smoothing=0.125))
losses("sigmoidCrossEntropy", uniform(-12, 12), uniform(0, 1),
       lambda y, t: F.binary_cross_entropy_with_logits(y, t, reduction="none"))
losses("categoricalCrossEntropy", uniform(0.05, 1), uniform(0, 1), lambda y, t: -t * torch.log(y))
# PyTorch's margin losses take pairs or classes: only the derivative is its own here.
losses("hinge", uniform(-3, 3), binary(), lambda y, t: torch.clamp(1 - (2 * t - 1) * y, min=0), labels=False)
losses("huber", uniform(-3, 3), uniform(-3, 3), lambda y, t: F.huber_loss(y, t, reduction="none", delta=0.75))
losses("cosineDistance", uniform(-1, 1), uniform(-1, 1), lambda y, t: 1 - (y * t).sum().reshape(1))
losses("log", uniform(0.05, 0.95), uniform(0, 1), lambda y, t: F.binary_cross_entropy(y, t, reduction="none"))
losses("kullbackLeiblerDivergence", uniform(-6, -0.05), uniform(0.05, 1),
       lambda y, t: F.kl_div(y, t, reduction="none"))

for name, function in {"softMax": torch.softmax, "logSoftMax": torch.log_softmax}.items():
    x, g = uniform(-8, 8), uniform(-1, 1).detach()
    y = function(x, -1)
    y.backward(g)
    keep(name, x=x, g=g, y=y, dx=x.grad)

save_file(tensors, pathlib.Path(__file__).parent / "loss.safetensors")
