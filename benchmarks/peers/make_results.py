"""Writes the tables of docs/results.md from the JSON lines of cpu_peers.py and train_peers.py.

    python3 make_results.py cpu.jsonl train.jsonl --markdown docs/results.md

Each table stands between <!-- begin NAME --> and <!-- end NAME -->; tables without data stay as they are. Without
--markdown the tables are printed.
"""

import argparse
import json
import pathlib
import re


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
    operation, sizes, *words = line["problem"].split()
    return operation, sizes.replace("x", "×"), [word for word in words if word != "float32"]


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


TABLES = {f.__name__: f for f in (conditions, fully_connected, neuron_gradient, batch_normalization, convolution, pooling,
                                  image_batch_normalization, training_step, training_run)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="JSON lines")
    parser.add_argument("--markdown", type=pathlib.Path, help="document whose tables are replaced")
    arguments = parser.parse_args()
    lines = [json.loads(text) for file in arguments.files for text in pathlib.Path(file).read_text().splitlines()]
    document = arguments.markdown.read_text() if arguments.markdown else None
    for name, make in TABLES.items():
        text = make(lines)
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
