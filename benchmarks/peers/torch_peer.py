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


def number(words, name, absent):
    return next((int(word.split("=")[1]) for word in words if word.startswith(name + "=")), absent)


# Images are [image][row][column][channel] with us. PyTorch gets them in both of its layouts, each made beforehand.

LAYOUTS = {"eager": torch.contiguous_format, "eager, channels last": torch.channels_last}


def channels_first(images, layout):
    return images.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def channels_last(images):
    return images.detach().permute(0, 2, 3, 1)


def convolution_tensors(sizes, words, t):
    n, h, w, c, k = sizes
    taps, stride = number(words, "kernel", 3), number(words, "stride", 1)
    result = (n, (h - 1) // stride + 1, (w - 1) // stride + 1, k)
    t = t or random(["x", "w", "b", "dy"], [(n, h, w, c), (k, taps * taps * c), (k,), result])
    return t, t["w"].reshape(k, taps, taps, c), {"stride": stride, "padding": taps // 2}


def convolution(sizes, words, t):
    t, weights, geometry = convolution_tensors(sizes, words, t)

    def variant(layout):
        x, w = channels_first(t["x"], layout), channels_first(weights, layout)
        return lambda: {"y": channels_last(F.conv2d(x, w, t["b"], **geometry))}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def convolution_gradient(sizes, words, t):
    t, weights, geometry = convolution_tensors(sizes, words, t)

    def variant(layout):
        x, w = channels_first(t["x"], layout).requires_grad_(), channels_first(weights, layout).requires_grad_()
        b, dy = torch.zeros(sizes[4], requires_grad=True), channels_first(t["dy"], layout)
        y = F.conv2d(x, w, b, **geometry)

        def gradient():
            dx, dw, db = torch.autograd.grad(y, (x, w, b), dy, retain_graph=True)
            return {"dx": channels_last(dx), "dw": channels_last(dw).reshape(sizes[4], -1), "db": db}

        return gradient

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def pooling_function(words):
    kernel = number(words, "kernel", 2)
    arguments = {"kernel_size": kernel, "stride": number(words, "stride", kernel)}
    arguments["padding"] = number(words, "padding", 0)
    if "average" in words:
        return lambda x: F.avg_pool2d(x, **arguments, count_include_pad=False)
    return lambda x: F.max_pool2d(x, **arguments)


def pooling(sizes, words, t):
    t, pool = t or random("x", [sizes]), pooling_function(words)

    def variant(layout):
        x = channels_first(t["x"], layout)
        return lambda: {"y": channels_last(pool(x))}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def pooling_gradient(sizes, words, t):
    pool = pooling_function(words)
    result = channels_last(pool(torch.zeros(sizes).permute(0, 3, 1, 2))).shape
    t = t or random(["x", "dy"], [sizes, result])

    def variant(layout):
        x, dy = channels_first(t["x"], layout).requires_grad_(), channels_first(t["dy"], layout)
        y = pool(x)
        return lambda: {"dx": channels_last(torch.autograd.grad(y, x, dy, retain_graph=True)[0])}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def image_batch_normalization(sizes, words, t):
    t = t or random(["x", "gamma", "beta"], [sizes, sizes[3:], sizes[3:]])

    def variant(layout):
        x = channels_first(t["x"], layout)

        def normalize():
            y = F.batch_norm(x, None, None, t["gamma"], t["beta"], training=True, eps=EPSILON)
            return {"y": channels_last(F.relu_(y))}

        return normalize

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def image_batch_normalization_gradient(sizes, words, t):
    t = t or random(["x", "dy", "gamma", "beta"], [sizes, sizes, sizes[3:], sizes[3:]])

    def variant(layout):
        x, dy = channels_first(t["x"], layout).requires_grad_(), channels_first(t["dy"], layout)
        gamma, beta = t["gamma"].clone().requires_grad_(), t["beta"].clone().requires_grad_()
        y = F.relu(F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON))
        return lambda: {"dx": channels_last(torch.autograd.grad(y, (x, gamma, beta), dy, retain_graph=True)[0])}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


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
        convolution,
        convolution_gradient,
        pooling,
        pooling_gradient,
        image_batch_normalization,
        image_batch_normalization_gradient,
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
