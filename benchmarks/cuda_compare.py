#!/usr/bin/env python3
"""A net's training step here and in PyTorch on the same GPU: the same net, batch, precision and update.

PyTorch is taken eager and compiled (torch.compile, mode "reduce-overhead", which records CUDA graphs). Each contender
is taken in the better of its two memory layouts. Blocks of steps alternate between the contenders, one of them working
at a time. Steps are timed one by one, where each is waited for, and together, where only the last is. A step takes at
least as long as the GPU takes for its products, by the rate of a large matrix product, and for what it reads and writes
at least, by the rate of a copy; both rates are measured before.

Prints the table of docs/cuda.md; what it is doing meanwhile goes to stderr.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from compare_pytorch import LAYOUTS, ROOT, Contender, has_torch, torch_python

WORKER = Path(__file__).with_name("torch_step.py")
KINDS = {"eager": [], "compiled": ["--compile"]}
ORDERS = ["nchw", "nhwc"]
FLAGS = {"f32": ["--strict"], "tf32": [], "bf16": ["--bf16"]}
MEASURES = ["one by one", "together"]


@dataclass(frozen=True)
class Case:
    name: str
    net: str
    batch: int
    precision: str
    steps: int  # in a block, so that one takes some seconds at most


CASES = [
    Case("lenet-strict", "lenet", 64, "f32", 200),
    Case("lenet-tf32", "lenet", 64, "tf32", 200),
    Case("caffenet-tf32", "caffenet", 256, "tf32", 20),
    Case("resnet50-tf32", "resnet50", 256, "tf32", 8),
    Case("caffenet-bf16", "caffenet", 256, "bf16", 20),
    Case("resnet50-bf16", "resnet50", 256, "bf16", 8),
]


class Broken(Exception):
    """A contender ended."""


def fail(message: str) -> None:
    sys.exit(f"cuda_compare: {message}")


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


class GpuContender(Contender):
    """One that also times steps that are asked for together. Its `rounds` are those that were waited for."""

    def __init__(self, name: str, command: list[str | Path]) -> None:
        self.together: list[float] = []
        super().__init__(name, command, dict(os.environ))
        say(f"  {self.description}")

    def answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if not line:
            raise Broken(f"{self.name} ended with exit status {self.process.wait()}")
        return line

    def block(self, steps: int, count: bool) -> float:
        """Returns the mean time of the steps that were asked for together."""
        assert self.process.stdin
        try:
            self.process.stdin.write(f"step {self.warm_up + steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Broken(f"{self.name} ended with exit status {self.process.wait()}") from None
        loss, *times, together = (float(word) for word in self.answer().split())
        if not loss < float("inf"):
            raise Broken(f"{self.name} does not learn: its loss is {loss}")
        self.losses.append(loss)
        if count:
            self.rounds.append(times[self.warm_up :])
            self.together.append(together)
        return together

    def close(self) -> None:
        try:
            super().close()
        except BrokenPipeError:
            self.process.wait()

    def times(self, measure: str) -> list[float]:
        """One for each round."""
        return [statistics.median(block) for block in self.rounds] if measure == MEASURES[0] else self.together

    def libraries(self) -> dict[str, str]:
        """The versions in the names of the files it has loaded."""
        maps = Path(f"/proc/{self.process.pid}/maps").read_text()
        return dict(re.findall(r"/lib(cublas|cudnn|nccl)\.so\.([\d.]+)", maps))


def quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive")  # rounds are few: none beyond what was seen


def gpu_driver(index: int) -> str:
    """The version of the NVIDIA driver; ends the program where there is no such GPU."""
    count = ctypes.c_int(0)
    hint = "; --dry-run tests the script on the CPU"
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        fail(f"there is no NVIDIA driver here, so no GPU to compare on{hint}")
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value <= index:
        fail(f"the NVIDIA driver gives {count.value} GPUs, and cuda:{index} was asked for{hint}")
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True)
        return answer.stdout.split()[0] if answer.returncode == 0 and answer.stdout.strip() else "unknown"
    except OSError:
        version = Path("/proc/driver/nvidia/version")
        found = re.search(r"\d+\.\d+(\.\d+)?", version.read_text()) if version.exists() else None
        return found.group() if found else "unknown"


def find_python(args: argparse.Namespace) -> Path:
    """An interpreter with PyTorch: --venv's, this one, or that of build/torch-venv."""
    venv = args.venv or ROOT / "build" / "torch-venv"
    if not args.venv and has_torch(Path(sys.executable)):
        return Path(sys.executable)
    if args.dry_run:
        return torch_python(venv)  # which may install PyTorch for the CPU
    python = venv / "bin" / "python"
    if not has_torch(python):
        fail(f"no PyTorch in {sys.executable} nor in {venv}; --venv DIR takes an environment that has it, for CUDA")
    return python


