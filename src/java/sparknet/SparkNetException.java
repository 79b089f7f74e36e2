package sparknet;

/** What the library refuses, in its words: what is wrong, where, and what to do. */
public final class SparkNetException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public SparkNetException(String message) {
    super(message);
  }
}
