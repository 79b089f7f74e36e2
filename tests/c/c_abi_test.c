/* A program in C that knows sparknet/sparknet_c.h alone: trains, averages, and makes mistakes. */

#include "sparknet/sparknet_c.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                                                                   \
  do {                                                                                                     \
    if (!(condition)) {                                                                                    \
      const sparknet_text why = sparknet_message();                                                        \
      printf("%s:%d: %s (last message: %.*s)\n", __FILE__, __LINE__, #condition, (int)why.size, why.data); \
      ++failures;                                                                                          \
    }                                                                                                      \
  } while (0)
#define OK(call) CHECK((call) == SPARKNET_OK)

static sparknet_text text(const char* words) {
  const sparknet_text made = {words, strlen(words)};
  return made;
}

/* Whether the call failed so, with a message that has the words. */
static int refused(sparknet_status status, sparknet_status wanted, const char* words) {
  const sparknet_text message = sparknet_message();
  char* copy = malloc(message.size + 1);
  memcpy(copy, message.data, message.size);
  copy[message.size] = 0;
  const int yes = status == wanted && strstr(copy, words) != NULL;
  if (!yes) printf("status %d, message: %s\n", (int)status, copy);
  free(copy);
  return yes;
}

/* Whether the bytes hold the words; frees them. */
static int says(sparknet_bytes* bytes, const char* words) {
  const size_t size = sparknet_bytes_size(bytes), length = strlen(words);
  const char* data = sparknet_bytes_data(bytes);
  int found = 0;
  for (size_t i = 0; !found && i + length <= size; ++i) found = memcmp(data + i, words, length) == 0;
  if (!found) printf("\"%.*s\" does not say \"%s\"\n", (int)size, data, words);
  sparknet_bytes_free(bytes);
  return found;
}

enum { kBatch = 4, kInputs = 3, kClasses = 2, kExamples = 40, kWorkers = 3 };

static const char* const kNet =
    "name: 'small'\n"
    "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 4 dim: 3 } } }\n"
    "layer { name: 'label' type: 'Input' top: 'label' input_param { shape { dim: 4 } } }\n"
    "layer { name: 'ip1' type: 'InnerProduct' bottom: 'data' top: 'ip1'\n"
    "        inner_product_param { num_output: 8 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'relu' type: 'ReLU' bottom: 'ip1' top: 'relu' }\n"
    "layer { name: 'drop' type: 'Dropout' bottom: 'relu' top: 'drop' dropout_param { dropout_ratio: 0.2 } }\n"
    "layer { name: 'ip2' type: 'InnerProduct' bottom: 'drop' top: 'ip2'\n"
    "        inner_product_param { num_output: 2 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 'label' top: 'loss' }\n";
static const char* const kSolver = "base_lr: 0.1 momentum: 0.9 lr_policy: 'fixed' max_iter: 12 test_iter: 5";

static float images[kExamples][kInputs];
static int32_t labels[kExamples];
static int released = 0;

static void release(void* context) {
  ++*(int*)context;
}

static sparknet_tensor tensor(void* data, sparknet_dtype dtype, int32_t rank, int64_t first, int64_t second) {
  sparknet_tensor made = {data, dtype, rank, {first, second}};
  return made;
}

static sparknet_source* make_source(void) {
  for (int i = 0; i < kExamples; ++i) {
    labels[i] = i % 2;
    for (int j = 0; j < kInputs; ++j) images[i][j] = (float)((i * 7 + j * 3) % 5) / 5 + (float)labels[i];
  }
  const sparknet_text names[] = {text("data"), text("label")};
  const sparknet_tensor tensors[] = {
      tensor(images, SPARKNET_F32, 2, kExamples, kInputs),
      tensor(labels, SPARKNET_I32, 1, kExamples, 0)};
  sparknet_source* source = NULL;
  OK(sparknet_source_from_tensors(names, tensors, 2, release, &released, &source));
  return source;
}

static void test_descriptions(sparknet_net_param* net) {
  sparknet_bytes* bytes = NULL;
  OK(sparknet_net_param_layers(net, text("{\"phase\": \"train\"}"), &bytes));
  CHECK(says(bytes, "\"name\":\"ip2\""));
  OK(sparknet_net_param_prototxt(net, &bytes));
  sparknet_net_param* again = NULL;
  const sparknet_text prototxt = {sparknet_bytes_data(bytes), sparknet_bytes_size(bytes)};
  OK(sparknet_net_param_parse(prototxt, text("again"), &again));
  sparknet_bytes_free(bytes);
  int32_t equal = 0;
  OK(sparknet_net_param_equal(net, again, &equal));
  CHECK(equal == 1);
  OK(sparknet_net_param_add(
      again,
      text("{\"type\": \"PoolingLayer\", \"name\": \"pool\", \"bottom\": [\"x\"], \"options\": {\"pooling\": "
           "\"AVE\", \"kernel\": [3, 2], \"stride\": 2}}")));
  OK(sparknet_net_param_equal(net, again, &equal));
  CHECK(equal == 0);
  OK(sparknet_net_param_text(again, &bytes));
  CHECK(says(bytes, "PoolingLayer{\"pool\", {\"x\"}, {.pooling = Pooling::Ave, .kernel = {3, 2}, .stride = "));
  OK(sparknet_layer_types(&bytes));
  CHECK(says(bytes, "\"type\":\"ConvolutionLayer\""));

  CHECK(refused(
      sparknet_net_param_add(again, text("{\"type\": \"PolingLayer\", \"name\": \"p\"}")),
      SPARKNET_NET_ERROR,
      "did you mean \"PoolingLayer\"?"));
  CHECK(refused(
      sparknet_net_param_add(
          again,
          text("{\"type\": \"PoolingLayer\", \"name\": \"p\", \"bottom\": [\"x\"], \"options\": {\"kernal\": 2}}")),
      SPARKNET_DATA_ERROR,
      "layer \"p\" (PoolingLayer): there is no \"kernal\"; did you mean \"kernel\"?"));
  CHECK(refused(sparknet_net_param_add(again, text("{\"type\": ")), SPARKNET_DATA_ERROR, "a layer, byte"));
  sparknet_net_param* none = NULL;
  CHECK(refused(
      sparknet_net_param_parse(text("layer {\n  nme: 'x' }"), text("mine"), &none),
      SPARKNET_DATA_ERROR,
      "mine:2:"));
  CHECK(none == NULL);
  sparknet_net_param_free(again);
}

static void test_net(const sparknet_net_param* param, const sparknet_source* source) {
  sparknet_net* net = NULL;
  OK(sparknet_net_create(
      param,
      text("{\"phase\": \"train\", \"threads\": 1, \"seed\": 3, \"keep\": [\"ip1\"]}"),
      &net));
  sparknet_bytes* bytes = NULL;
  OK(sparknet_net_info(net, &bytes));
  CHECK(says(bytes, "\"inputs\":[{\"name\":\"data\",\"shape\":[4,3]}"));
  CHECK(refused(sparknet_net_forward(net, NULL), SPARKNET_NET_ERROR, "data"));
  double loss = 0;
  float batch[kBatch][kInputs] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {0, 1, 0}};
  uint8_t classes[kBatch] = {0, 1, 1, 0};
  sparknet_tensor value = tensor(batch, SPARKNET_F32, 2, kBatch, kInputs);
  OK(sparknet_net_set_input(net, text("data"), &value));
  value = tensor(classes, SPARKNET_U8, 1, kBatch, 0);
  OK(sparknet_net_set_input(net, text("label"), &value));
  value = tensor(classes, SPARKNET_U8, 1, 3, 0);
  CHECK(refused(sparknet_net_set_input(net, text("label"), &value), SPARKNET_NET_ERROR, "[3]"));
  OK(sparknet_net_forward(net, &loss));
  CHECK(loss > 0 && isfinite(loss));
  OK(sparknet_net_backward(net));
  sparknet_tensor blob;
  OK(sparknet_net_blob(net, text("ip1"), &blob));
  CHECK(blob.rank == 2 && blob.shape[0] == kBatch && blob.shape[1] == 8 && blob.dtype == SPARKNET_F32);
  CHECK(refused(sparknet_net_blob(net, text("ip3"), &blob), SPARKNET_NET_ERROR, "did you mean"));

  /* 8 x 3 and 8, 2 x 8 and 2, each on a border of 64 bytes. */
  float weights[80], others[80];
  memset(weights, 0, sizeof weights);
  OK(sparknet_net_get_weights(net, weights, sizeof weights));
  for (int i = 0; i < 80; ++i) others[i] = 2 * weights[i];
  OK(sparknet_net_set_weights(net, others, sizeof others));
  OK(sparknet_net_get_weights(net, weights, sizeof weights));
  CHECK(memcmp(weights, others, sizeof weights) == 0);
  CHECK(refused(sparknet_net_set_weights(net, others, 12), SPARKNET_SHAPE_ERROR, "320"));
  OK(sparknet_net_set_data(net, source, text("{\"shuffle\": true, \"transforms\": {\"data\": {\"scale\": 0.5}}}")));
  CHECK(refused(
      sparknet_net_set_data(net, source, text("{\"shufle\": true}")),
      SPARKNET_DATA_ERROR,
      "did you mean \"shuffle\"?"));
  OK(sparknet_net_forward(net, &loss));
  sparknet_net_free(net);
  net = NULL;
  CHECK(refused(sparknet_net_create(param, text("{\"threads\": 1e300}"), &net), SPARKNET_DATA_ERROR, "a whole number"));
  CHECK(refused(sparknet_net_create(param, text("{\"threads\": 1e10}"), &net), SPARKNET_DATA_ERROR, "that fits"));
  CHECK(refused(sparknet_net_create(param, text("{\"threads\": -1.5}"), &net), SPARKNET_DATA_ERROR, "threads: it is -1.5"));
  CHECK(refused(sparknet_net_create(param, text("{\"device\": \"tpu\"}"), &net), SPARKNET_DATA_ERROR, "\"tpu\""));
  CHECK(net == NULL);
}

