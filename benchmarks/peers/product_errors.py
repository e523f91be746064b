"""The errors of float32 products with and without the products that are split over tensor cores.

    python3 product_errors.py --bench build/release/bin/metalloid-bench --device cuda:0 --output errors.jsonl \\
        problems/gpu/product_error.txt

Written are JSON lines: for each problem the largest |C - C64| / (|A| * |B|) over the checked elements, `plain` with
METALLOID_CUDA_SPLIT_PRODUCTS=0 and `split` with 1.
"""

import argparse
import json
import pathlib

from peers import Process, read_problems


def errors(bench, device, problems, environment):
    """The answer to each problem."""
    process = Process([bench, "--serve", "--device", device], environment)
    answers = [process.ask(problem) for problem in problems]
    process.close()
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="problem files")
    parser.add_argument("--bench", required=True, help="the program metalloid-bench")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--output", type=pathlib.Path, help="file for the JSON lines")
    arguments = parser.parse_args()
    problems = list(read_problems(arguments.files))
    plain = errors(arguments.bench, arguments.device, problems, {"METALLOID_CUDA_SPLIT_PRODUCTS": "0"})
    split = errors(arguments.bench, arguments.device, problems, {"METALLOID_CUDA_SPLIT_PRODUCTS": "1"})
    lines = []
    for problem, *answers in zip(problems, plain, split):
        failed = [answer for answer in answers if "failed" in answer]
        if failed:
            raise SystemExit(f"{problem}: {failed[0]}")
        line = {"problem": problem, "device": arguments.device, "hardware": answers[0]["hardware"]}
        line["largest_error"] = {"plain": answers[0]["largest_error"], "split": answers[1]["largest_error"]}
        line["wrong"] = any("wrong" in answer for answer in answers)
        print(json.dumps(line), flush=True)
        lines.append(line)
    if arguments.output:
        arguments.output.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
