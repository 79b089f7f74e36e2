"""A net's training step in PyTorch, by the line protocol of net_step.cc; cuda_compare.py runs both.

With --rates: what the GPU can do at most, and the versions of everything, as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Callable

import torch
from torch import nn

from torch_step import LeNet

RATE = 0.001
DECAY = 5e-4


class CaffeNet(nn.Sequential):
    """The net of examples/models/caffenet.cc."""

    def __init__(self) -> None:
        super().__init__(
            *self.conv(3, 96, 11, stride=4),
            nn.MaxPool2d(3, 2),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
            *self.conv(96, 256, 5, padding=2, groups=2, bias=1),
            nn.MaxPool2d(3, 2),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
            *self.conv(256, 384, 3, padding=1),
            *self.conv(384, 384, 3, padding=1, groups=2, bias=1),
            *self.conv(384, 256, 3, padding=1, groups=2, bias=1),
            nn.MaxPool2d(3, 2),
            nn.Flatten(),
            self.filled(nn.Linear(9216, 4096), 0.005, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            self.filled(nn.Linear(4096, 4096), 0.005, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            self.filled(nn.Linear(4096, 1000), 0.01, 0),
        )

    @staticmethod
    def filled(layer: nn.Module, std: float, bias: float) -> nn.Module:
        nn.init.normal_(layer.weight, std=std)
        nn.init.constant_(layer.bias, bias)
        return layer

    @classmethod
    def conv(cls, inputs: int, outputs: int, kernel: int, bias: float = 0, **options: int) -> list[nn.Module]:
        return [cls.filled(nn.Conv2d(inputs, outputs, kernel, **options), 0.01, bias), nn.ReLU(inplace=True)]

    def groups(self) -> list[dict]:
        """Biases learn twice as fast and do not decay."""
        weights = [p for name, p in self.named_parameters() if name.endswith("weight")]
        biases = [p for name, p in self.named_parameters() if name.endswith("bias")]
        return [{"params": weights}, {"params": biases, "lr": 2 * RATE, "weight_decay": 0}]


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


# The net, the shape of an example, the number of classes.
NETS = {
    "lenet": (LeNet, (1, 28, 28), 10),
    "caffenet": (CaffeNet, (3, 227, 227), 1000),
    "resnet50": (ResNet50, (3, 224, 224), 1000),
}


def set_precision(precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def waiter(device: torch.device) -> Callable[[], None]:
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def serve(args: argparse.Namespace, device: torch.device) -> None:
    make, shape, classes = NETS[args.net]
    set_precision(args.precision)
    torch.manual_seed(1)
    layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
    net = make().to(device, memory_format=layout)
    data = (2 * torch.rand(args.batch, *shape) - 1).to(device, memory_format=layout)
    label = torch.randint(classes, (args.batch,)).to(device)
    groups = net.groups() if isinstance(net, CaffeNet) else net.parameters()
    sgd = torch.optim.SGD(groups, lr=RATE, momentum=0.9, weight_decay=DECAY, fused=True)
    run = Training(net)
    if args.compile:
        run = torch.compile(run, mode="reduce-overhead")
    wait = waiter(device)

    def step() -> torch.Tensor:
        sgd.zero_grad(set_to_none=True)
        if args.compile:
            torch.compiler.cudagraph_mark_step_begin()
        loss = run(data, label)
        loss.backward()
        sgd.step()
        return loss.detach()

    step()  # compiles, which takes minutes, and lets cuDNN choose
    wait()
    kind = "torch.compile" if args.compile else "eager"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"ready PyTorch {torch.__version__} {kind} {args.layout}, {where}, {args.precision}", flush=True)
    for line in sys.stdin:
        steps = int(line.split()[1])
        loss, times = 0.0, []
        for _ in range(steps):
            start = time.perf_counter()
            loss += step().item()
            wait()
            times.append((time.perf_counter() - start) * 1e3)
        if steps > 1:
            start = time.perf_counter()
            for _ in range(steps):
                step()
            wait()
            times.append((time.perf_counter() - start) * 1e3 / steps)
        print(f"{loss / steps:.6f}", *(f"{t:.4f}" for t in times), flush=True)
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
    for precision in ["f32", "tf32"]:
        set_precision(precision)
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
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precision", choices=["f32", "tf32"], default="f32")
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--compile", action="store_true", help="torch.compile, which records CUDA graphs")
    parser.add_argument("--rates", action="store_true")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            sys.exit(f"torch_gpu_step: PyTorch {torch.__version__} finds no GPU")
        torch.cuda.set_device(device)
    if args.rates:
        print(json.dumps(rates(device)))
    elif args.net:
        serve(args, device)
    else:
        parser.error("--net or --rates says what to do")


if __name__ == "__main__":
    main()