static void test_solver(
    const sparknet_solver_param* param, const sparknet_net_param* net, const sparknet_source* source,
    const char* folder) {
  sparknet_solver *solver = NULL, *other = NULL;
  OK(sparknet_solver_create(param, net, text("{\"threads\": 1}"), &solver));
  OK(sparknet_solver_set_data(solver, source, text("")));
  OK(sparknet_solver_set_test_data(solver, source, text("")));
  double first = 0, last = 0;
  OK(sparknet_solver_step(solver, 1, &first));
  OK(sparknet_solver_step(solver, 40, &last));
  CHECK(last < first);
  int64_t iteration = 0;
  OK(sparknet_solver_iteration(solver, &iteration));
  CHECK(iteration == 41);
  sparknet_bytes* bytes = NULL;
  OK(sparknet_solver_test(solver, &bytes));
  CHECK(says(bytes, "{\"loss\":0."));

  /* The solver may go before its net. */
  char file[1024];
  snprintf(file, sizeof file, "%s/c.snap", folder);
  OK(sparknet_solver_snapshot(solver, text(file)));
  OK(sparknet_solver_create(param, net, text("{\"threads\": 1}"), &other));
  OK(sparknet_solver_set_data(other, source, text("")));
  OK(sparknet_solver_restore(other, text(file)));
  double a = 0, b = 0;
  OK(sparknet_solver_step(solver, 3, &a));
  OK(sparknet_solver_step(other, 3, &b));
  CHECK(a == b);
  sparknet_net* trained = NULL;
  OK(sparknet_solver_net(other, &trained));
  sparknet_solver_free(other);
  snprintf(file, sizeof file, "%s/c.caffemodel", folder);
  OK(sparknet_net_save(trained, text(file)));
  OK(sparknet_net_load(trained, text(file), &bytes));
  CHECK(says(bytes, "copied"));
  sparknet_net_free(trained);
  CHECK(refused(sparknet_solver_restore(solver, text("/nowhere/x.snap")), SPARKNET_DATA_ERROR, "/nowhere/x.snap"));
  sparknet_solver_free(solver);
}

