"""Products and the training step in JAX, each compiled as one function.

On the CPU, JAX computes with as many threads as processors are allowed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

EPSILON = 1e-5
LEARNING_RATE = 0.01


def name():
    return f"JAX {jax.__version__}"


def set_up(device, threads):
    """Threads are as many as processors are allowed by the affinity of the process."""
    kind, _, index = device.partition(":")
    jax.config.update("jax_default_device", jax.devices(kind)[int(index or 0)])


def make_flush():
    source = jnp.zeros(1 << 26, jnp.float32)  # 256 MB
    copy = jax.jit(jnp.copy)
    return lambda: copy(source)


def loss(parameters, statistics, x, labels):
    updated = []
    for layer, running in zip(parameters[:-1], statistics):
        z = x @ layer["weight"]
        mean, variance = z.mean(0), z.var(0)
        updated.append(jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, running, (mean, variance)))
        x = jax.nn.relu((z - mean) * jax.lax.rsqrt(variance + EPSILON) * layer["gamma"] + layer["beta"])
    logits = x @ parameters[-1]["weight"] + parameters[-1]["bias"]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)), updated


@functools.partial(jax.jit, donate_argnums=(0, 1, 2))
def train(parameters, momenta, statistics, x, labels):
    gradients, statistics = jax.grad(loss, has_aux=True)(parameters, statistics, x, labels)
    momenta = jax.tree.map(lambda m, g: 0.9 * m + g, momenta, gradients)
    return jax.tree.map(lambda p, m: p - LEARNING_RATE * m, parameters, momenta), momenta, statistics


def named(parameters):
    for i, layer in enumerate(parameters):
        prefix = "output" if i + 1 == len(parameters) else f"hidden.{i}"
        for key, value in layer.items():
            yield f"{prefix}.{key}", value


def training_step(sizes, words, t):
    batch = int(next(word for word in words if word.startswith("batch=")).removeprefix("batch="))
    generator = np.random.default_rng(0)
    x = jnp.asarray(t["inputs"] if t else generator.standard_normal((batch, sizes[0]), dtype=np.float32))
    labels = jnp.asarray(t["labels"].astype(np.int32) if t else np.arange(batch) * 7 % sizes[-1])
    parameters = []
    for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:])):
        weight = generator.standard_normal((inputs, outputs), dtype=np.float32) * (2 / inputs) ** 0.5
        layer = {"weight": jnp.asarray(weight)}
        if i + 2 == len(sizes):
            layer["bias"] = jnp.zeros(outputs)
        else:
            layer |= {"gamma": jnp.ones(outputs), "beta": jnp.zeros(outputs)}
        parameters.append(layer)
    if t:
        for i, layer in enumerate(parameters):
            prefix = "output" if i + 1 == len(parameters) else f"hidden.{i}"
            for key, value in layer.items():
                layer[key] = jnp.asarray(t[f"before.{prefix}.{key}"].reshape(value.shape))
    state = {
        "parameters": parameters,
        "momenta": jax.tree.map(jnp.zeros_like, parameters),
        "statistics": [(jnp.zeros(width), jnp.ones(width)) for width in sizes[1:-1]],
    }

    def step():
        state["parameters"], state["momenta"], state["statistics"] = train(
            state["parameters"], state["momenta"], state["statistics"], x, labels
        )
        return {"after." + name: value for name, value in named(state["parameters"])}

    return {"jit": step}


def operands(t, words, shapes):
    generator = np.random.default_rng(1)
    dtype = next((word for word in words if word in ("float16", "bfloat16")), "float32")
    return [
        jnp.asarray(t[name] if t else generator.standard_normal(shape, dtype=np.float32), dtype)
        for name, shape in shapes.items()
    ]


@jax.jit
def layer(x, w, b):
    return {"y": x @ w + b}


@jax.jit
def layer_gradient(x, w, dy):
    return {"dx": dy @ w.T, "dw": x.T @ dy, "db": dy.sum(0)}


@jax.jit
def products(x, w, dy):
    return {"dx": dy @ w.T, "dw": x.T @ dy}


@jax.jit
def product(x, w):
    return {"y without bias": x @ w}


def fully_connected(sizes, words, t):
    n, inputs, outputs = sizes
    x, w, b = operands(t, words, {"x": (n, inputs), "w": (inputs, outputs), "b": (outputs,)})
    return {"jit": lambda: layer(x, w, b), "plain product": lambda: product(x, w)}


def fully_connected_gradient(sizes, words, t):
    n, inputs, outputs = sizes
    x, w, dy = operands(t, words, {"x": (n, inputs), "w": (inputs, outputs), "dy": (n, outputs)})
    return {"jit": lambda: layer_gradient(x, w, dy), "plain product": lambda: products(x, w, dy)}


OPERATIONS = {f.__name__: f for f in (fully_connected, fully_connected_gradient, training_step)}


def make(operation, sizes, words, tensors):
    """Variants of a problem by name; nothing for an operation that is not compared."""
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if "reduced" in words else "highest")
    return OPERATIONS[operation](sizes, words, tensors) if operation in OPERATIONS else {}


def wait(results):
    jax.block_until_ready(results)


def to_numpy(value):
    return np.asarray(value, np.float32)
