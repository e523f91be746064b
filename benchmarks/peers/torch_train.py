"""Trains what `metalloid train` trains by default, in PyTorch: one program from start to exit.

    python3 torch_train.py --data DIRECTORY --out FILE --device cuda:0

Networks: mlp, 784-512-256-10 with batch normalization and ReLU, batches of 256; lenet, the convolutional network, batches
of 128, in the faster of PyTorch's layouts for it, channels_last. Adam, cosine schedule. The images are one tensor in
the device's memory, normalized once; a batch is an index_select. The test images are evaluated after each epoch.

Prints a JSON line an epoch, and one at the end.
"""

import argparse
import gzip
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F

WIDTHS = (784, 512, 256, 10)
BATCHES = {"mlp": 256, "lenet": 128}
LEARNING_RATE = 0.001


def read_idx(directory, name):
    path = pathlib.Path(directory) / name
    data = path.read_bytes() if path.exists() else gzip.open(f"{path}.gz").read()
    dimensions = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    return torch.frombuffer(bytearray(data[4 + 4 * dimensions :]), dtype=torch.uint8).reshape(shape)


def read_split(directory, prefix):
    images = read_idx(directory, f"{prefix}-images-idx3-ubyte").flatten(1).float().div_(255)
    return images, read_idx(directory, f"{prefix}-labels-idx1-ubyte").long()


def lenet():
    """What `metalloid graph --network lenet` shows."""
    model = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 28, 28)),
        torch.nn.Conv2d(1, 32, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(3136, 1024), torch.nn.ReLU(), torch.nn.Dropout(0.5),
        torch.nn.Linear(1024, 10))
    return model.to(memory_format=torch.channels_last)


def mlp():
    layers = []
    for inputs, outputs in zip(WIDTHS[:-2], WIDTHS[1:-1]):
        linear = torch.nn.Linear(inputs, outputs, bias=False)
        torch.nn.init.kaiming_normal_(linear.weight)
        layers += [linear, torch.nn.BatchNorm1d(outputs), torch.nn.ReLU()]
    last = torch.nn.Linear(WIDTHS[-2], WIDTHS[-1])
    torch.nn.init.normal_(last.weight, std=WIDTHS[-2] ** -0.5)
    torch.nn.init.zeros_(last.bias)
    return torch.nn.Sequential(*layers, last)


def accuracy(model, images, labels):
    model.eval()
    with torch.inference_mode():
        right = sum((model(x).argmax(1) == y).sum() for x, y in zip(images.split(1000), labels.split(1000)))
    model.train()
    return right.item() / len(labels)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--network", choices=BATCHES, default="mlp")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    torch.backends.cudnn.allow_tf32 = False  # for products it is off unless asked for
    device = torch.device(arguments.device)

    images, labels = (tensor.to(device) for tensor in read_split(arguments.data, "train"))
    test_images, test_labels = (tensor.to(device) for tensor in read_split(arguments.data, "t10k"))
    deviation, mean = torch.std_mean(images)
    images.sub_(mean).div_(deviation)
    test_images.sub_(mean).div_(deviation)

    batch = BATCHES[arguments.network]
    model = (lenet() if arguments.network == "lenet" else mlp()).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    steps = arguments.epochs * math.ceil(len(images) / batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(arguments.epochs):
        begin = time.perf_counter()
        total = torch.zeros((), device=device)
        for indices in torch.randperm(len(images), device=device).split(batch):
            x, y = images.index_select(0, indices), labels.index_select(0, indices)
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(y)
        loss = total.item() / len(images)  # waits for the device
        seconds = time.perf_counter() - begin
        test_accuracy = accuracy(model, test_images, test_labels)
        print(json.dumps({"train_loss": loss, "seconds": seconds, "samples_per_second": len(images) / seconds}))
    torch.save(model.state_dict(), arguments.out)
    print(json.dumps({"test_accuracy": test_accuracy, "version": torch.__version__}))


if __name__ == "__main__":
    main()