def start_best(name: str, command: list[str | Path], layouts: dict[str, list[str]], steps: int) -> GpuContender | None:
    """In the layout in which it is faster, each of which has its options; None where it runs in none."""
    best, best_ms = None, float("inf")
    for layout, options in layouts.items():
        contender = None
        try:
            contender = GpuContender(f"{name} ({layout})", command + options)
            contender.block(steps, count=False)
            ms = contender.block(steps, count=False)
        except Broken as broken:
            say(f"  {broken}")
            if contender:
                contender.close()
            continue
        say(f"    {ms:.4g} ms")
        if ms < best_ms:
            best, contender, best_ms = contender, best, ms
        if contender:
            contender.close()
    return best


def measure(case: Case, python: Path, step: Path, limits: dict, args: argparse.Namespace) -> dict:
    steps = args.steps or case.steps
    say(f"{case.name}: {args.rounds} rounds of {steps} steps")
    theirs: dict[str, GpuContender] = {}
    ours = None
    try:
        common = ["--net", case.net, "--batch", str(case.batch), "--device", args.device]
        orders = {order: [f"--{order}", *FLAGS[case.precision]] for order in ORDERS}
        ours = start_best("sparknet", [step, *common], {"nchw": []} if args.device == "cpu" else orders, steps)
        if not ours:
            raise Broken("sparknet runs in no layout")
        libraries = ours.libraries()
        for kind, options in KINDS.items():
            worker = [python, WORKER, *common, "--precision", case.precision, *options]
            contender = start_best(f"PyTorch {kind}", worker, {x: ["--layout", x] for x in LAYOUTS}, steps)
            if contender:
                theirs[kind] = contender
        contenders = [ours, *theirs.values()]
        for number in range(args.rounds):
            for i in range(len(contenders)):
                contenders[(number + i) % len(contenders)].block(steps, count=True)
    finally:
        for contender in [ours, *theirs.values()]:
            if contender:
                contender.close()
    say("  loss: " + ", ".join(f"{c.name} {c.losses[0]:.3f} -> {c.losses[-1]:.3f}" for c in contenders))

    flop, size = (float(x) for x in re.search(r"(\S+) FLOP and (\S+) bytes a step", ours.description).groups())
    least = {
        "products_ms": flop / limits["matrix_flop_per_second"][case.precision] * 1e3,
        "memory_ms": size / limits["copy_bytes_per_second"] * 1e3,
    }
    result = {
        "case": case.name,
        "batch": case.batch,
        "precision": case.precision,
        "steps": steps,
        "flop": flop,
        "bytes": size,
        "at_least": least,
        "libraries": libraries,
        "failed": [kind for kind in KINDS if kind not in theirs],
        "contenders": [
            {
                "name": c.name,
                "description": c.description,
                "median_ms": {name: statistics.median(c.times(name)) for name in MEASURES},
                "quartiles_ms": {name: quartiles(c.times(name)) for name in MEASURES},
                "losses": c.losses,
                "ms": c.rounds,
                "together_ms": c.together,
            }
            for c in contenders
        ],
    }
    result["ratios"] = {}
    for name in MEASURES if theirs else []:
        best = min(theirs.values(), key=lambda c: statistics.median(c.times(name)))
        ratios = [a / b for a, b in zip(ours.times(name), best.times(name))]
        low, middle, high = quartiles(ratios)
        result["ratios"][name] = {"best": best.name, "ratio": middle, "quartiles": [low, high]}
    return result


def rows(case: Case, result: dict) -> list[str]:
    """Of the table."""
    if "error" in result:
        return [f"| {case.name} | {case.batch} | | failed | | | | |"]
    least = result["at_least"]
    floor = max(least.values())

    def cell(name: str, kind: str) -> str:
        for contender in result["contenders"]:
            if contender["name"].startswith(kind):
                ms = contender["median_ms"][name]
                layout = re.search(r"\(.*\)", contender["name"])
                return f"{ms:.4g} ms, {floor / ms:.0%}" + (f" {layout.group()}" if layout else "")
        return "failed"

    def versus(name: str) -> str:
        if name not in result["ratios"]:
            return ""
        ratio = result["ratios"][name]
        low, high = ratio["quartiles"]
        return f"{ratio['ratio']:.2f} ({low:.2f} to {high:.2f})"

    return [
        f"| {case.name} | {result['batch']} | {name} | {cell(name, 'sparknet')} | {cell(name, 'PyTorch eager')} "
        f"| {cell(name, 'PyTorch compiled')} | {versus(name)} "
        f"| {least['products_ms']:.3g} ms, {least['memory_ms']:.3g} ms |"
        for name in MEASURES
    ]


