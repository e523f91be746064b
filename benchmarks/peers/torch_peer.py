"""The problems in PyTorch, as its users write them. Gradients are timed alone: their forward pass is done before."""

import torch
import torch.nn.functional as F

EPSILON = 1e-5
LEARNING_RATE = 0.01

ACTIVATIONS = {
    "reLU": F.relu,
    "linear": lambda z: 1.0 * z + 0.0,
    "sigmoid": torch.sigmoid,
    "hardSigmoid": lambda z: torch.clamp(0.2 * z + 0.5, 0, 1),
    "tanH": torch.tanh,
    "absolute": torch.abs,
    "softPlus": F.softplus,
    "softSign": F.softsign,
    "ELU": F.elu,
    "reLUN": F.relu6,
    "power": lambda z: torch.pow(z, 3.0),
    "exponential": torch.exp,
    "logarithm": torch.log,
    "geLU": F.gelu,
}


def name():
    return f"PyTorch {torch.__version__}"


def set_threads(threads):
    torch.set_num_threads(threads)


def random(names, shapes):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in zip(names, shapes)}


def fully_connected(sizes, words, t):
    n, inputs, outputs = sizes
    t = t or random("xwb", [(n, inputs), (inputs, outputs), (outputs,)])
    x, w, b, y = t["x"], t["w"], t["b"], torch.empty(n, outputs)
    return {
        "eager": lambda: {"y": torch.addmm(b, x, w, out=y)},
        "plain product": lambda: {"y without bias": torch.mm(x, w, out=y)},
    }


def fully_connected_gradient(sizes, words, t):
    n, inputs, outputs = sizes
    t = t or random(["x", "w", "dy"], [(n, inputs), (inputs, outputs), (n, outputs)])
    x, w, dy = t["x"], t["w"], t["dy"]
    dx, dw, db = torch.empty(n, inputs), torch.empty(inputs, outputs), torch.empty(outputs)

    def products():
        return {"dx": torch.mm(dy, w.t(), out=dx), "dw": torch.mm(x.t(), dy, out=dw)}

    return {"eager": lambda: {**products(), "db": torch.sum(dy, 0, out=db)}, "plain product": products}


def neuron_gradient(sizes, words, t):
    t = t or random(["x", "dy", "b"], [sizes, sizes, sizes[1:]])
    x, b, dy = t["x"].requires_grad_(), t["b"].requires_grad_(), t["dy"]
    kind = next(word for word in words if word == "pReLU" or word in ACTIVATIONS)
    slopes = torch.full((sizes[1],), 0.25)
    y = F.prelu(x + b, slopes) if kind == "pReLU" else ACTIVATIONS[kind](x + b)

    def eager():
        dx, db = torch.autograd.grad(y, (x, b), dy, retain_graph=True)
        return {"dx": dx, "db": db}

    return {"eager": eager}


def batch_normalization(sizes, words, t):
    t = t or random(["x", "gamma", "beta"], [sizes, sizes[1:], sizes[1:]])
    x, gamma, beta = t["x"], t["gamma"], t["beta"]

    def eager():
        y = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)
        return {"y": F.relu_(y) if "reLU" in words else y}

    return {"eager": eager}


def batch_normalization_gradient(sizes, words, t):
    t = t or random(["x", "dy", "gamma", "beta"], [sizes, sizes, sizes[1:], sizes[1:]])
    x, gamma, beta, dy = t["x"].requires_grad_(), t["gamma"].requires_grad_(), t["beta"].requires_grad_(), t["dy"]
    y = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)
    if "reLU" in words:
        y = F.relu(y)

    def eager():
        dx, dgamma, dbeta = torch.autograd.grad(y, (x, gamma, beta), dy, retain_graph=True)
        return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}

    return {"eager": eager}


def copy(sizes, words, t):
    x = (t or random("x", [sizes]))["x"]
    y = torch.empty_like(x)
    return {"copy_": lambda: {"y": y.copy_(x)}}


class Network(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        layers = []
        for inputs, outputs in zip(widths[:-2], widths[1:-1]):
            layers += [torch.nn.Linear(inputs, outputs, bias=False), torch.nn.BatchNorm1d(outputs, EPSILON)]
            layers += [torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-2], widths[-1]))

    def forward(self, x):
        return self.layers(x)

    def parameters_by_name(self):
        """The names of our tensors; our weights are inputs x outputs."""
        hidden = (len(self.layers) - 1) // 3
        for i in range(hidden):
            yield f"hidden.{i}.weight", self.layers[3 * i].weight
            yield f"hidden.{i}.gamma", self.layers[3 * i + 1].weight
            yield f"hidden.{i}.beta", self.layers[3 * i + 1].bias
        yield "output.weight", self.layers[-1].weight
        yield "output.bias", self.layers[-1].bias


def training_variant(widths, x, labels, t, compiled, fused):
    torch.manual_seed(0)
    network = Network(widths)
    if t:
        with torch.no_grad():
            for name, parameter in network.parameters_by_name():
                value = t["before." + name].reshape(parameter.shape[::-1])
                parameter.copy_(value.t() if parameter.dim() == 2 else value)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=0.9, fused=fused)

    def loss(x, labels):
        return F.cross_entropy(network(x), labels)

    if compiled:
        loss = torch.compile(loss, dynamic=False)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(x, labels).backward()
        optimizer.step()
        return {
            "after." + name: p.detach().t() if p.dim() == 2 else p.detach() for name, p in network.parameters_by_name()
        }

    return step


def training_step(sizes, words, t):
    batch = int(next(word for word in words if word.startswith("batch=")).removeprefix("batch="))
    x = t["inputs"] if t else torch.randn(batch, sizes[0])
    torch.compiler.reset()  # what was compiled for other sizes must not make this one dynamic
    labels = t["labels"].long() if t else torch.arange(batch) * 7 % sizes[-1]
    return {
        "eager": training_variant(sizes, x, labels, t, compiled=False, fused=False),
        "eager, fused optimizer": training_variant(sizes, x, labels, t, compiled=False, fused=True),
        "torch.compile": training_variant(sizes, x, labels, t, compiled=True, fused=True),
    }


OPERATIONS = {
    f.__name__: f
    for f in (
        copy,
        fully_connected,
        fully_connected_gradient,
        neuron_gradient,
        batch_normalization,
        batch_normalization_gradient,
        training_step,
    )
}


def make(operation, sizes, words, tensors):
    """Variants of a problem by name: functions that return what they compute; nothing for an operation not known."""
    if operation not in OPERATIONS:
        return {}
    tensors = {name: torch.from_numpy(value) for name, value in tensors.items()} if tensors else None
    return OPERATIONS[operation](tuple(sizes), words, tensors)


def wait(results):
    pass


def to_numpy(tensor):
    return tensor.detach().numpy()
