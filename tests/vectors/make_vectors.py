"""Makes pytorch.safetensors: what PyTorch computes, for pytorch_test.cpp to compare with.

    python3 make_vectors.py      (packages: torch 2.11.0, safetensors; any recent version gives the same numbers)

Inputs are float32 numbers; everything is computed in float64 and rounded to float32 once, at the end.
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20240607)
tensors = {}


def inputs(*shape, low=-2.0, high=2.0):
    """Uniform float32 numbers as float64, ready to be differentiated with respect to."""
    values = torch.empty(shape, dtype=torch.float32).uniform_(low, high)
    return values.double().requires_grad_()


def keep(name, **values):
    for key, value in values.items():
        if value.dtype.is_floating_point:
            value = value.detach().float()
        tensors[f"{name}.{key}"] = value.contiguous()


# --- Fully connected -------------------------------------------------------------------------------------------------
x, w, b, dy = inputs(5, 7), inputs(7, 3), inputs(3), inputs(5, 3)
y = F.linear(x, w.T, b)
y.backward(dy)
keep("fully_connected", x=x, w=w, b=b, dy=dy, y=y, dx=x.grad, dw=w.grad, db=b.grad)

# --- Neurons: y = f(alpha * x + b) -----------------------------------------------------------------------------------
ALPHA = 0.75
slopes = torch.tensor([0.25, -0.5, 0.125, 1.5], dtype=torch.float64)
neurons = {
    # name: (function, a, b, c, lowest and highest argument)
    "reLU": (F.relu, 0, 0, 0, -3, 3),
    "reLULeaky": (lambda z: F.leaky_relu(z, 0.125), 0.125, 0, 0, -3, 3),
    "linear": (lambda z: 1.5 * z + 0.25, 1.5, 0.25, 0, -3, 3),
    "sigmoid": (torch.sigmoid, 0, 0, 0, -12, 12),
    "hardSigmoid": (lambda z: torch.clamp(0.25 * z + 0.5, 0, 1), 0.25, 0.5, 0, -3, 3),
    "tanH": (torch.tanh, 1, 1, 0, -6, 6),
    "tanHScaled": (lambda z: 1.75 * torch.tanh(0.625 * z), 1.75, 0.625, 0, -4, 4),
    "absolute": (torch.abs, 0, 0, 0, -3, 3),
    "softPlus": (lambda z: F.softplus(z, beta=1, threshold=1000), 1, 1, 0, -12, 12),
    # softplus(z, beta) is ln(1 + exp(beta * z)) / beta
    "softPlusScaled": (lambda z: F.softplus(z, beta=2, threshold=1000), 0.5, 2, 0, -6, 6),
    "softSign": (F.softsign, 0, 0, 0, -6, 6),
    "ELU": (lambda z: F.elu(z, alpha=1.5), 1.5, 0, 0, -6, 3),
    "pReLU": (lambda z: torch.where(z >= 0, z, slopes * z), 0, 0, 0, -3, 3),
    "reLU6": (F.relu6, 0, 6, 0, -3, 12),
    "power": (lambda z: torch.pow(0.5 * z + 4, 2.5), 0.5, 4, 2.5, -4, 4),
    "powerCube": (lambda z: torch.pow(z, 3), 1, 0, 3, -3, 3),
    "exponential": (torch.exp, 1, 0, -1, -6, 4),
    "exponentialBase3": (lambda z: torch.pow(torch.tensor(3.0, dtype=torch.float64), 0.5 * z + 1), 0.5, 1, 3, -4, 4),
    "logarithm": (lambda z: torch.log(0.5 * z + 4), 0.5, 4, -1, -4, 4),
    "logarithmBase2": (lambda z: torch.log2(0.5 * z + 4), 0.5, 4, 2, -4, 4),
    "geLU": (F.gelu, 0, 0, 0, -6, 6),
}
for name, (function, a, b_, c, low, high) in neurons.items():
    # z = alpha * x + b lies within the range asked for
    x = inputs(6, 4, low=(low + 0.5) / ALPHA, high=(high - 0.5) / ALPHA)
    b, dy = inputs(4, low=-0.5, high=0.5), inputs(6, 4, low=-1, high=1)
    y = function(ALPHA * x + b)
    y.backward(dy)
    keep(f"neuron.{name}", x=x, b=b, dy=dy, y=y, dx=x.grad, db=b.grad,
         parameters=torch.tensor([a, b_, c], dtype=torch.float32))
tensors["neuron.pReLU.slopes"] = slopes.float()

# --- Batch normalization ---------------------------------------------------------------------------------------------
for name, function in {"none": lambda z: z, "reLU": F.relu, "sigmoid": torch.sigmoid}.items():
    x, gamma, beta, dy = inputs(9, 4, low=-1, high=3), inputs(4), inputs(4), inputs(9, 4)
    y = function(F.batch_norm(x, None, None, gamma, beta, training=True, eps=0.0009765625))
    y.backward(dy)
    keep(f"batch_normalization.{name}", x=x, gamma=gamma, beta=beta, dy=dy, y=y, dx=x.grad, dgamma=gamma.grad,
         dbeta=beta.grad, mean=x.mean(0), variance=x.var(0, unbiased=False))

# --- Soft-max and its loss -------------------------------------------------------------------------------------------
for name, function in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
    x, dy = inputs(4, 6, low=-5, high=5), inputs(4, 6)
    y = function(x, dim=1)
    y.backward(dy)
    keep(name, x=x, dy=dy, y=y, dx=x.grad)

for smoothing in (0.0, 0.1):
    x = inputs(6, 5, low=-5, high=5)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    losses = F.cross_entropy(x, labels, reduction="none", label_smoothing=smoothing)
    losses.mean().backward()
    keep(f"cross_entropy.{smoothing}", x=x, labels=labels.int(), loss=losses, dx=x.grad,
         correct=(x.argmax(1) == labels).float())

# --- Optimizers: weights after each of some steps --------------------------------------------------------------------
STEPS, COUNT = 6, 10


def optimize(name, make, state):
    """`state` maps the names of our state operands to what PyTorch keeps for a parameter."""
    w = inputs(COUNT)
    gradients = inputs(STEPS, COUNT).detach()
    parameter = torch.nn.Parameter(w.detach().clone())
    optimizer = make([parameter])
    weights, states = [], {key: [] for key in state}
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        weights.append(parameter.detach().clone())
        for key, find in state.items():
            states[key].append(find(optimizer.state[parameter]).clone())
    keep(f"optimizer.{name}", w=w, gradients=gradients, weights=torch.stack(weights),
         **{key: torch.stack(values) for key, values in states.items()})


RATE = 0.0625
optimize("sgd", lambda p: torch.optim.SGD(p, lr=RATE), {})
optimize("sgd_decay", lambda p: torch.optim.SGD(p, lr=RATE, weight_decay=0.125), {})
# PyTorch's buffer is without the rate, our plain momentum has it inside.
optimize("sgd_momentum", lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.875),
         {"momentum": lambda s: RATE * s["momentum_buffer"]})
optimize("sgd_nesterov", lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.875, nesterov=True),
         {"momentum": lambda s: s["momentum_buffer"]})
optimize("rmsprop", lambda p: torch.optim.RMSprop(p, lr=RATE, alpha=0.9, eps=0.0009765625),
         {"sum_of_squares": lambda s: s["square_avg"]})
moments = {"momentum": lambda s: s["exp_avg"], "velocity": lambda s: s["exp_avg_sq"]}
optimize("adam", lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.9, 0.99), eps=0.0009765625), moments)
optimize("adam_decay", lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.9, 0.99), eps=0.0009765625, weight_decay=0.125),
         moments)
optimize("amsgrad", lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.9, 0.5), eps=0.0009765625, amsgrad=True),
         moments | {"maximum_velocity": lambda s: s["max_exp_avg_sq"]})

save_file(tensors, pathlib.Path(__file__).with_name("pytorch.safetensors"),
          metadata={"made_by": f"make_vectors.py with PyTorch {torch.__version__.split('+')[0]}"})