/* One round of every worker; through `slices` slices, in an order that the round gives. */
static void run_round(sparknet_master* master, sparknet_solver** solvers, int slices, int turn) {
  sparknet_bytes* task = NULL;
  OK(sparknet_master_task(master, &task));
  sparknet_contribution* parts[kWorkers];
  for (int w = 0; w < kWorkers; ++w)
    OK(sparknet_solver_round(solvers[w], sparknet_bytes_data(task), sparknet_bytes_size(task), w, &parts[w]));
  sparknet_bytes_free(task);
  sparknet_bytes* stats = NULL;
  if (slices == 0) {
    OK(sparknet_master_apply(master, parts, kWorkers, &stats));
  } else {
    sparknet_joiner* joiner = NULL;
    OK(sparknet_joiner_create(&joiner));
    for (int s = slices - 1; s >= 0; --s) {
      char options[64];
      snprintf(options, sizeof options, "{\"slice\": %d, \"slices\": %d}", s, slices);
      sparknet_contribution *received[kWorkers], *merged = NULL;
      for (int i = 0; i < kWorkers; ++i) {
        sparknet_bytes* bytes = NULL;
        OK(sparknet_contribution_encode(parts[(i + turn) % kWorkers], text(options), &bytes));
        OK(sparknet_contribution_decode(
            sparknet_bytes_data(bytes),
            sparknet_bytes_size(bytes),
            text("a slice"),
            &received[i]));
        sparknet_bytes_free(bytes);
      }
      OK(sparknet_contribution_merge(received, kWorkers, &merged));
      OK(sparknet_joiner_add(joiner, merged));
      sparknet_contribution_free(merged);
      for (int i = 0; i < kWorkers; ++i) sparknet_contribution_free(received[i]);
    }
    sparknet_contribution* whole = NULL;
    OK(sparknet_joiner_take(joiner, &whole));
    sparknet_joiner_free(joiner);
    OK(sparknet_master_apply(master, &whole, 1, &stats));
    sparknet_contribution_free(whole);
  }
  CHECK(says(stats, "\"workers\":3"));
  for (int w = 0; w < kWorkers; ++w) sparknet_contribution_free(parts[w]);
}

