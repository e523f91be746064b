"""Writes the tables of docs/results.md from the JSON lines of peers.py, train_peers.py and product_errors.py.

    python3 make_results.py cpu.jsonl train.jsonl --markdown docs/results.md
    python3 make_results.py gpu.jsonl train.jsonl errors.jsonl --markdown docs/gpu-results.md

Each table stands between <!-- begin NAME --> and <!-- end NAME -->; tables without data stay as they are. Without
--markdown the tables are printed. Tables of GPUs have names that begin with gpu_, and absolute times.
"""

import argparse
import json
import pathlib
import re
import statistics


def row(cells):
    return "| " + " | ".join(cells) + " |"


def table(head, rows):
    return "\n".join([row(head), row(["---"] * len(head)), *map(row, rows)]) if rows else ""


def cell(ratio):
    low, high = ratio["quartiles"]
    return f"{ratio['of_medians']:.2f} ({low:.2f}–{high:.2f})"


def ratio_of(line, variant):
    entry = line["variants"].get(variant)
    return cell(entry["ratio"]) if entry else ""


def of(lines, operation):
    return [line for line in lines if line["problem"].split()[0] == operation]


def what(line):
    """Operation, sizes, and the words that tell it from others."""
    operation, sizes, *words = line["problem"].split()
    said = ("float32", "cold")
    return operation, sizes.replace("x", "×"), [w for w in words if w not in said and not w.startswith(("aim=", "peers="))]


def fastest(line, wanted):
    """The fastest of the variants whose name satisfies a condition."""
    found = [(entry["ratio"]["of_medians"], name) for name, entry in line["variants"].items() if wanted(name)]
    name = min(found)[1]
    return f"{cell(line['variants'][name]['ratio'])} {name.split(',')[0]}"


def fully_connected(lines):
    rows = []
    for line in lines:
        operation, sizes, _ = what(line)
        if operation.startswith("fully_connected"):
            kind = "gradient" if operation.endswith("gradient") else "forward"
            ours = line["operations"] / line["variants"]["ours"]["seconds"]["median"] * 1e-9
            rows.append([sizes, kind, ratio_of(line, "PyTorch, eager"), ratio_of(line, "JAX, jit"),
                         fastest(line, lambda name: name.endswith("plain product")), f"{ours:.0f}"])
    return table(["batch×inputs×outputs", "", "PyTorch eager", "JAX", "fastest plain product", "our GFLOP/s"], rows)


def bandwidth(line, variant):
    return line["bytes"] / line["variants"][variant]["seconds"]["median"]


def neuron_gradient(lines):
    copies = {}
    for line in of(lines, "copy"):
        size = what(line)[1]
        copies[size] = max(copies.get(size, 0), *(bandwidth(line, variant) for variant in line["variants"]))
    rows = []
    for line in of(lines, "neuron_gradient"):
        _, sizes, words = what(line)
        ceiling = copies.get(sizes)
        share = f"{100 * bandwidth(line, 'ours') / ceiling:.0f} %" if ceiling else ""
        rows.append([words[0], sizes, ratio_of(line, "PyTorch, eager"),
                     ratio_of(line, "PyTorch with reused memory, eager"), share])
    return table(["neuron", "size", "PyTorch eager", "PyTorch with reused memory", "of copy bandwidth"], rows)


def batch_normalization(lines):
    rows = []
    for line in lines:
        operation, sizes, _ = what(line)
        if operation.startswith("batch_normalization"):
            kind = "gradient" if operation.endswith("gradient") else "forward"
            rows.append([sizes, kind, ratio_of(line, "PyTorch, eager"),
                         ratio_of(line, "PyTorch with reused memory, eager")])
    return table(["size", "", "PyTorch eager", "PyTorch with reused memory"], rows)


