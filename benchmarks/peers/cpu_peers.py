"""Compares metalloid-bench with PyTorch, JAX and NumPy on the CPU, in one run.

    python3 cpu_peers.py --bench build/release/bin/metalloid-bench --output cpu.jsonl problems/*.txt

Every library works in a process of its own, with the same number of threads on the same processors. For each problem
the processes take turns, round after round, in an order that alternates; the others wait meanwhile, and between two
turns everybody rests until threads have stopped spinning. Before, each formula of a peer is compared with our results
for the same values on a small problem of the same kind. "Reused memory" is PyTorch with an allocator that never gives
memory back to the system: its results then cost no page faults, as ours do not.

Written are JSON lines: the seconds of every variant (median, quartiles) and the ratio of medians peer/ours, above 1
where we are faster, with the quartiles of the ratios of single rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent

# Idle threads go on spinning after a turn, for 10 ms (OpenMP) or 60 ms (OpenBLAS), and would slow down the next process.
# It begins when the last one has used less than IDLE_SHARE of a processor over IDLE_SECONDS.
IDLE_SECONDS = 0.01
IDLE_SHARE = 0.05
LONGEST_REST_SECONDS = 1.0

# Largest difference of a formula, relative to the largest value of its tensor: float32 sums of some hundred terms
# differ by some hundred roundings (2**-24 each) when they are taken in another order; a wrong formula by much more.
FORMULA_TOLERANCE = 1e-4

SMALL_SIZES = {"fully_connected": "96x80x48", "fully_connected_gradient": "96x80x48", "training_step": "784-64-48-10",
               "convolution": "2x14x14x3x8", "convolution_gradient": "2x14x14x3x8",
               "pooling": "2x14x14x8", "pooling_gradient": "2x14x14x8",
               "image_batch_normalization": "4x6x6x8", "image_batch_normalization_gradient": "4x6x6x8"}

# glibc: take nothing with mmap, give nothing back.
REUSE_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 28)}


class Process:
    """A program that answers each line with a line of JSON."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args[0]} ended at: {line}")
        return json.loads(answer)

    def processor_seconds(self):
        """What its threads have used so far."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass  # the thread has ended
        return total * 1e-9

    def wait_until_idle(self):
        end = time.monotonic() + LONGEST_REST_SECONDS
        used = self.processor_seconds()
        while time.monotonic() < end:
            time.sleep(IDLE_SECONDS)
            before, used = used, self.processor_seconds()
            if used - before < IDLE_SHARE * IDLE_SECONDS:
                return
        raise SystemExit(f"{self.process.args}: still busy {LONGEST_REST_SECONDS} s after its turn")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours(Process):
    def __init__(self, bench, threads):
        super().__init__([bench, "--serve"], {"METALLOID_THREADS": str(threads)})

    def repeat(self, steps, variant):
        return self.ask(f"repeat {steps}")


class Peer(Process):
    def __init__(self, module, threads, environment):
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        limits |= {"OPENBLAS_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu"}
        super().__init__([sys.executable, str(HERE / "worker.py"), module, str(threads)], limits | environment)
        self.name = self.ask("name")["name"]

    def repeat(self, steps, variant):
        return self.ask(f"repeat {steps} {variant}")


def read_problems(paths):
    for path in paths:
        for line in pathlib.Path(path).read_text().splitlines():
            words = line.split("#")[0].split()
            if words:
                yield " ".join(words)


def small_problem(problem):
    operation, _, *words = problem.split()
    words = ["batch=64" if word.startswith("batch=") else word for word in words]
    return " ".join([operation, SMALL_SIZES.get(operation, "96x48"), *words])


def check_formulas(ours, peers, problem, folder):
    """Stops the run when a peer computes something else than we do."""
    small = small_problem(problem)
    path = folder / "small.safetensors"
    for line in (small, f"save {path}"):
        answer = ours.ask(line)
        if "failed" in answer or "wrong" in answer:
            raise SystemExit(f"{small}: {answer}")
    for name, peer in peers.items():
        answer = peer.ask(f"check {path} {small}")
        errors = answer.get("errors")
        if errors is None or any(not error <= FORMULA_TOLERANCE for error in errors.values()):
            raise SystemExit(f"{name} disagrees on {small}: {answer}")


def quartiles(samples):
    return statistics.quantiles(samples, n=4, method="inclusive")


def compare(ours, peers, problem, rounds, steps):
    prepared = ours.ask(problem)
    if "failed" in prepared or "wrong" in prepared:
        raise SystemExit(f"{problem}: {prepared}")
    players = [("ours", ours, "ours")]
    for name, peer in peers.items():
        variants = peer.ask(f"prepare {problem}")
        if "failed" in variants:
            raise SystemExit(f"{name}, {problem}: {variants}")
        players += [(f"{name}, {variant}", peer, variant) for variant in variants["variants"]]
    samples = {name: [] for name, _, _ in players}
    for name, player, variant in players:  # the first turn finds the iterations, compiles and warms up
        answer = player.repeat(1, variant)
        player.wait_until_idle()
        if "failed" in answer:
            raise SystemExit(f"{name}, {problem}: {answer}")
    for turn in range(rounds):
        order = players[turn % len(players) :] + players[: turn % len(players)]
        for name, player, variant in order if turn % 2 == 0 else order[::-1]:
            answer = player.repeat(steps, variant)
            player.wait_until_idle()
            if "failed" in answer:
                raise SystemExit(f"{name}, {problem}: {answer}")
            samples[name].append(statistics.median(answer["seconds"]))
    result = {"problem": problem, "rounds": rounds, "steps": steps}
    result |= {key: prepared[key] for key in ("operations", "bytes", "hardware")}
    mine = samples["ours"]
    result["variants"] = {}
    for name, seconds in samples.items():
        low, middle, high = quartiles(seconds)
        entry = {"seconds": {"median": middle, "quartiles": [low, high]}}
        if name != "ours":
            ratios = quartiles([theirs / ours_ for theirs, ours_ in zip(seconds, mine)])
            entry["ratio"] = {"of_medians": middle / statistics.median(mine), "quartiles": [ratios[0], ratios[2]]}
        result["variants"][name] = entry
    return result


def describe(result):
    parts = []
    for name, entry in result["variants"].items():
        if "ratio" in entry:
            low, high = entry["ratio"]["quartiles"]
            parts.append(f"{name} {entry['ratio']['of_medians']:.2f} ({low:.2f} to {high:.2f})")
    return f"{result['problem']}: " + "; ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="problem files")
    parser.add_argument("--bench", required=True, help="the program metalloid-bench")
    parser.add_argument("--output", help="file for the JSON lines")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a turn; their median counts")
    arguments = parser.parse_args()

    allowed = sorted(os.sched_getaffinity(0))
    if arguments.threads > len(allowed):
        parser.error(f"{arguments.threads} threads, but {len(allowed)} processors are allowed")
    os.sched_setaffinity(0, allowed[: arguments.threads])  # every process started from here inherits it

    ours = Ours(arguments.bench, arguments.threads)
    torch = Peer("torch_peer", arguments.threads, {})
    reused = Peer("torch_peer", arguments.threads, REUSE_MEMORY)
    jax = Peer("jax_peer", arguments.threads, {})
    numpy = Peer("numpy_peer", arguments.threads, {})
    output = open(arguments.output, "w") if arguments.output else None
    versions = {"PyTorch": torch.name, "JAX": jax.name, "NumPy": numpy.name}
    with tempfile.TemporaryDirectory() as folder:
        for problem in read_problems(arguments.files):
            operation, _, *words = problem.split()
            if "float16" in words or "bfloat16" in words:
                print(f"{problem}: left out, the peers compute in float32", flush=True)
                continue
            peers = {"PyTorch": torch}
            if operation.startswith(("neuron", "batch", "convolution", "pooling", "image")):
                peers["PyTorch with reused memory"] = reused
            if operation.startswith(("training", "fully")):
                peers["JAX"] = jax
            if operation.startswith("fully"):
                peers["NumPy"] = numpy
            check_formulas(ours, peers, problem, pathlib.Path(folder))
            result = compare(ours, peers, problem, arguments.rounds, arguments.steps)
            result |= {"threads": arguments.threads, "versions": versions}
            print(describe(result), flush=True)
            if output:
                print(json.dumps(result), file=output, flush=True)
    for process in (ours, torch, reused, jax, numpy):
        process.close()


if __name__ == "__main__":
    main()