def print_table(lines: list[str], limits: dict, driver: str, libraries: dict, args: argparse.Namespace) -> None:
    if args.dry_run:
        print("**A dry run on the CPU: these figures say nothing.**\n")
    names = {"cublas": "cuBLAS", "cudnn": "cuDNN", "nccl": "NCCL"}
    own = ", ".join(f"{names[name]} {version}" for name, version in sorted(libraries.items()))
    cudnn = limits["cudnn"] or 0
    cudnn = f"{cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}"
    print(f"{datetime.date.today()}, GPU {limits['gpu']}, driver {driver}; sparknet{' with ' + own if own else ''};")
    print(f"PyTorch {limits['torch']} with CUDA {limits['cuda']}, cuDNN {cudnn}. Matrix products:")
    rates = ", ".join(f"{name} {rate * 1e-12:.3g} TFLOP/s" for name, rate in limits["matrix_flop_per_second"].items())
    print(f"{rates}; a copy: {limits['copy_bytes_per_second'] * 1e-9:.4g} GB/s. Medians of {args.rounds} rounds.\n")
    print(
        "| case | batch | steps | sparknet | PyTorch eager | PyTorch compiled | ours / best (middle half) "
        "| at least: products, memory |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))
    print("\nA percentage is the larger of the two times that a step takes at least, of the time it took.", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"what to measure: {', '.join(names)} (all)")
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    parser.add_argument("--dry-run", action="store_true", help="a few steps of tiny batches on the CPU, as a test")
    parser.add_argument("--device", default="cuda:0", help="the GPU: cuda or cuda:N (cuda:0)")
    parser.add_argument("--rounds", type=int, default=7, help="blocks of each contender (7)")
    parser.add_argument("--steps", type=int, help="steps in a block, each way (200 of LeNet, 20 or 8 of others)")
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build" / "release", help="build tree (build/release)")
    parser.add_argument("--venv", type=Path, help="where PyTorch is (this Python's, or build/torch-venv)")
    parser.add_argument("--json", type=Path, help="write every time measured to this file")
    args = parser.parse_args()
    if unknown := [name for name in args.cases if name not in names]:
        parser.error(f"there is no case {unknown[0]}: {', '.join(names)}")
    if not re.fullmatch(r"cuda(:\d{1,3})?", args.device):
        parser.error(f"--device {args.device} is no GPU: cuda or cuda:N")
    if args.rounds < 2 or (args.steps is not None and args.steps < 1):
        parser.error("--rounds is at least 2, --steps at least 1")
    return args


def main() -> None:
    args = parse()
    if args.list:
        for case in CASES:
            print(f"{case.name:14} batch {case.batch:3}  {case.precision}")
        return
    cases = [case for case in CASES if not args.cases or case.name in args.cases]
    driver = "none"
    if args.dry_run:
        args.device, args.rounds, args.steps = "cpu", 2, 2
        cases = [Case(case.name, case.net, 4, case.precision, 2) for case in cases]
    else:
        driver = gpu_driver(int(args.device.partition(":")[2] or 0))
    step = args.build_dir / "bin" / "net_step"
    if not step.exists():
        fail(
            f"{step} is not built; it needs Google Benchmark and CLI11 (Debian: libbenchmark-dev libcli11-dev), then\n"
            "  cmake --preset release && cmake --build --preset release --target net_step sparknet_gpu"
        )
    python = find_python(args)
    answer = subprocess.run([python, WORKER, "--rates", "--device", args.device], stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        fail(f"{python} cannot measure what the device can do")
    limits = json.loads(answer.stdout)

    lines, results = [], []
    for case in cases:
        try:
            result = measure(case, python, step, limits, args)
        except Broken as broken:
            say(f"cuda_compare: {case.name}: {broken}")
            result = {"case": case.name, "error": str(broken)}
        results.append(result)
        lines += rows(case, result)
        if args.json:  # after each case, for a run that is cut short
            machine = {"platform": platform.platform(), "cores": os.cpu_count(), "driver": driver, **limits}
            date = str(datetime.date.today())
            written = {"date": date, "dry_run": args.dry_run, "machine": machine, "cases": results}
            args.json.write_text(json.dumps(written, indent=1) + "\n")
    libraries = next((result["libraries"] for result in results if "libraries" in result), {})
    print_table(lines, limits, driver, libraries, args)
    if any("error" in result or result["failed"] for result in results):
        fail("not every contender ran")


if __name__ == "__main__":
    main()
