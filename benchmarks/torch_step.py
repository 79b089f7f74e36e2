"""A net's training step in PyTorch, or a forward pass, by the line protocol of net_step.cc and lenet_step.cc;
compare_pytorch.py and cuda_compare.py run both.

With --rates: what the device can do at most, and the versions of everything, as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Callable

import torch
from torch import nn

MOMENTUM = 0.9
DECAY = 5e-4


class LeNet(nn.Module):
    """The net of benchmarks/lenet_workload.h."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.conv1(x), 2)
        x = nn.functional.max_pool2d(self.conv2(x), 2)
        x = nn.functional.relu(self.ip1(x.flatten(1)), inplace=True)
        return self.ip2(x)


class CaffeNet(nn.Sequential):
    """The net of examples/models/caffenet.cc."""

    norm_first = False
    ones = 1.0

    def __init__(self) -> None:
        super().__init__(
            *self.conv(3, 96, 11, stride=4),
            *self.pool_and_norm(),
            *self.conv(96, 256, 5, padding=2, groups=2, bias=self.ones),
            *self.pool_and_norm(),
            *self.conv(256, 384, 3, padding=1),
            *self.conv(384, 384, 3, padding=1, groups=2, bias=self.ones),
            *self.conv(384, 256, 3, padding=1, groups=2, bias=self.ones),
            nn.MaxPool2d(3, 2),
            nn.Flatten(),
            self.filled(nn.Linear(9216, 4096), 0.005, self.ones),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            self.filled(nn.Linear(4096, 4096), 0.005, self.ones),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            self.filled(nn.Linear(4096, 1000), 0.01, 0),
        )

    @classmethod
    def pool_and_norm(cls) -> list[nn.Module]:
        layers = [nn.MaxPool2d(3, 2), nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)]
        return layers[::-1] if cls.norm_first else layers

    @staticmethod
    def filled(layer: nn.Module, std: float, bias: float) -> nn.Module:
        nn.init.normal_(layer.weight, std=std)
        nn.init.constant_(layer.bias, bias)
        return layer

    @classmethod
    def conv(cls, inputs: int, outputs: int, kernel: int, bias: float = 0, **options: int) -> list[nn.Module]:
        return [cls.filled(nn.Conv2d(inputs, outputs, kernel, **options), 0.01, bias), nn.ReLU(inplace=True)]


class AlexNet(CaffeNet):
    """Its normalisations are before the pooling."""

    norm_first = True
    ones = 0.1


class Cifar10Quick(nn.Sequential):
    """The net of examples/models/cifar10_quick.cc."""

    def __init__(self) -> None:
        filled = CaffeNet.filled
        super().__init__(
            filled(nn.Conv2d(3, 32, 5, padding=2), 0.0001, 0),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.ReLU(inplace=True),
            filled(nn.Conv2d(32, 32, 5, padding=2), 0.01, 0),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(3, 2, ceil_mode=True),
            filled(nn.Conv2d(32, 64, 5, padding=2), 0.01, 0),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(3, 2, ceil_mode=True),
            nn.Flatten(),
            filled(nn.Linear(1024, 64), 0.1, 0),
            filled(nn.Linear(64, 10), 0.1, 0),
        )