def image_kernels(lines, operation, size_name):
    """A row for each problem, with PyTorch in the faster of its layouts."""
    rows = []
    for line in lines:
        name, sizes, words = what(line)
        if name not in (operation, operation + "_gradient"):
            continue
        kind = "gradient" if name.endswith("gradient") else "forward"
        plain = fastest(line, lambda variant: variant.startswith("PyTorch, "))
        reused = fastest(line, lambda variant: variant.startswith("PyTorch with reused memory"))
        rate = line["operations"] or line["bytes"]
        ours = rate / line["variants"]["ours"]["seconds"]["median"] * 1e-9
        rows.append([sizes, " ".join(words), kind, plain.replace(" PyTorch", ""),
                     reused.replace(" PyTorch with reused memory", ""), f"{ours:.0f}"])
    unit = "GFLOP/s" if operation == "convolution" else "GB/s"
    return table([size_name, "", "", "PyTorch, faster layout", "with reused memory", f"our {unit}"], rows)


def convolution(lines):
    return image_kernels(lines, "convolution", "batch×height×width×inputs×outputs")


def pooling(lines):
    return image_kernels(lines, "pooling", "batch×height×width×channels")


def image_batch_normalization(lines):
    return image_kernels(lines, "image_batch_normalization", "batch×height×width×channels")


def training_step(lines):
    variants = ["PyTorch, eager", "PyTorch, eager, fused optimizer", "PyTorch, torch.compile", "JAX, jit"]
    rows = []
    for line in of(lines, "training_step"):
        _, sizes, words = what(line)
        rows.append([sizes, words[0].removeprefix("batch="), *(ratio_of(line, variant) for variant in variants)])
    return table(["network", "batch", *variants], rows)


def training_run(lines):
    rows = []
    for line in of(lines, "training_run"):
        accuracy = line["test_accuracy"]
        rows.append([line["problem"].removeprefix("training_run "),
                     *(f"{r['of_medians']:.2f} ({r['smallest']:.2f}–{r['largest']:.2f})"
                       for r in (line["time_ratio"], line["step_ratio"])),
                     f"{line['memory_ratio']:.1f}",
                     f"{100 * accuracy['ours']:.2f} %", f"{100 * accuracy['PyTorch']:.2f} %"])
    head = ["run", *(f"{what}, PyTorch/ours" for what in ("time", "a step", "peak memory")),
            *(f"accuracy, {whose}" for whose in ("ours", "PyTorch"))]
    return table(head, rows)


def conditions(lines):
    line = next((line for line in lines if "versions" in line), None)
    if line is None:
        return ""
    versions = ", ".join(line["versions"].values())
    return f"{line['hardware']}; {line['rounds']} rounds of {line['steps']} steps; {versions}."


def milliseconds(line, *variants):
    """The median of the first of these variants that there is, with the quartiles."""
    for variant in variants:
        if variant in line["variants"]:
            seconds = line["variants"][variant]["seconds"]
            median, low, high = (f"{1e3 * value:.4g}" for value in (seconds["median"], *seconds["quartiles"]))
            return f"{median} ({low}–{high})"
    return ""


def seconds_of(line, wanted):
    """Of the fastest of the variants whose name satisfies a condition; nothing where there is none."""
    return min((v["seconds"]["median"] for name, v in line["variants"].items() if wanted(name)), default=None)


def aim(line):
    """What targets a problem's word aim=0.29ms, aim=300TFLOP/s or aim=0.98plain sets."""
    text = next((word.removeprefix("aim=") for word in line["problem"].split() if word.startswith("aim=")), "")
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzFLOPT/")
    units = {"ms": f"≤ {number} ms", "TFLOP/s": f"≥ {number} TFLOP/s", "plain": f"≥ {100 * float(number or 0):.0f} % of plain"}
    return units.get(text.removeprefix(number), "")


def type_of(line):
    words = line["problem"].split()
    type_ = next((word for word in words if word in ("float16", "bfloat16")), "float32")
    return type_ + (", reduced" if "reduced" in words else "")


def teraflops(line, seconds):
    return line["operations"] / seconds * 1e-12


