"""One peer in a process of its own: commands from standard input, one JSON answer each, like metalloid-bench --serve.

    python3 worker.py torch_peer DEVICE THREADS

    check FILE PROBLEM     the largest error of each variant on the tensors that our program saved
    prepare PROBLEM        answers the names of the variants
    repeat N VARIANT       runs one step to warm up, then times N

An iteration is one call; a step is as many as take about 20 ms. Iterations, steps and the word `cold` mean what they do
in main.cpp. The word peers=eager,compile keeps the variants that have one of these words in their names.
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
        self.flush = None

    def make(self, problem, tensors):
        operation, sizes, words = parse(problem)
        variants = self.peer.make(operation, sizes, words, tensors)
        wanted = next((word.removeprefix("peers=").split(",") for word in words if word.startswith("peers=")), [""])
        return {name: work for name, work in variants.items() if any(word in name for word in wanted)}

    def check(self, path, problem):
        """Largest difference of each variant, relative to the largest value of the tensor; or what went wrong."""
        tensors = load_file(path)
        errors = {}
        for variant in self.make(problem, dict(tensors)):
            if variant == "torch.compile":
                continue  # it compiles what "eager" calls, and takes many seconds
            # Fresh operands for each variant: a training step changes its parameters.
            work = self.make(problem, {k: v.copy() for k, v in tensors.items()})[variant]
            try:
                errors[variant] = self.largest_error(work(), tensors)
            except Exception as error:  # the other variants may do
                errors[variant] = f"{type(error).__name__}: {error}"
        return {"errors": errors}

    def largest_error(self, results, tensors):
        largest = 0.0
        for name, value in results.items():
            if name not in tensors:
                continue
            ours = tensors[name].reshape(value.shape)
            # What a training step changes is its update: the parameters themselves would agree without it. Both sides
            # have rounded them once.
            before = tensors.get(name.replace("after.", "before."), ours) if name.startswith("after.") else 0 * ours
            scale = np.abs(ours - before.reshape(ours.shape)).max()
            difference = np.abs(self.peer.to_numpy(value) - ours).max() - 2 * 2**-24 * np.abs(before).max()
            largest = float(np.maximum(largest, np.maximum(difference, 0) / scale))  # max would lose NaN
        return largest

    def prepare(self, problem):
        self.variants, self.flush = {}, None  # before the next ones take memory
        self.variants = self.make(problem, None)
        if "cold" in parse(problem)[2]:
            self.flush = self.peer.make_flush()
        self.iterations = {}
        return {"variants": list(self.variants)}

    def step(self, iterations, *calls):
        """Seconds that a step with these calls in each iteration takes."""
        begin = time.perf_counter()
        for _ in range(iterations):
            for call in calls:
                results = call()
        self.peer.wait(results)
        return time.perf_counter() - begin

    def whole_step(self, work, iterations):
        return self.step(iterations, self.flush, work) if self.flush else self.step(iterations, work)

    def seconds(self, work, iterations):
        flushing = self.step(iterations, self.flush) if self.flush else 0
        return (self.whole_step(work, iterations) - flushing) / iterations

    def repeat(self, steps, variant):
        work = self.variants[variant]
        if variant not in self.iterations:
            for _ in range(3):
                self.whole_step(work, 1)  # compiles
            count, taken = 1, self.whole_step(work, 1)
            while taken < STEP_SECONDS / 2:
                count = int(count * min(10, max(2, STEP_SECONDS / taken)))
                taken = self.whole_step(work, count)
            self.iterations[variant] = count
        count = self.iterations[variant]
        self.seconds(work, count)
        return {"seconds": [self.seconds(work, count) for _ in range(steps)], "iterations": count}

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
    peer.set_up(sys.argv[2], int(sys.argv[3]))
    worker = Worker(peer)
    for line in sys.stdin:
        try:
            answer = worker.answer(line)
        except Exception as error:  # the answer says it; the script that asked decides
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
