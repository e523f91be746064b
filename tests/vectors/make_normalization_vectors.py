"""Makes normalization.safetensors: what PyTorch computes, for normalization_test.cpp to compare with.

    python3 make_normalization_vectors.py      (packages: torch 2.11.0, safetensors; any recent version will do)

Inputs are float32 numbers; everything is computed in float64 and rounded to float32 once, at the end. Images are stored
as [image][row][column][channel].
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261121)
tensors = {}
EPSILON = 0.0009765625
N, C, H, W, GROUPS = 3, 6, 4, 5, 2


def inputs(*shape, low=-2.0, high=2.0):
    """Uniform float32 numbers as float64, ready to be differentiated with respect to."""
    values = torch.empty(shape, dtype=torch.float32).uniform_(low, high)
    return values.double().requires_grad_()


def keep(name, **values):
    for key, value in values.items():
        value = value.detach()
        if value.dim() == 4:
            value = value.permute(0, 2, 3, 1)
        tensors[f"{name}.{key}"] = value.float().contiguous()


def check(name, function, **more):
    x, gamma, beta, dy = inputs(N, C, H, W), inputs(C), inputs(C), inputs(N, C, H, W)
    y = function(x, gamma, beta)
    y.backward(dy)
    keep(name, x=x, gamma=gamma, beta=beta, dy=dy, y=y, dx=x.grad, dgamma=gamma.grad, dbeta=beta.grad, **more)
    return x


neurons = {"none": lambda z: z, "reLU": F.relu, "sigmoid": torch.sigmoid}
for name, neuron in neurons.items():
    x = check(f"batch.{name}",
              lambda x, gamma, beta: neuron(F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)))
    keep(f"batch.{name}", mean=x.mean((0, 2, 3)), variance=x.var((0, 2, 3), unbiased=False))

mean, variance = inputs(C, low=-0.5, high=0.5).detach(), inputs(C, low=0.5, high=1.5).detach()
check("fixed.reLU",
      lambda x, gamma, beta: F.relu(F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=EPSILON)),
      mean=mean, variance=variance)
check("instance", lambda x, gamma, beta: F.instance_norm(x, weight=gamma, bias=beta, eps=EPSILON))
check("group", lambda x, gamma, beta: F.group_norm(x, GROUPS, gamma, beta, eps=EPSILON))

save_file(tensors, pathlib.Path(__file__).with_name("normalization.safetensors"),
          metadata={"torch": torch.__version__, "seed": "20261121"})
