"""Compares metalloid-bench with PyTorch, JAX and NumPy on one device, in one run.

    python3 peers.py --bench build/release/bin/metalloid-bench --output cpu.jsonl problems/*.txt
    python3 peers.py --bench build/release/bin/metalloid-bench --device cuda:0 --output gpu.jsonl problems/gpu/*.txt

Every library works in a process of its own; on the CPU with the same number of threads on the same processors. For each
problem the processes take turns, round after round, in an order that alternates; the others wait meanwhile, and between
two turns everybody rests until threads have stopped spinning. Before, each formula of a peer is compared with our results
for the same values on a small problem of the same kind. "Reused memory" is PyTorch with an allocator that never gives
memory back to the system: its results then cost no page faults, as ours do not. GPUs have no such thing, and no NumPy.

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
# Other types are rounded a few times on the way; `reduced` products have factors of 11 bits, as many as float16 has.
FORMULA_TOLERANCE = 1e-4
WORD_TOLERANCES = {"float16": 8 * 2**-11, "bfloat16": 8 * 2**-8, "reduced": 8 * 2**-11}

SMALL_SIZES = {"graph_training_step": "28x28x1",
               "fully_connected": "96x80x48", "fully_connected_gradient": "96x80x48", "training_step": "784-64-48-10",
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
        raise RuntimeError(f"{self.process.args}: still busy {LONGEST_REST_SECONDS} s after its turn")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours(Process):
    def __init__(self, bench, device, threads):
        super().__init__([bench, "--serve", "--device", device], {"METALLOID_THREADS": str(threads)})

    def repeat(self, steps, variant):
        return self.ask(f"repeat {steps}")


class Peer(Process):
    def __init__(self, module, device, threads, environment):
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        limits |= {"OPENBLAS_NUM_THREADS": str(threads), "JAX_PLATFORMS": device.partition(":")[0]}
        limits |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # the other processes need memory of the device, too
        super().__init__([sys.executable, str(HERE / "worker.py"), module, device, str(threads)], limits | environment)
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
    words = [word for word in words if word != "cold" and not word.startswith("aim=")]
    if operation == "graph_training_step":
        words.append("undropped")  # masks are random
    return " ".join([operation, SMALL_SIZES.get(operation, "96x48"), *words])


def tolerance(problem):
    return max(WORD_TOLERANCES.get(word, FORMULA_TOLERANCE) for word in problem.split())


class Run:
    """Our process and those of the peers. What fails is said, left out and remembered."""

    def __init__(self, ours, rounds, steps, folder):
        self.ours, self.rounds, self.steps = ours, rounds, steps
        self.path = pathlib.Path(folder) / "small.safetensors"
        self.wrong = {}  # the variants that fail on a small problem, by that problem and the peers' names
        self.has_failed = False

    def fail(self, *what):
        print("failed:", *what, flush=True)
        self.has_failed = True

    def prepare(self, problem):
        answer = self.ours.ask(problem)
        if "failed" in answer or "wrong" in answer:
            self.fail(problem, answer)
            return None
        return answer

    def check_formulas(self, peers, small):
        """Finds the variants of peers that compute something else than we do."""
        if not peers or (small, *peers) in self.wrong or not self.prepare(small):
            return
        self.ours.ask(f"save {self.path}")
        wrong = self.wrong[(small, *peers)] = set()
        for name, peer in peers.items():
            answer = peer.ask(f"check {self.path} {small}")
            if "failed" in answer:
                self.fail(name, small, answer)
            for variant, error in answer.get("errors", {}).items():
                if not (isinstance(error, float) and error <= tolerance(small)):
                    self.fail(f"{name}, {variant} on {small}:", error)
                    wrong.add((name, variant))

    def compare(self, peers, problem):
        """The result as a dictionary; nothing where we fail."""
        small = small_problem(problem)
        self.check_formulas(peers, small)
        prepared = self.prepare(problem)
        if prepared is None:
            return None
        players = {"ours": (self.ours, "ours")}
        for name, peer in peers.items():
            answer = peer.ask(f"prepare {problem}")
            if "failed" in answer:
                self.fail(name, problem, answer)
            for variant in answer.get("variants", ()):
                if (name, variant) not in self.wrong.get((small, *peers), ()):
                    players[f"{name}, {variant}"] = (peer, variant)
        samples = self.take_turns(players, problem)
        if "ours" not in samples:
            return None
        result = {"problem": problem, "rounds": self.rounds, "steps": self.steps}
        result |= {key: prepared[key] for key in ("operations", "bytes", "device", "hardware")}
        return result | {"variants": summary(samples)}

    def turn(self, player, variant, steps):
        """Seconds of an iteration."""
        answer = player.repeat(steps, variant)
        player.wait_until_idle()
        if "failed" in answer:
            raise RuntimeError(answer["failed"])
        return statistics.median(answer["seconds"])

    def take_turns(self, players, problem):
        """The seconds of each player's turns."""
        for name in list(players):  # the first turn finds the iterations, compiles and warms up
            try:
                self.turn(*players[name], 1)
            except RuntimeError as error:
                self.fail(f"{name}, {problem}:", error)
                del players[name]
        samples = {name: [] for name in players}
        names = list(players)
        for turn in range(self.rounds):
            order = names[turn % len(names) :] + names[: turn % len(names)]
            for name in order if turn % 2 == 0 else order[::-1]:
                samples[name].append(self.turn(*players[name], self.steps))
        return samples


