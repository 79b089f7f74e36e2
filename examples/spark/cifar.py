"""Caffe's cifar10_quick: spark-submit examples/spark/cifar.py [WORKERS] [--iterations N] [--tau N] [--data FOLDER]."""

import options
from datasets import frames

import sparknet
from sparknet.layers import ConvolutionLayer, InnerProductLayer, PoolingLayer, RDDLayer, ReLULayer, SoftmaxWithLoss
from sparknet.spark import SparkNetEstimator


def convolution(name, bottom, num_output, std):
    return ConvolutionLayer(
        name,
        [bottom],
        kernel=5,
        pad=2,
        num_output=num_output,
        lr_mult=[1, 2],
        weight_filler={"type": "gaussian", "std": std},
    )


def inner_product(name, bottom, num_output):
    filler = {"type": "gaussian", "std": 0.1}
    return InnerProductLayer(name, [bottom], num_output=num_output, lr_mult=[1, 2], weight_filler=filler)


cifar10_quick = sparknet.NetParam(
    "CIFAR10_quick",
    RDDLayer("data", [100, 3, 32, 32]),
    RDDLayer("label", [100]),
    convolution("conv1", "data", 32, 0.0001),
    PoolingLayer("pool1", ["conv1"], kernel=3, stride=2),
    ReLULayer("relu1", ["pool1"]),
    convolution("conv2", "relu1", 32, 0.01),
    ReLULayer("relu2", ["conv2"]),
    PoolingLayer("pool2", ["relu2"], pooling="AVE", kernel=3, stride=2),
    convolution("conv3", "pool2", 64, 0.01),
    ReLULayer("relu3", ["conv3"]),
    PoolingLayer("pool3", ["relu3"], pooling="AVE", kernel=3, stride=2),
    inner_product("ip1", "pool3", 64),
    inner_product("ip2", "ip1", 10),
    SoftmaxWithLoss("loss", ["ip2", "label"]),
)


def main():
    given = options.parse(__doc__, iterations=1000, tau=50)
    session = options.start(given)
    train, test = frames(session, "cifar10", given.data)
    model = SparkNetEstimator(
        net=cifar10_quick,
        solver=sparknet.SolverParam(base_lr=0.001, momentum=0.9, weight_decay=0.004, max_iter=given.iterations),
        inputs={"data": {"column": "image", "mean_values": [125.3, 123.0, 113.9]}, "label": "label"},
        outputs={"ip2": {"column": "prediction", "argmax": True}},
        tau=given.tau,
        mode=given.mode,
        solver_state=given.solver_state,
        callback=options.show,
    ).fit(train.repartition(given.workers).persist())
    scored = model.transform(test)
    print(f"test accuracy {scored.where('prediction = label').count() / test.count():.4f}")
    session.stop()


if __name__ == "__main__":
    main()