def gpu_ceilings(lines):
    """Copies and plain products: ours (the product with a bias), and the fastest peer's."""
    rows = []
    for line in of(lines, "copy") + of(lines, "fully_connected"):
        operation, sizes, _ = what(line)
        amount, unit = (line["bytes"], "TB/s") if operation == "copy" else (line["operations"], "TFLOP/s")
        ours = line["variants"]["ours"]["seconds"]["median"]
        peer = seconds_of(line, lambda name: name.endswith(("plain product", "copy_")))
        rows.append(["copy" if operation == "copy" else "product", sizes, type_of(line),
                     *(f"{amount / seconds * 1e-12:.3g} {unit}" if seconds else "" for seconds in (ours, peer))])
    return table(["", "size", "type", "ours", "fastest peer"], rows)


def of_copy(lines, line):
    """Our bandwidth as a share of the fastest copy of that size and type."""
    copies = [copy for copy in of(lines, "copy") if what(copy)[1:] == (what(line)[1], sixteen_bits(line))]
    ceiling = max((bandwidth(copy, variant) for copy in copies for variant in copy["variants"]), default=None)
    return f"{100 * bandwidth(line, 'ours') / ceiling:.0f} %" if ceiling else ""


def sixteen_bits(line):
    return [word for word in what(line)[2] if word in ("float16", "bfloat16")]


def gpu_memory_bound(lines, operation, kind):
    rows = []
    for line in lines:
        if not what(line)[0].startswith(operation):
            continue
        rows.append([kind(line), what(line)[1], type_of(line), milliseconds(line, "ours"), aim(line),
                     milliseconds(line, "PyTorch, eager"), milliseconds(line, "PyTorch, torch.compile"),
                     f"{bandwidth(line, 'ours') * 1e-9:.0f}", of_copy(lines, line)])
    return table(["", "size", "type", "ours, ms", "aim", "PyTorch eager, ms", "torch.compile, ms", "our GB/s", "of copy"],
                 rows)


def forward_or_gradient(line):
    return "gradient" if what(line)[0].endswith("gradient") else "forward"


def gpu_neuron_gradient(lines):
    return gpu_memory_bound(lines, "neuron_gradient", lambda line: what(line)[2][0])


def gpu_batch_normalization(lines):
    return gpu_memory_bound(lines, "batch_normalization", forward_or_gradient)


def gpu_fully_connected(lines):
    rows = []
    for line in of(lines, "fully_connected_gradient"):
        ours = line["variants"]["ours"]["seconds"]["median"]
        plain = seconds_of(line, lambda name: name.endswith("plain product"))
        rows.append([what(line)[1], type_of(line), milliseconds(line, "ours"), aim(line),
                     *(milliseconds(line, variant) for variant in ("PyTorch, eager", "PyTorch, torch.compile",
                                                                   "PyTorch, CUDA graph", "JAX, jit")),
                     f"{1e3 * plain:.4g}" if plain else "", f"{teraflops(line, ours):.0f}",
                     f"{100 * plain / ours:.0f} %" if plain else ""])
    return table(["batch×inputs×outputs", "type", "ours, ms", "aim", "PyTorch eager, ms", "torch.compile, ms",
                  "CUDA graph, ms", "JAX, ms", "plain products, ms", "our TFLOP/s", "of plain"], rows)


def gpu_training_step(lines):
    rows = []
    for line in lines:
        operation, sizes, words = what(line)
        if operation not in ("training_step", "graph_training_step"):
            continue
        ours = line["variants"]["ours"]["seconds"]["median"]
        fastest_peer = seconds_of(line, lambda name: name != "ours")
        rows.append(["lenet" if operation.startswith("graph") else sizes, words[0].removeprefix("batch="),
                     milliseconds(line, "ours"), aim(line),
                     milliseconds(line, "PyTorch, eager, fused optimizer", "PyTorch, eager"),
                     *(milliseconds(line, v) for v in ("PyTorch, torch.compile", "PyTorch, CUDA graph", "JAX, jit")),
                     f"{fastest_peer / ours:.2f}" if fastest_peer else ""])
    return table(["network", "batch", "ours, ms", "aim", "PyTorch eager, ms", "torch.compile, ms", "CUDA graph, ms",
                  "JAX, ms", "fastest peer/ours"], rows)