def quartiles(samples):
    return statistics.quantiles(samples, n=4, method="inclusive")


def summary(samples):
    mine = samples["ours"]
    variants = {}
    for name, seconds in samples.items():
        low, middle, high = quartiles(seconds)
        entry = {"seconds": {"median": middle, "quartiles": [low, high]}}
        if name != "ours":
            ratios = quartiles([theirs / ours_ for theirs, ours_ in zip(seconds, mine)])
            entry["ratio"] = {"of_medians": middle / statistics.median(mine), "quartiles": [ratios[0], ratios[2]]}
        variants[name] = entry
    return variants


def describe(result):
    parts = [f"ours {result['variants']['ours']['seconds']['median'] * 1e3:.4g} ms"]
    for name, entry in result["variants"].items():
        if "ratio" in entry:
            low, high = entry["ratio"]["quartiles"]
            parts.append(f"{name} {entry['ratio']['of_medians']:.2f} ({low:.2f} to {high:.2f})")
    return f"{result['problem']}: " + "; ".join(parts)


def start_peers(device, threads):
    """By the names that they have in results."""
    peers = {"PyTorch": Peer("torch_peer", device, threads, {}), "JAX": Peer("jax_peer", device, threads, {})}
    if device == "cpu":
        peers["PyTorch with reused memory"] = Peer("torch_peer", device, threads, REUSE_MEMORY)
        peers["NumPy"] = Peer("numpy_peer", device, threads, {})
    return peers


def names_for(operation):
    """The peers that are worth comparing."""
    names = ["PyTorch"]
    if operation.startswith(("neuron", "batch", "convolution", "pooling", "image")):
        names.append("PyTorch with reused memory")
    if operation.startswith(("training", "fully")):
        names.append("JAX")
    if operation.startswith("fully"):
        names.append("NumPy")
    return names


def limit_processors(threads):
    """Every process started from here inherits it."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise SystemExit(f"{threads} threads, but {len(allowed)} processors are allowed")
    os.sched_setaffinity(0, allowed[:threads])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="problem files")
    parser.add_argument("--bench", required=True, help="the program metalloid-bench")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    parser.add_argument("--output", help="file for the JSON lines")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a turn; their median counts")
    arguments = parser.parse_args()

    if arguments.device == "cpu":
        limit_processors(arguments.threads)
    ours = Ours(arguments.bench, arguments.device, arguments.threads)
    peers = start_peers(arguments.device, arguments.threads)
    versions = {name: peer.name for name, peer in peers.items() if " " not in name}
    output = open(arguments.output, "w") if arguments.output else None
    with tempfile.TemporaryDirectory() as folder:
        run = Run(ours, arguments.rounds, arguments.steps, folder)
        for problem in read_problems(arguments.files):
            operation, _, *words = problem.split()
            if arguments.device == "cpu" and ("float16" in words or "bfloat16" in words):
                print(f"{problem}: left out, the peers compute in float32", flush=True)
                continue
            chosen = {} if "peers=none" in words else {n: peers[n] for n in names_for(operation) if n in peers}
            result = run.compare(chosen, problem)
            if result is None:
                continue
            result |= {"threads": arguments.threads, "versions": versions}
            print(describe(result), flush=True)
            if output:
                print(json.dumps(result), file=output, flush=True)
    for process in (ours, *peers.values()):
        process.close()
    raise SystemExit(1 if run.has_failed else 0)


if __name__ == "__main__":
    main()
