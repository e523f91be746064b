"""A whole training run, process start to exit: `metalloid train` with its defaults and the same in PyTorch.

    python3 train_peers.py --metalloid build/release/bin/metalloid --output train.jsonl
    python3 train_peers.py --metalloid build/release/bin/metalloid --device cuda:0 --output train.jsonl

The programs take turns; wall time, processor time, peak of resident memory, test accuracy, the time of the training
(all epochs, without evaluations) and the training images a second (the median of the epochs) of each run are recorded.
On a GPU, PyTorch's images are in its memory.
Both read the same files, train the same network in the same batches, evaluate the test images after each epoch and save
the weights. Ours also writes checkpoints, metrics and a report, as it does by default.
"""

# Nothing but the standard library: before a child starts its program, its peak of memory is that of this process.
import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def measure(command, environment):
    """Runs a program; its last line is JSON."""
    read_end, write_end = os.pipe()
    begin = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, write_end, 1), (os.POSIX_SPAWN_CLOSE, read_end)]
    child = os.posix_spawnp(command[0], command, os.environ | environment, file_actions=actions)
    os.close(write_end)
    with os.fdopen(read_end) as output:
        lines = output.read().splitlines()
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        raise SystemExit(f"{command[0]} failed: {lines[-3:]}")
    last = json.loads(lines[-1])
    epochs = [line for line in map(json.loads, lines) if "samples_per_second" in line]
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
        "test_accuracy": last["test_accuracy"],
        "training_seconds": sum(epoch["seconds"] for epoch in epochs),
        "samples_per_second": statistics.median(epoch["samples_per_second"] for epoch in epochs),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metalloid", required=True, help="the program metalloid")
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--output", help="file for the JSON line")
    parser.add_argument("--network", choices=("mlp", "lenet"), default="mlp")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])

    runs = {"ours": [], "PyTorch": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.runs):
            common = ["--data", arguments.data, "--epochs", str(arguments.epochs), "--seed", str(seed)]
            common += ["--threads", str(arguments.threads), "--network", arguments.network]
            common += ["--device", arguments.device]
            commands = {
                "ours": [arguments.metalloid, "train", "--json", "--out", f"{folder}/run-{seed}", *common],
                "PyTorch": [sys.executable, str(HERE / "torch_train.py"), "--out", f"{folder}/{seed}.pt", *common],
            }
            for name in commands if seed % 2 == 0 else reversed(commands):
                run = measure(commands[name], {"OMP_NUM_THREADS": str(arguments.threads)})
                runs[name].append(run)
                print(f"{name}: {run['seconds']:.2f} s, {run['peak_bytes'] / 2**20:.0f} MiB, "
                      f"training {run['training_seconds']:.3f} s, accuracy {run['test_accuracy']:.4f}, "
                      f"{run['samples_per_second']:.0f} images/s", flush=True)

    def median(name, key):
        return statistics.median(run[key] for run in runs[name])

    def ratio(larger, smaller, key):
        ratios = sorted(a[key] / b[key] for a, b in zip(runs[larger], runs[smaller]))
        return {"of_medians": median(larger, key) / median(smaller, key), "smallest": ratios[0], "largest": ratios[-1]}

    result = {
        "problem": f"training_run {arguments.network} {arguments.epochs} epochs",
        "device": arguments.device,
        "threads": arguments.threads,
        "runs": runs,
        "time_ratio": ratio("PyTorch", "ours", "seconds"),
        "training_ratio": ratio("PyTorch", "ours", "training_seconds"),
        "step_ratio": ratio("ours", "PyTorch", "samples_per_second"),
        "memory_ratio": median("PyTorch", "peak_bytes") / median("ours", "peak_bytes"),
        "test_accuracy": {name: median(name, "test_accuracy") for name in runs},
    }
    print(f"time {result['time_ratio']['of_medians']:.2f}, step {result['step_ratio']['of_medians']:.2f}, "
          f"memory {result['memory_ratio']:.2f}")
    if arguments.output:
        pathlib.Path(arguments.output).write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
