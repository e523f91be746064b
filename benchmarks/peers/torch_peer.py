"""The problems in PyTorch, as its users write them. Gradients are timed alone: their forward pass is done before.

On a GPU there are two more variants of most problems, made when they are first called: torch.compile, and a CUDA graph
of the eager calls, which costs a single launch.
"""

import copy
import math

import torch
import torch.nn.functional as F

# Gradients of a compiled function are taken again and again.
import torch._functorch.config

torch._functorch.config.donated_buffer = False

EPSILON = 1e-5
LEARNING_RATE = 0.01
DEVICE = torch.device("cpu")

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


def set_up(device, threads):
    # The device is the default only while operands are made: a default device makes every call slower.
    global DEVICE
    DEVICE = torch.device(device)
    if not is_on_gpu():
        torch.set_num_threads(threads)
        return
    torch.cuda.set_device(DEVICE)
    torch.cuda.set_stream(torch.cuda.Stream())  # graphs cannot be captured on the default stream
    torch.backends.cudnn.benchmark = True


def is_on_gpu():
    return DEVICE.type == "cuda"


def make_flush():
    source, destination = (torch.zeros(1 << 26, device=DEVICE) for _ in range(2))  # 256 MB each
    return lambda: destination.copy_(source)


def type_of(words):
    return next((getattr(torch, word) for word in words if word in ("float16", "bfloat16")), torch.float32)


def operands(t, shapes, dtype=torch.float32):
    """Tensors by name, of our values where there are some."""
    if t:
        return {name: t[name].to(dtype) for name in shapes}
    torch.manual_seed(1)
    return {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}


def lazily(make):
    """A function that is made when it is first called."""
    made = []

    def call():
        if not made:
            with DEVICE:
                made.append(make())
        return made[0]()

    return call


def captured(work):
    """A replay of the GPU's part of the work."""
    for _ in range(3):
        work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        results = work()

    def replay():
        graph.replay()
        return results

    return replay


def variants(eager, make_compiled):
    if not is_on_gpu():
        return {"eager": eager}
    return {"eager": eager, "torch.compile": lazily(make_compiled), "CUDA graph": lazily(lambda: captured(eager))}


def gradient_of(function, inputs, dy, names):
    """The gradients for `inputs`, called `names`."""
    y = function(*inputs)
    return lambda: dict(zip(names, torch.autograd.grad(y, inputs, dy, retain_graph=True)))


def gradient_variants(function, inputs, dy, names):
    return variants(
        gradient_of(function, inputs, dy, names),
        lambda: gradient_of(torch.compile(function), inputs, dy, names),
    )


def fully_connected(sizes, words, t):
    n, inputs, outputs = sizes
    dtype = type_of(words)
    t = operands(t, {"x": (n, inputs), "w": (inputs, outputs), "b": (outputs,)}, dtype)
    x, w, b, y = t["x"], t["w"], t["b"], torch.empty(n, outputs, dtype=dtype)
    return {
        **variants(
            lambda: {"y": torch.addmm(b, x, w, out=y)}, lambda: torch.compile(lambda: {"y": torch.addmm(b, x, w)})
        ),
        "plain product": lambda: {"y without bias": torch.mm(x, w, out=y)},
    }


def fully_connected_gradient(sizes, words, t):
    n, inputs, outputs = sizes
    t = operands(t, {"x": (n, inputs), "w": (inputs, outputs), "dy": (n, outputs)}, type_of(words))
    x, w, dy = t["x"], t["w"], t["dy"]
    dx, dw, db = torch.empty_like(x), torch.empty_like(w), torch.empty_like(dy[0])

    def products():
        return {"dx": torch.mm(dy, w.t(), out=dx), "dw": torch.mm(x.t(), dy, out=dw)}

    def eager():
        return {**products(), "db": torch.sum(dy, 0, out=db)}

    def functional():
        return {"dx": dy @ w.t(), "dw": x.t() @ dy, "db": dy.sum(0)}

    return {**variants(eager, lambda: torch.compile(functional)), "plain product": products}


def neuron_gradient(sizes, words, t):
    t = operands(t, {"x": sizes, "dy": sizes, "b": sizes[1:]}, type_of(words))
    kind = next(word for word in words if word == "pReLU" or word in ACTIVATIONS)
    slopes = torch.full((sizes[1],), 0.25, dtype=type_of(words))
    activation = (lambda z: F.prelu(z, slopes)) if kind == "pReLU" else ACTIVATIONS[kind]
    inputs = (t["x"].requires_grad_(), t["b"].requires_grad_())
    return gradient_variants(lambda x, b: activation(x + b), inputs, t["dy"], ("dx", "db"))


