"""LeNet on MNIST: spark-submit examples/spark/mnist.py [WORKERS] [--iterations N] [--tau N] [--data FOLDER]."""

import options
from datasets import frames

import sparknet
from sparknet.layers import ConvolutionLayer, InnerProductLayer, PoolingLayer, RDDLayer, ReLULayer, SoftmaxWithLoss
from sparknet.spark import SparkNetEstimator

lenet = sparknet.NetParam(
    "LeNet",
    RDDLayer("data", [64, 1, 28, 28]),
    RDDLayer("label", [64]),
    ConvolutionLayer("conv1", ["data"], kernel=5, num_output=20),
    PoolingLayer("pool1", ["conv1"], kernel=2, stride=2),
    ConvolutionLayer("conv2", ["pool1"], kernel=5, num_output=50),
    PoolingLayer("pool2", ["conv2"], kernel=2, stride=2),
    InnerProductLayer("ip1", ["pool2"], num_output=500),
    ReLULayer("relu1", ["ip1"]),
    InnerProductLayer("ip2", ["relu1"], num_output=10),
    SoftmaxWithLoss("loss", ["ip2", "label"]),
)


def main():
    given = options.parse(__doc__, iterations=1500, tau=100)
    session = options.start(given)
    train, test = frames(session, "mnist", given.data)
    model = SparkNetEstimator(
        net=lenet,
        solver=sparknet.SolverParam(
            base_lr=0.02, momentum=0.9, weight_decay=0.0005, lr_policy="inv", gamma=0.0001, power=0.75,
            max_iter=given.iterations,
        ),  # fmt: skip
        inputs={"data": {"column": "image", "scale": 1 / 256}, "label": "label"},
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
