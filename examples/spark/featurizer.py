"""A blob as features: LeNet's ip1, briefly trained, for Spark ML's logistic regression.
spark-submit examples/spark/featurizer.py [WORKERS] [--iterations N] [--tau N] [--data FOLDER]"""

import mnist
import options
from datasets import frames
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.functions import array_to_vector

import sparknet
from sparknet.spark import SparkNetEstimator


def main():
    given = options.parse(__doc__, iterations=200, tau=50)
    session = options.start(given)
    train, test = frames(session, "mnist", given.data)
    train = train.repartition(given.workers).persist()
    net = SparkNetEstimator(
        net=mnist.lenet,
        solver=sparknet.SolverParam(base_lr=0.01, momentum=0.9, max_iter=given.iterations),
        inputs={"data": {"column": "image", "scale": 1 / 256}, "label": "label"},
        outputs={"relu1": "hidden"},
        tau=given.tau,
        mode=given.mode,
        callback=options.show,
    ).fit(train)

    def features(frame):
        return net.transform(frame).select(array_to_vector("hidden").alias("features"), "label").persist()

    regression = Pipeline(
        stages=[SQLTransformer(statement="SELECT features, label FROM __THIS__"), LogisticRegression(maxIter=20)]
    )
    scored = regression.fit(features(train.limit(10000))).transform(features(test))
    print(f"test accuracy {scored.where('prediction = label').count() / test.count():.4f}")
    session.stop()


if __name__ == "__main__":
    main()