def normalization_tensors(t, words, data, channels):
    """Gamma and beta are float32, whatever the type of the data."""
    vectors = operands(t, {"gamma": channels, "beta": channels})
    return operands(t, data, type_of(words)) | vectors


def normalized(words):
    def function(x, gamma, beta):
        y = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)
        return F.relu(y, inplace=not y.requires_grad) if "reLU" in words else y

    return function


def batch_normalization(sizes, words, t):
    t = normalization_tensors(t, words, {"x": sizes}, sizes[1:])
    x, gamma, beta = t["x"], t["gamma"], t["beta"]

    def normalize(function):
        return lambda: {"y": function(x, gamma, beta)}

    return variants(normalize(normalized(words)), lambda: normalize(torch.compile(normalized(words))))


def batch_normalization_gradient(sizes, words, t):
    t = normalization_tensors(t, words, {"x": sizes, "dy": sizes}, sizes[1:])
    inputs = tuple(t[name].requires_grad_() for name in ("x", "gamma", "beta"))
    return gradient_variants(normalized(words), inputs, t["dy"], ("dx", "dgamma", "dbeta"))


def number(words, name, absent):
    return next((int(word.split("=")[1]) for word in words if word.startswith(name + "=")), absent)


# Images are [image][row][column][channel] with us. PyTorch gets them in both of its layouts, each made beforehand.

LAYOUTS = {"eager": torch.contiguous_format, "eager, channels last": torch.channels_last}


def channels_first(images, layout):
    return images.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def channels_last(images):
    return images.detach().permute(0, 2, 3, 1)


def convolution_tensors(sizes, words, t, names):
    n, h, w, c, k = sizes
    taps, stride = number(words, "kernel", 3), number(words, "stride", 1)
    result = (n, (h - 1) // stride + 1, (w - 1) // stride + 1, k)
    shapes = {"x": (n, h, w, c), "w": (k, taps * taps * c), "b": (k,), "dy": result}
    t = operands(t, {name: shapes[name] for name in names})
    return t, t["w"].reshape(k, taps, taps, c), {"stride": stride, "padding": taps // 2}


def convolution(sizes, words, t):
    t, weights, geometry = convolution_tensors(sizes, words, t, ("x", "w", "b"))

    def variant(layout):
        x, w = channels_first(t["x"], layout), channels_first(weights, layout)
        return lambda: {"y": channels_last(F.conv2d(x, w, t["b"], **geometry))}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def convolution_gradient(sizes, words, t):
    t, weights, geometry = convolution_tensors(sizes, words, t, ("x", "w", "dy"))

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
    t, pool = operands(t, {"x": sizes}), pooling_function(words)

    def variant(layout):
        x = channels_first(t["x"], layout)
        return lambda: {"y": channels_last(pool(x))}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def pooling_gradient(sizes, words, t):
    pool = pooling_function(words)
    result = channels_last(pool(torch.zeros(sizes).permute(0, 3, 1, 2))).shape
    t = operands(t, {"x": sizes, "dy": result})

    def variant(layout):
        x, dy = channels_first(t["x"], layout).requires_grad_(), channels_first(t["dy"], layout)
        y = pool(x)
        return lambda: {"dx": channels_last(torch.autograd.grad(y, x, dy, retain_graph=True)[0])}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def image_batch_normalization(sizes, words, t):
    t = normalization_tensors(t, words, {"x": sizes}, sizes[3:])

    def variant(layout):
        x = channels_first(t["x"], layout)

        def normalize():
            y = F.batch_norm(x, None, None, t["gamma"], t["beta"], training=True, eps=EPSILON)
            return {"y": channels_last(F.relu_(y))}

        return normalize

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def image_batch_normalization_gradient(sizes, words, t):
    t = normalization_tensors(t, words, {"x": sizes, "dy": sizes}, sizes[3:])

    def variant(layout):
        x, dy = channels_first(t["x"], layout).requires_grad_(), channels_first(t["dy"], layout)
        gamma, beta = t["gamma"].clone().requires_grad_(), t["beta"].clone().requires_grad_()
        y = F.relu(F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON))
        return lambda: {"dx": channels_last(torch.autograd.grad(y, (x, gamma, beta), dy, retain_graph=True)[0])}

    return {name: variant(layout) for name, layout in LAYOUTS.items()}


def copy_matrix(sizes, words, t):
    x = operands(t, {"x": sizes}, type_of(words))["x"]
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
        """The names are those of our tensors."""
        hidden = (len(self.layers) - 1) // 3
        for i in range(hidden):
            yield f"hidden.{i}.weight", self.layers[3 * i].weight
            yield f"hidden.{i}.gamma", self.layers[3 * i + 1].weight
            yield f"hidden.{i}.beta", self.layers[3 * i + 1].bias
        yield "output.weight", self.layers[-1].weight
        yield "output.bias", self.layers[-1].bias

    def as_ours(self, parameter):
        """Our weights are inputs x outputs."""
        return parameter.detach().t() if parameter.dim() == 2 else parameter.detach()


class ImageNetwork(torch.nn.Module):
    """The built-in convolutional network."""

    def __init__(self, dropout):
        super().__init__()
        self.layers = torch.nn.ModuleDict({
            "convolution1": torch.nn.Conv2d(1, 32, 5, padding=2),
            "convolution2": torch.nn.Conv2d(32, 64, 5, padding=2),
            "dense1": torch.nn.Linear(3136, 1024),
            "dense2": torch.nn.Linear(1024, 10),
        })
        self.dropout = dropout
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        x = x.reshape(-1, 1, 28, 28)
        for name in ("convolution1", "convolution2"):
            x = F.max_pool2d(F.relu(self.layers[name](x)), 2)
        x = F.relu(self.layers["dense1"](x.permute(0, 2, 3, 1).flatten(1)))
        return self.layers["dense2"](F.dropout(x, self.dropout))

    def parameters_by_name(self):
        for name, layer in self.layers.items():
            yield f"{name}.weight", layer.weight
            yield f"{name}.bias", layer.bias

    def as_ours(self, parameter):
        """Our weights are outputs x window x inputs."""
        return parameter.detach().permute(0, 2, 3, 1) if parameter.dim() == 4 else parameter.detach()


def training_variant(make_network, x, labels, t, fused=True, compiled=False, graph=False):
    torch.manual_seed(0)
    network = make_network()
    if t:
        for name, parameter in network.parameters_by_name():
            view = network.as_ours(parameter)
            view.copy_(t["before." + name].reshape(view.shape))
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=0.9, fused=fused)

    def loss(x, labels):
        return F.cross_entropy(network(x), labels)

    if compiled:
        loss = torch.compile(loss, dynamic=False, mode="reduce-overhead" if is_on_gpu() else None)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(x, labels).backward()
        optimizer.step()
        return {"after." + name: network.as_ours(p) for name, p in network.parameters_by_name()}

    if not graph:
        return step
    before = copy.deepcopy(network.state_dict())
    replay = captured(step)
    network.load_state_dict(before)  # capturing takes steps, which must leave no trace
    for state in optimizer.state.values():
        state["momentum_buffer"].zero_()
    return replay


