"""From a raw table to a net: rows as people type them, cleaned by Spark SQL, trained on and scored in one pipeline.
spark-submit examples/spark/tabular.py [WORKERS] [--iterations N] [--tau N]

The table is made here: who of some thousand subscribers renews, by age, plan, months, payments and city."""

import random

import options
from pyspark.ml import Pipeline
from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler

import sparknet
from sparknet.layers import InnerProductLayer, RDDLayer, ReLULayer, SoftmaxWithLoss
from sparknet.spark import SparkNetEstimator

PLANS = ["basic", "family", "student"]
CITIES = ["Aarhus", "Bergen", "Turku", "Uppsala"]


def raw_rows(count, seed=1):
    """Text as it comes: blanks, capitals, units, question marks, ages that nobody has."""
    draw = random.Random(seed)
    for _ in range(count):
        age, months, plan = draw.randint(16, 80), draw.randint(1, 60), draw.choice(PLANS)
        spent = months * {"basic": 5, "family": 12, "student": 3}[plan] * draw.uniform(0.8, 1.2)
        score = 0.05 * months - 0.03 * abs(age - 40) + (1.2 if plan == "family" else 0) + draw.gauss(0, 0.4)
        yield (
            (
                draw.choice([str(age), f" {age} ", f"{age} years"])
                if draw.random() > 0.03
                else draw.choice(["?", "", "999"])
            ),
            draw.choice([plan, plan.upper(), f" {plan}"]) if draw.random() > 0.02 else None,
            str(months),
            f"{spent:.2f} EUR" if draw.random() > 0.5 else f"{spent:.2f}",
            draw.choice(CITIES),
            draw.choice(["yes", "YES", "y"]) if score > 0.9 else draw.choice(["no", "No", "n"]),
        )


CLEAN = """
    SELECT age, plan, months, spent, city, label FROM (
        SELECT cast(regexp_extract(age, '([0-9]+)', 1) AS float) AS age,
               lower(trim(plan)) AS plan,
               cast(months AS float) AS months,
               cast(regexp_replace(spent, '[^0-9.]', '') AS float) AS spent,
               city,
               cast(lower(renewed) LIKE 'y%' AS int) AS label
        FROM (SELECT nullif(nullif(age, '?'), '') AS age, plan, months, spent, city, renewed FROM raw))
    WHERE age BETWEEN 1 AND 120 AND plan IS NOT NULL AND months IS NOT NULL AND spent IS NOT NULL
"""


def main():
    given = options.parse(__doc__, iterations=600, tau=50)
    session = options.start(given)
    raw = session.createDataFrame(
        list(raw_rows(6000)), "age string, plan string, months string, spent string, city string, renewed string"
    )
    raw.createOrReplaceTempView("raw")
    clean = session.sql(CLEAN)
    print(f"{raw.count()} rows came, {clean.count()} are clean")
    train, test = clean.randomSplit([0.8, 0.2], seed=1)

    features = 3 + len(PLANS) + len(CITIES)
    net = sparknet.NetParam(
        "subscribers",
        RDDLayer("data", [32, features]),
        RDDLayer("label", [32]),
        InnerProductLayer("ip1", ["data"], num_output=32),
        ReLULayer("relu1", ["ip1"]),
        InnerProductLayer("ip2", ["relu1"], num_output=2),
        SoftmaxWithLoss("loss", ["ip2", "label"]),
    )
    pipeline = Pipeline(
        stages=[
            StringIndexer(
                inputCols=["plan", "city"], outputCols=["plan_index", "city_index"], stringOrderType="alphabetAsc"
            ),
            OneHotEncoder(inputCols=["plan_index", "city_index"], outputCols=["plan_hot", "city_hot"], dropLast=False),
            VectorAssembler(inputCols=["age", "months", "spent", "plan_hot", "city_hot"], outputCol="assembled"),
            StandardScaler(inputCol="assembled", outputCol="features", withMean=True),
            SparkNetEstimator(
                net=net,
                solver=sparknet.SolverParam(base_lr=0.05, momentum=0.9, max_iter=given.iterations),
                inputs={"data": "features", "label": "label"},
                outputs={"ip2": {"column": "prediction", "argmax": True}},
                num_workers=given.workers,
                tau=given.tau,
                mode=given.mode,
                callback=options.show,
            ),
        ]
    )
    scored = pipeline.fit(train.persist()).transform(test)
    print(f"test accuracy {scored.where('prediction = label').count() / test.count():.4f}")
    session.stop()


if __name__ == "__main__":
    main()