def gpu_convolution(lines):
    rows = []
    for line in lines:
        operation, sizes, words = what(line)
        if operation not in ("convolution", "convolution_gradient"):
            continue
        ours = line["variants"]["ours"]["seconds"]["median"]
        peer = seconds_of(line, lambda name: name != "ours")
        rows.append([sizes, " ".join(words), forward_or_gradient(line), milliseconds(line, "ours"),
                     milliseconds(line, "PyTorch, eager"), milliseconds(line, "PyTorch, eager, channels last"),
                     f"{peer / ours:.2f}" if peer else "", f"{teraflops(line, ours):.1f}"])
    return table(["batch×height×width×inputs×outputs", "", "", "ours, ms", "PyTorch, ms", "channels last, ms",
                  "faster layout/ours", "our TFLOP/s"], rows)


def gpu_training_run(lines):
    rows = []
    for line in of(lines, "training_run"):
        def median(whose, key):
            return statistics.median(run[key] for run in line["runs"][whose])

        times = [f"{median(whose, key):.2f}" for key in ("training_seconds", "seconds") for whose in ("ours", "PyTorch")]
        accuracies = [f"{100 * line['test_accuracy'][whose]:.2f} %" for whose in ("ours", "PyTorch")]
        rows.append([line["problem"].removeprefix("training_run "), *times, *accuracies])
    return table(["run", *(f"{what_}, {whose}" for what_ in ("training, s", "whole process, s", "accuracy")
                           for whose in ("ours", "PyTorch"))], rows)


def gpu_product_error(lines):
    rows = []
    for line in of(lines, "product_error"):
        _, sizes, words = what(line)
        plain, split = (line["largest_error"][path] for path in ("plain", "split"))
        known = plain and split is not None  # null: not finite
        rows.append([sizes, words[0], *(f"{error:.3g}" if error is not None else "not finite" for error in (plain, split)),
                     f"{split / plain:.2f}" if known else ""])
    return table(["rows×columns×terms", "factors", "plain", "split", "split/plain"], rows)


CPU_TABLES = {f.__name__: f for f in (conditions, fully_connected, neuron_gradient, batch_normalization, convolution, pooling,
                                      image_batch_normalization, training_step, training_run)}
GPU_TABLES = {"gpu_conditions": conditions}
GPU_TABLES |= {f.__name__: f for f in (gpu_ceilings, gpu_neuron_gradient, gpu_batch_normalization, gpu_fully_connected,
                                       gpu_training_step, gpu_convolution, gpu_training_run, gpu_product_error)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="JSON lines")
    parser.add_argument("--markdown", type=pathlib.Path, help="document whose tables are replaced")
    arguments = parser.parse_args()
    lines = [json.loads(text) for file in arguments.files for text in pathlib.Path(file).read_text().splitlines()]
    document = arguments.markdown.read_text() if arguments.markdown else None
    cpu = [line for line in lines if line.get("device", "cpu") == "cpu"]
    gpu = [line for line in lines if line.get("device", "cpu") != "cpu"]
    tables = [(name, make(cpu)) for name, make in CPU_TABLES.items()]
    tables += [(name, make(gpu)) for name, make in GPU_TABLES.items()]
    for name, text in tables:
        if not text:
            continue
        if document is None:
            print(f"{name}\n\n{text}\n")
            continue
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        document, count = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", document)
        if count != 1:
            raise SystemExit(f"{arguments.markdown} has {count} places for the table {name}")
    if document is not None:
        arguments.markdown.write_text(document)


if __name__ == "__main__":
    main()