def training_variants(make_network, x, labels, t):
    def make(**arguments):
        return lazily(lambda: training_variant(make_network, x, labels, t, **arguments))

    found = {"eager": make(fused=False), "eager, fused optimizer": make(), "torch.compile": make(compiled=True)}
    return found | ({"CUDA graph": make(graph=True)} if is_on_gpu() else {})


def training_step(sizes, words, t):
    batch = number(words, "batch", 128)
    x = t["inputs"] if t else torch.randn(batch, sizes[0])
    labels = t["labels"].long() if t else torch.arange(batch) * 7 % sizes[-1]
    return training_variants(lambda: Network(sizes), x, labels, t)


def graph_training_step(sizes, words, t):
    batch = number(words, "batch", 128)
    x = t["inputs"] if t else torch.randn(batch, math.prod(sizes))
    labels = t["labels"].long() if t else torch.arange(batch) * 7 % 10
    return training_variants(lambda: ImageNetwork(0.0 if "undropped" in words else 0.5), x, labels, t)


OPERATIONS = {"copy": copy_matrix} | {
    f.__name__: f
    for f in (
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
        graph_training_step,
    )
}


def make(operation, sizes, words, tensors):
    """Variants of a problem by name: functions that return what they compute; nothing for an operation not known."""
    if operation not in OPERATIONS:
        return {}
    torch.compiler.reset()  # what was compiled for other sizes must not make these dynamic
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "reduced" in words
    tensors = {name: torch.from_numpy(value).to(DEVICE) for name, value in tensors.items()} if tensors else None
    with DEVICE:
        return OPERATIONS[operation](tuple(sizes), words, tensors)


def wait(results):
    if is_on_gpu():
        torch.cuda.synchronize()


def to_numpy(tensor):
    return tensor.detach().float().cpu().numpy()
