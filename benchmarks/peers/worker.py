"""One peer in a process of its own: commands from standard input, one JSON answer each, like metalloid-bench --serve.

    python3 worker.py torch_peer THREADS

    check FILE PROBLEM     the largest error of each variant on the tensors that our program saved
    prepare PROBLEM        answers the names of the variants
    repeat N VARIANT       runs one step to warm up, then times N

An iteration is one call; a step is as many as take about 20 ms. Iterations and steps mean what they do in main.cpp.
"""

import importlib
import json
import sys
import time

import numpy as np
from safetensors.numpy import load_file

STEP_SECONDS = 0.02


def parse(problem):
    operation, sizes, *words = problem.split()
    return operation, [int(size) for size in sizes.replace("-", "x").split("x")], words


class Worker:
    def __init__(self, peer):
        self.peer = peer
        self.variants = {}
        self.iterations = {}

    def check(self, path, problem):
        """Largest difference of each variant, relative to the largest value of the tensor."""
        tensors = load_file(path)
        operation, sizes, words = parse(problem)
        errors = {}
        for variant in self.peer.make(operation, sizes, words, dict(tensors)):
            # Fresh operands for each variant: a training step changes its parameters.
            work = self.peer.make(operation, sizes, words, {k: v.copy() for k, v in tensors.items()})[variant]
            for name, value in work().items():
                if name not in tensors:
                    continue
                ours = tensors[name].reshape(value.shape)
                # What a training step changes is its update: the parameters themselves would agree without it.
                before = tensors.get(name.replace("after.", "before."), ours) if name.startswith("after.") else 0 * ours
                scale = np.abs(ours - before.reshape(ours.shape)).max()
                difference = np.abs(self.peer.to_numpy(value) - ours).max()
                errors[variant] = max(errors.get(variant, 0.0), float(difference / scale))
        return {"errors": errors}

    def prepare(self, problem):
        self.variants = {}  # before the next ones take memory
        operation, sizes, words = parse(problem)
        self.variants = self.peer.make(operation, sizes, words, None)
        self.iterations = {}
        return {"variants": list(self.variants)}

    def seconds(self, work, iterations):
        begin = time.perf_counter()
        for _ in range(iterations):
            results = work()
        self.peer.wait(results)
        return time.perf_counter() - begin

    def repeat(self, steps, variant):
        work = self.variants[variant]
        if variant not in self.iterations:
            for _ in range(3):
                self.seconds(work, 1)  # compiles
            count, taken = 1, self.seconds(work, 1)
            while taken < STEP_SECONDS / 2:
                count = int(count * min(10, max(2, STEP_SECONDS / taken)))
                taken = self.seconds(work, count)
            self.iterations[variant] = count
        count = self.iterations[variant]
        self.seconds(work, count)
        return {"seconds": [self.seconds(work, count) / count for _ in range(steps)], "iterations": count}

    def answer(self, line):
        command, _, rest = line.strip().partition(" ")
        if command == "name":
            return {"name": self.peer.name()}
        if command == "check":
            return self.check(*rest.split(" ", 1))
        if command == "prepare":
            return self.prepare(rest)
        steps, variant = rest.split(" ", 1)
        return self.repeat(int(steps), variant)


def main():
    peer = importlib.import_module(sys.argv[1])
    peer.set_threads(int(sys.argv[2]))
    worker = Worker(peer)
    for line in sys.stdin:
        try:
            answer = worker.answer(line)
        except Exception as error:  # the answer says it; the script that asked decides
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