def normalised(inputs: int, outputs: int, kernel: int, bias: bool = False, **options: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, bias=bias, **options)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, nn.BatchNorm2d(outputs)]


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        # Version 1 of the net: the stride is in the first convolution of a block.
        self.f = nn.Sequential(
            *normalised(inputs, width, 1, stride=stride),
            nn.ReLU(inplace=True),
            *normalised(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            *normalised(width, 4 * width, 1),
        )
        self.x = nn.Sequential(*normalised(inputs, 4 * width, 1, stride=stride)) if first else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.f(x)
        f += self.x(x)
        return nn.functional.relu(f, inplace=True)


class ResNet50(nn.Sequential):
    """The net of examples/models/resnet50.cc."""

    def __init__(self) -> None:
        layers = [*normalised(3, 64, 7, bias=True, stride=2, padding=3), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        inputs = 64
        for stage, blocks in enumerate([3, 4, 6, 3]):
            width = 64 << stage
            for i in range(blocks):
                layers.append(Bottleneck(inputs, width, stride=2 if stage > 0 and i == 0 else 1, first=i == 0))
                inputs = 4 * width
        fc = nn.Linear(inputs, 1000)
        nn.init.normal_(fc.weight, std=0.01)
        nn.init.zeros_(fc.bias)
        super().__init__(*layers, nn.AvgPool2d(7, 1), nn.Flatten(), fc)


class Training(nn.Module):
    """The net and its loss, so that both are compiled together."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, data: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(data), label)


# The net, the shape of an example, the number of classes, and a learning rate at which it does not get lost in noise.
NETS = {
    "lenet": (LeNet, (1, 28, 28), 10, 0.01),
    "cifar10_quick": (Cifar10Quick, (3, 32, 32), 10, 0.001),
    "caffenet": (CaffeNet, (3, 227, 227), 1000, 0.001),
    "alexnet": (AlexNet, (3, 227, 227), 1000, 0.001),
    "resnet50": (ResNet50, (3, 224, 224), 1000, 0.001),
}
CAFFE_RATES = (Cifar10Quick, CaffeNet)  # biases learn twice as fast; CaffeNet's do not decay


def make_sgd(net: nn.Module, rate: float, kind: str) -> torch.optim.SGD:
    groups: list[dict] = [{"params": list(net.parameters())}]
    if isinstance(net, CAFFE_RATES):
        weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
        biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
        decay = 0.0 if isinstance(net, CaffeNet) else DECAY
        groups = [{"params": weights}, {"params": biases, "lr": 2 * rate, "weight_decay": decay}]
    how = {"fused": kind == "fused", "foreach": kind == "foreach"}
    return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, weight_decay=DECAY, **how)


def read_digits(path: Path, batch: int, layout: torch.memory_format) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What `lenet_step --export` wrote: u8 images of 28 x 28, then u8 labels. Made ready for the net beforehand."""
    raw = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    count = raw.numel() // 785
    images = raw[: count * 784].view(count, 1, 28, 28).float().div_(256)
    labels = raw[count * 784 :].long()
    starts = range(0, count - batch + 1, batch)
    return [(images[i : i + batch].to(memory_format=layout), labels[i : i + batch]) for i in starts]


def set_precision(precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def waiter(device: torch.device) -> Callable[[], None]:
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def serve(args: argparse.Namespace, device: torch.device) -> None:
    make, shape, classes, rate = NETS[args.net]
    set_precision(args.precision)
    torch.manual_seed(1)
    layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
    net = make().to(device, memory_format=layout)
    if args.data:
        batches = read_digits(args.data, args.batch, layout)
    else:
        data = (2 * torch.rand(args.batch, *shape) - 1).to(device, memory_format=layout)
        batches = [(data, torch.randint(classes, (args.batch,)).to(device))]
    sgd = make_sgd(net, rate, args.sgd)
    run = net.eval() if args.infer else Training(net)
    if args.freeze:
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is on its way out, and faster than torch.compile here
        with torch.inference_mode(False), torch.no_grad():
            run = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(run, batches[0][0])))
    if args.compile:
        run = torch.compile(run, mode="reduce-overhead" if device.type == "cuda" else "default")
    wait = waiter(device)
    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=args.precision == "bf16")
    done = 0

    def step() -> torch.Tensor:
        nonlocal done
        data, label = batches[done % len(batches)]
        done += 1
        if args.infer:
            with torch.inference_mode():
                return run(data)[0, 0]
        sgd.zero_grad(set_to_none=True)
        if args.compile and device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        with autocast():
            loss = run(data, label)
        loss.backward()
        sgd.step()
        return loss.detach()

    step()  # compiles, which takes minutes, and lets cuDNN choose
    wait()
    kind = "torch.compile" if args.compile else "torch.jit" if args.freeze else "eager"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    how = "inference" if args.infer else f"{args.sgd} SGD"
    print(f"ready PyTorch {torch.__version__} {kind} {args.layout} {how}, {where}, {args.precision}", flush=True)
    for line in sys.stdin:
        word, count = line.split()
        steps = int(count)
        losses, times = [], []
        for _ in range(steps):
            start = time.perf_counter()
            loss = step()
            if device.type == "cuda":
                loss = loss.item()
                wait()
            times.append((time.perf_counter() - start) * 1e3)
            losses.append(loss)
        if word == "step" and steps > 1:
            start = time.perf_counter()
            for _ in range(steps):
                step()
            wait()
            times.append((time.perf_counter() - start) * 1e3 / steps)
        mean = sum(float(loss) for loss in losses) / steps
        print(f"{mean:.6f}", *(f"{t:.4f}" for t in times), flush=True)
        if device.type == "cuda" and not args.compile:
            sgd.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()  # the others need the memory meanwhile; recorded graphs must keep theirs


def seconds_of(work: Callable[[], object], wait: Callable[[], None]) -> float:
    """Of one of ten that run one behind the other, the median of several times."""
    times = []
    for _ in range(6):
        wait()
        start = time.perf_counter()
        for _ in range(10):
            work()
        wait()
        times.append((time.perf_counter() - start) / 10)
    return statistics.median(times[1:])


def rates(device: torch.device) -> dict:
    on_gpu = device.type == "cuda"
    wait = waiter(device)
    n = 8192 if on_gpu else 256
    # Not zeros, which take less power, so that a GPU would have a higher clock.
    a, b, product = torch.randn(n, n, device=device), torch.randn(n, n, device=device), torch.empty(n, n, device=device)
    matrix = {}
    for precision in ["f32", "tf32", "bf16"]:
        set_precision(precision)
        if precision == "bf16":
            a, b, product = a.bfloat16(), b.bfloat16(), product.bfloat16()
        matrix[precision] = 2 * n**3 / seconds_of(lambda: torch.matmul(a, b, out=product), wait)
    source = torch.randn(1 << (28 if on_gpu else 20), device=device)
    target = torch.empty_like(source)
    copy = 2 * source.numel() * source.element_size() / seconds_of(lambda: target.copy_(source), wait)
    return {
        "gpu": torch.cuda.get_device_name(device) if on_gpu else "none",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "matrix_flop_per_second": matrix,
        "copy_bytes_per_second": copy,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=list(NETS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--infer", action="store_true", help="forward passes without dropout and gradients")
    parser.add_argument("--freeze", action="store_true", help="with --infer: trace, freeze and optimise by torch.jit")
    parser.add_argument("--data", type=Path, help="LeNet's digits, as lenet_step --export writes them")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32")
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--sgd", choices=["fused", "foreach", "for-loop"], default="fused")
    parser.add_argument("--compile", action="store_true", help="torch.compile; on a GPU it records CUDA graphs")
    parser.add_argument("--rates", action="store_true")
    args = parser.parse_args()
    if args.freeze and not args.infer:
        parser.error("--freeze is for --infer")
    device = torch.device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            sys.exit(f"torch_step: PyTorch {torch.__version__} finds no GPU")
        torch.cuda.set_device(device)
    if args.rates:
        print(json.dumps(rates(device)))
    elif args.net:
        serve(args, device)
    else:
        parser.error("--net or --rates says what to do")


if __name__ == "__main__":
    main()