/* The weights after three rounds. */
static void run_rounds(
    const sparknet_solver_param* param, const sparknet_net_param* net, const sparknet_source* source, int slices,
    const char* folder, float* weights, size_t bytes) {
  sparknet_solver* solvers[kWorkers];
  sparknet_net* first = NULL;
  for (int w = 0; w < kWorkers; ++w) {
    sparknet_source* part = NULL;
    OK(sparknet_source_part(source, w, kWorkers, &part));
    OK(sparknet_solver_create(param, net, text("{\"threads\": 1}"), &solvers[w]));
    OK(sparknet_solver_set_data(solvers[w], part, text("{\"shuffle\": true}")));
    sparknet_source_free(part);
  }
  OK(sparknet_solver_net(solvers[0], &first));
  sparknet_master* master = NULL;
  OK(sparknet_master_create(param, first, text("{\"workers\": 3, \"tau\": 4, \"outer\": \"diloco\"}"), &master));
  sparknet_net_free(first);
  for (int round = 0; round < 3; ++round) {
    run_round(master, solvers, slices, round);
    if (round == 1) {
      char file[1024];
      snprintf(file, sizeof file, "%s/master.snap", folder);
      OK(sparknet_master_snapshot(master, text(file)));
      OK(sparknet_master_restore(master, text(file)));
    }
  }
  sparknet_bytes* info = NULL;
  OK(sparknet_master_info(master, &info));
  CHECK(says(info, "\"done\":true"));
  OK(sparknet_master_get_weights(master, weights, bytes));
  sparknet_master_free(master);
  for (int w = 0; w < kWorkers; ++w) sparknet_solver_free(solvers[w]);
}

