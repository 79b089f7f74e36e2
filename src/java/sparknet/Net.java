package sparknet;

import java.nio.file.Path;

/**
 * A net with its solver, for programs on the JVM: SparkNet's Net. What the library refuses is thrown as a
 * SparkNetException with its words. One thread at a time uses a Net.
 *
 * <p>The native part, libsparknet_jni.so with libsparknet_c.so beside it, is looked for where the property or the
 * environment variable SPARKNET_JNI_LIBRARY says, or else where the JVM looks for libraries.
 */
public final class Net implements AutoCloseable {
  static {
    final String file = System.getProperty("SPARKNET_JNI_LIBRARY", System.getenv("SPARKNET_JNI_LIBRARY"));
    if (file != null) {
      System.load(Path.of(file).toAbsolutePath().toString());
    } else {
      System.loadLibrary("sparknet_jni");
    }
  }

  /** A sparknet_solver; 0 when it is closed. */
  private long solver;

  /**
   * Makes a net that trains.
   *
   * @param net a prototxt
   * @param solverParam a prototxt that names no net
   * @param options JSON, as sparknet_solver_create takes it: {"threads": 1, "seed": 7}; or ""
   */
  public Net(String net, String solverParam, String options) {
    solver = create(bytes(net), bytes(solverParam), bytes(options));
  }

  /**
   * Feeds the inputs of these names from now on.
   *
   * @param arrays one for each name, of all examples, row by row: byte[] (u8), int[], float[] or double[]; copied
   * @param shapes the shape of each, the examples first
   * @param options JSON, as sparknet_net_set_data takes it: {"shuffle": true}; or ""
   */
  public void setData(String[] names, Object[] arrays, long[][] shapes, String options) {
    if (names.length != arrays.length || names.length != shapes.length) {
      throw new IllegalArgumentException(
          names.length + " names, " + arrays.length + " arrays and " + shapes.length + " shapes; one of each is wanted");
    }
    final byte[][] texts = new byte[names.length][];
    for (int i = 0; i < names.length; ++i) {
      texts[i] = bytes(names[i]);
      if (!(arrays[i] instanceof byte[] || arrays[i] instanceof int[] || arrays[i] instanceof float[]
          || arrays[i] instanceof double[])) {
        throw new IllegalArgumentException(
            "column \"" + names[i] + "\" is neither byte[], int[], float[] nor double[]");
      }
    }
    setData(open(), texts, arrays, shapes, bytes(options));
  }

  /** Trains so many iterations and returns the loss of the last. */
  public double train(long iterations) {
    return train(open(), iterations);
  }

  /** All weights, one parameter after another. */
  public float[] weights() {
    return weights(open());
  }

  public void setWeights(float[] weights) {
    setWeights(open(), weights);
  }

  /**
   * This worker's part of a round that sparknet_master_task asks for; the bytes of a contribution come back, as
   * sparknet_contribution_decode takes them.
   */
  public byte[] round(byte[] task, int worker) {
    return round(open(), task, worker);
  }

  /** Writes a .caffemodel that is whole or not there. */
  public void save(String file) {
    save(open(), bytes(file));
  }

  @Override
  public void close() {
    free(solver);
    solver = 0;
  }

  private long open() {
    if (solver == 0) {
      throw new IllegalStateException("the net is closed");
    }
    return solver;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
  }

  private static native long create(byte[] net, byte[] solver, byte[] options);

  private static native void setData(long solver, byte[][] names, Object[] arrays, long[][] shapes, byte[] options);

  private static native double train(long solver, long iterations);

  private static native float[] weights(long solver);

  private static native void setWeights(long solver, float[] weights);

  private static native byte[] round(long solver, byte[] task, int worker);

  private static native void save(long solver, byte[] file);

  private static native void free(long solver);
}
