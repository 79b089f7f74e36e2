import org.apache.spark.{SparkConf, SparkContext}
import sparknet.{Net, SparkNetException}

/** SparkNet's loop, as its paper has it: broadcast the weights, train on every partition, average, repeat. */
object Loop {
  val net = """
    name: "small"
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 4 } } }
    layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 8 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
            inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }"""
  val solver = """base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" """

  /** One net for each worker and JVM, as in SparkNet: it keeps its data. */
  val nets = scala.collection.concurrent.TrieMap[Int, Net]()

  def make(rows: Seq[(Array[Float], Int)]): Net = {
    val made = new Net(net, solver, """{"threads": 1}""")
    val n = rows.size.toLong
    made.setData(
      Array("data", "label"),
      Array[AnyRef](rows.flatMap(_._1).toArray, rows.map(_._2).toArray),
      Array(Array(n, 4L), Array(n)),
      "")
    made
  }

  def main(arguments: Array[String]): Unit = {
    val context = new SparkContext(new SparkConf().setMaster("local[2]").setAppName("loop").set("spark.ui.enabled", "false"))
    val random = new scala.util.Random(1)
    val examples = Seq.fill(400) {
      val x = Array.fill(4)(random.nextGaussian().toFloat)
      (x, if (x.sum > 0) 1 else 0)
    }
    val workers = 4
    val data = context.parallelize(examples, workers).glom().cache()

    var weights = { val first = new Net(net, solver, ""); try first.weights() finally first.close() }
    var losses = Seq[Double]()
    for (round <- 0 until 10) {
      val sent = context.broadcast(weights)
      val made = data.mapPartitionsWithIndex { (worker, rows) =>
        val one = nets.getOrElseUpdate(worker, make(rows.next().toSeq))
        one.setWeights(sent.value)
        val loss = one.train(10)
        Iterator((one.weights(), loss))
      }
      val (sum, loss) = made.reduce((a, b) => (a._1.zip(b._1).map { case (x, y) => x + y }, a._2 + b._2))
      weights = sum.map(_ / workers)
      losses :+= loss / workers
      sent.destroy()
    }
    println(s"losses ${losses.map(l => f"$l%.4f").mkString(" ")}")
    require(losses.last < losses.head / 2, "the loss did not fall")

    def refused(what: String)(call: => Any): Unit = {
      val message = try { call; "nothing" } catch { case e: SparkNetException => e.getMessage }
      require(message.contains(what), s"'$what' was wanted, and '$message' was said")
    }
    val one = make(examples.take(16))
    refused("""nme""")(new Net(net + " layer { nme: 'x' }", solver, ""))
    refused("bytes were given")(one.setWeights(Array(1f)))
    refused("has 3 elements, and its shape wants 4")(
      one.setData(Array("data"), Array[AnyRef](Array(1f, 2f, 3f)), Array(Array(1L, 4L)), ""))
    refused("label")(one.setData(Array("data"), Array[AnyRef](Array(1f, 2f, 3f, 4f)), Array(Array(1L, 4L)), ""))
    refused("threds")(new Net(net, solver, """{"threds": 1}"""))
    one.close()
    require(scala.util.Try(one.train(1)).failed.get.isInstanceOf[IllegalStateException])
    context.stop()
    println("all is well")
  }
}