/* Workers that average by themselves, each in a thread. */
static struct {
  const sparknet_solver_param* param;
  const sparknet_net_param* net;
  const sparknet_source* source;
  const char* file;
  pthread_barrier_t gathered;
  char lines[kWorkers][4096];
} meeting;
typedef struct member {
  int rank;
  float weights[80];
} member;

static int32_t gather(void* context, sparknet_text mine, sparknet_text* all) {
  const member* m = context;
  memcpy(meeting.lines[m->rank], mine.data, mine.size);
  pthread_barrier_wait(&meeting.gathered);
  for (int w = 0; w < kWorkers; ++w) all[w] = text(meeting.lines[w]);
  return 0;
}

static int32_t gather_nothing(void* context, sparknet_text mine, sparknet_text* all) {
  (void)context, (void)mine, (void)all;
  return 7;
}

static void* run_member(void* argument) {
  member* m = argument;
  sparknet_communicator* group = NULL;
  OK(sparknet_communicator_create(m->rank, kWorkers, text("{\"host\": \"127.0.0.1\"}"), gather, m, &group));
  sparknet_solver* solver = NULL;
  sparknet_source* part = NULL;
  OK(sparknet_source_part(meeting.source, m->rank, kWorkers, &part));
  OK(sparknet_solver_create(meeting.param, meeting.net, text("{\"threads\": 1}"), &solver));
  OK(sparknet_solver_set_data(solver, part, text("{\"shuffle\": true}")));
  sparknet_averaging* averaging = NULL;
  OK(sparknet_averaging_create(
      solver,
      group,
      text("{\"tau\": 4, \"outer\": \"diloco\", \"history\": \"reset\"}"),
      &averaging));
  for (int round = 0; round < 3; ++round) {
    sparknet_bytes* bytes = NULL;
    OK(sparknet_averaging_round(averaging, &bytes));
    CHECK(says(bytes, "\"workers\":3"));
    OK(sparknet_averaging_info(averaging, &bytes));
    CHECK(says(bytes, round == 2 ? "\"done\":true" : "\"done\":false"));
    if (round == 1) {
      OK(sparknet_averaging_snapshot(averaging, text(meeting.file)));
      OK(sparknet_averaging_restore(averaging, text(meeting.file)));
    }
  }
  OK(sparknet_averaging_get_weights(averaging, m->weights, sizeof m->weights));
  double numbers[2] = {m->rank, 1};
  const sparknet_tensor values = tensor(numbers, SPARKNET_F64, 1, 2, 0);
  OK(sparknet_communicator_sum(group, &values));
  CHECK(numbers[0] == 3 && numbers[1] == 3);
  numbers[0] = m->rank;
  OK(sparknet_communicator_broadcast(group, &values, 2));
  CHECK(numbers[0] == 2);
  OK(sparknet_communicator_leave(group));
  CHECK(refused(sparknet_averaging_round(averaging, NULL), SPARKNET_ERROR, "this member has left its group"));
  /* Whatever is freed first. */
  sparknet_communicator_free(group);
  sparknet_solver_free(solver);
  sparknet_averaging_free(averaging);
  sparknet_source_free(part);
  return NULL;
}

/* The bits of rounds, which are `expected`. */
static void test_group(
    const sparknet_solver_param* param, const sparknet_net_param* net, const sparknet_source* source,
    const char* folder, const float* expected) {
  sparknet_communicator* none = NULL;
  const sparknet_status status = sparknet_communicator_create(0, 1, text(""), gather_nothing, NULL, &none);
  if (strstr(sparknet_message().data, "built without Gloo")) {
    printf("skipped: a group, as the library has no Gloo\n");
    return;
  }
  CHECK(refused(status, SPARKNET_ERROR, "rank 0 of 1: all_gather returned 7"));
  CHECK(refused(
      sparknet_communicator_create(0, 1, text("{\"hots\": \"a\"}"), gather, NULL, &none),
      SPARKNET_DATA_ERROR,
      "did you mean \"host\"?"));
  char file[1024];
  snprintf(file, sizeof file, "%s/group.snap", folder);
  meeting.param = param, meeting.net = net, meeting.source = source, meeting.file = file;
  pthread_barrier_init(&meeting.gathered, NULL, kWorkers);
  pthread_t threads[kWorkers];
  member members[kWorkers];
  for (int w = 0; w < kWorkers; ++w) {
    memset(&members[w], 0, sizeof members[w]);
    members[w].rank = w;
    CHECK(pthread_create(&threads[w], NULL, run_member, &members[w]) == 0);
  }
  for (int w = 0; w < kWorkers; ++w) {
    CHECK(pthread_join(threads[w], NULL) == 0);
    CHECK(memcmp(members[w].weights, expected, sizeof members[w].weights) == 0);
  }
  pthread_barrier_destroy(&meeting.gathered);
}

static void test_rounds(
    const sparknet_solver_param* param, const sparknet_net_param* net, const sparknet_source* source,
    const char* folder) {
  float whole[80], sliced[80];
  run_rounds(param, net, source, 0, folder, whole, sizeof whole);
  run_rounds(param, net, source, 2, folder, sliced, sizeof sliced);
  CHECK(memcmp(whole, sliced, sizeof whole) == 0);
  test_group(param, net, source, folder, whole);

  sparknet_contribution* none = NULL;
  CHECK(refused(
      sparknet_contribution_decode("SPKNCOMT", 8, text("what came"), &none),
      SPARKNET_DATA_ERROR,
      "what came, byte 0"));
  sparknet_net* first = NULL;
  sparknet_master* master = NULL;
  OK(sparknet_net_create(net, text("{}"), &first));
  CHECK(refused(
      sparknet_master_create(param, first, text("{\"workers\": 2, \"outer\": \"elastic\"}"), &master),
      SPARKNET_DATA_ERROR,
      "there is no \"elastic\""));
  CHECK(refused(sparknet_master_create(param, first, text("{}"), &master), SPARKNET_DATA_ERROR, "\"workers\""));
  sparknet_net_free(first);
}

int main(int count, char** arguments) {
  if (count != 2) {
    printf("usage: %s FOLDER\n", arguments[0]);
    return 2;
  }
  CHECK(sparknet_c_version() == SPARKNET_C_VERSION);
  sparknet_net_param* net = NULL;
  sparknet_solver_param* solver = NULL;
  OK(sparknet_net_param_parse(text(kNet), text("kNet"), &net));
  OK(sparknet_solver_param_parse(text(kSolver), text("kSolver"), &solver));
  sparknet_source* source = make_source();
  int64_t size = 0;
  OK(sparknet_source_size(source, &size));
  CHECK(size == kExamples);

  test_descriptions(net);
  test_net(net, source);
  test_solver(solver, net, source, arguments[1]);
  test_rounds(solver, net, source, arguments[1]);

  CHECK(refused(sparknet_net_create(NULL, text(""), NULL), SPARKNET_ERROR, "NULL"));
  const sparknet_text name = text("data");
  const sparknet_tensor wrong = tensor(images, (sparknet_dtype)9, 2, kExamples, kInputs);
  sparknet_source* none = NULL;
  CHECK(refused(
      sparknet_source_from_tensors(&name, &wrong, 1, release, &released, &none),
      SPARKNET_DTYPE_ERROR,
      "\"data\""));
  CHECK(released == 0);
  sparknet_net_param_free(net);
  sparknet_solver_param_free(solver);
  sparknet_net_param_free(NULL);
  sparknet_source_free(source);
  CHECK(released == 1);
  printf("%s\n", failures == 0 ? "all is well" : "failed");
  return failures != 0;
}
