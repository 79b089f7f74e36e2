#ifndef SPARKNET_SPARKNET_C_H
#define SPARKNET_SPARKNET_C_H

/* sparknet from C, and from whatever speaks C: nets, solvers and rounds of averaging SGD, in libsparknet_c.so.

   - Every call that can fail returns a sparknet_status. Where it is not SPARKNET_OK nothing was changed or made, and
     sparknet_message() says in words what is wrong, where, and what to do. No C++ exception comes out of a call.
   - What a call makes is the caller's, who frees it by the function of its name; freeing NULL does nothing. Things
     keep what they are made of: a solver its net, a net its data.
   - Text goes in as pointer and length, and needs no 0 at its end. It is UTF-8.
   - Options are a JSON object, or nothing at all. A name that is not known is refused.
   - Calls on different things may run in different threads at the same time. One thing is used by one thread at a time;
     sources, descriptions and bytes never change once they are made (but for sparknet_net_param_add) and may be read by
     many at once.
   - The ABI only grows: sparknet_c_version() is raised where it does, and what is here stays as it is. */

#include <stddef.h>
#include <stdint.h>

#include "sparknet/arrow_c.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SPARKNET_C_VERSION 2
#define SPARKNET_C_API __attribute__((visibility("default")))

/* The version of the library at hand, which is at least that of the header a program was compiled with. */
SPARKNET_C_API uint32_t sparknet_c_version(void);

typedef enum sparknet_status {
  SPARKNET_OK = 0,
  SPARKNET_ERROR = 1,        /* whatever has no kind of its own */
  SPARKNET_SHAPE_ERROR = 2,  /* shapes, or a shape and an index, that do not go together */
  SPARKNET_DTYPE_ERROR = 3,  /* another element type than the one asked for */
  SPARKNET_DATA_ERROR = 4,   /* a file, text or stream that is not what it should be */
  SPARKNET_NET_ERROR = 5,    /* a net that makes no sense, or a call that does not fit it */
  SPARKNET_DEVICE_ERROR = 6, /* a device that cannot be had or that failed */
  SPARKNET_MEMORY_ERROR = 7  /* memory that cannot be had */
} sparknet_status;

typedef struct sparknet_text {
  const char* data;
  size_t size;
} sparknet_text;

/* Why the last call of this thread that failed did. Valid until the next one that fails. */
SPARKNET_C_API sparknet_text sparknet_message(void);

/* ---- Bytes that the library made: encoded tasks and contributions, text, JSON ---- */

typedef struct sparknet_bytes sparknet_bytes;
/* Valid until they are freed. */
SPARKNET_C_API const void* sparknet_bytes_data(const sparknet_bytes* bytes);
SPARKNET_C_API size_t sparknet_bytes_size(const sparknet_bytes* bytes);
SPARKNET_C_API void sparknet_bytes_free(sparknet_bytes* bytes);

/* ---- Tensors: memory of either side, dense, row by row ---- */

typedef enum sparknet_dtype { SPARKNET_F32 = 0, SPARKNET_F64 = 1, SPARKNET_U8 = 2, SPARKNET_I32 = 3 } sparknet_dtype;

#define SPARKNET_MAX_RANK 32
typedef struct sparknet_tensor {
  void* data;
  int32_t dtype; /* a sparknet_dtype */
  int32_t rank;
  int64_t shape[SPARKNET_MAX_RANK];
} sparknet_tensor;

/* ---- Descriptions of nets and solvers ---- */

typedef struct sparknet_net_param sparknet_net_param;
typedef struct sparknet_solver_param sparknet_solver_param;

/* A net from a prototxt; `name` is what errors call the text. */
SPARKNET_C_API sparknet_status
sparknet_net_param_parse(sparknet_text prototxt, sparknet_text name, sparknet_net_param** out);
/* A net of no layers, for sparknet_net_param_add. */
SPARKNET_C_API sparknet_status sparknet_net_param_create(sparknet_text name, sparknet_net_param** out);
/* Adds a layer as the C++ DSL has it, by the names of its types and options:
     {"type": "ConvolutionLayer", "name": "conv1", "bottom": ["data"], "options": {"kernel": 5, "num_output": 20}}
     {"type": "RDDLayer", "name": "data", "shape": [64, 1, 28, 28], "include": "test"}
   Beside them: "with", an object of top, param, loss_weight, propagate_down, include and exclude; and "where",
   {"file": "train.py", "line": 12}, which errors name. A height and width is one number or [h, w]; multipliers are one
   number or [weights, bias]; a filler is its name or {"type": "gaussian", "std": 0.01}; an enumerator is its name in
   whatever case. */
SPARKNET_C_API sparknet_status sparknet_net_param_add(sparknet_net_param* net, sparknet_text layer);
/* The types of layers that sparknet_net_param_add knows, as JSON: [{"type", "inputs", "options": [names]}]; "inputs" is
   0 where any number is read, and -1 where none is. */
SPARKNET_C_API sparknet_status sparknet_layer_types(sparknet_bytes** out);
/* The net as a prototxt. Fails for a net that Caffe's files cannot say. */
SPARKNET_C_API sparknet_status sparknet_net_param_prototxt(const sparknet_net_param* net, sparknet_bytes** out);
/* The net as it would be written in C++. */
SPARKNET_C_API sparknet_status sparknet_net_param_text(const sparknet_net_param* net, sparknet_bytes** out);
/* Whether two nets are the same description. */
SPARKNET_C_API sparknet_status
sparknet_net_param_equal(const sparknet_net_param* a, const sparknet_net_param* b, int32_t* out);
/* The layers that take part, with shapes, as JSON: [{"name", "type", "options" (text), "input" (whether its tops come
   from outside of the net), "bottoms", "bottom_shapes", "tops", "top_shapes"}]; options are "phase" ("train" or
   "test"), "level" and "stages". Fails for a net that makes no sense. */
SPARKNET_C_API sparknet_status
sparknet_net_param_layers(const sparknet_net_param* net, sparknet_text options, sparknet_bytes** out);
SPARKNET_C_API void sparknet_net_param_free(sparknet_net_param* net);

/* A solver from a prototxt that names no net. */
SPARKNET_C_API sparknet_status
sparknet_solver_param_parse(sparknet_text prototxt, sparknet_text name, sparknet_solver_param** out);
SPARKNET_C_API void sparknet_solver_param_free(sparknet_solver_param* solver);

/* ---- Examples ---- */

typedef struct sparknet_source sparknet_source;

/* One column for each tensor, whose first dimension counts the examples. The memory is not copied: `release` (or NULL)
   is called with `context` when nothing reads it any more, in whatever thread that happens; not where the call fails.
 */
SPARKNET_C_API sparknet_status sparknet_source_from_tensors(
    const sparknet_text* names, const sparknet_tensor* tensors, size_t count, void (*release)(void*), void* context,
    sparknet_source** out);
/* All record batches of a stream of the Arrow C data interface, which is taken over and released, also where the call
   fails. `columns` is JSON: [{"name": "data", "column": "image", "shape": [1, 28, 28]}, {"name": "label",
   "classes": 10}]; `column` is Arrow's name (left out: `name`), `shape` that of one example (left out: one number),
   `classes` says that the values are labels. u8, i32, f32 and f64 (bytes, lists, lists of lists and numbers) are read
   where they are; other numbers are converted as they are read. */
SPARKNET_C_API sparknet_status
sparknet_source_from_arrow(struct ArrowArrayStream* stream, sparknet_text columns, sparknet_source** out);
/* Part `index` of `count`: consecutive examples. */
SPARKNET_C_API sparknet_status
sparknet_source_part(const sparknet_source* source, int32_t index, int32_t count, sparknet_source** out);
SPARKNET_C_API sparknet_status sparknet_source_size(const sparknet_source* source, int64_t* out);
SPARKNET_C_API void sparknet_source_free(sparknet_source* source);

/* ---- Nets ---- */

typedef struct sparknet_net sparknet_net;

/* Options: "phase" ("train", "test"), "dtype" ("f32", "f64"), "device" ("cpu", "cuda", "cuda:1"), "threads" (0: all
   cores), "tf32", "bf16" (true: on a GPU, blobs of BF16 where that pays), "nhwc" (on a GPU, true: images between
   convolutions are of that order in memory, as with "bf16"), "winograd" (false: the plain sums of F32), "recompute"
   (true: less memory, a little more time), "freeze" (true, in the phase "test": weights change by
   sparknet_net_set_weights and sparknet_net_load alone, and the net brings them into the form that is fastest to run),
   "seed", "keep" (blobs to be readable whatever that costs), "level", "stages", "part", "parts". */
SPARKNET_C_API sparknet_status
sparknet_net_create(const sparknet_net_param* param, sparknet_text options, sparknet_net** out);
/* What the net is, as JSON: {"inputs": [{"name", "shape"}], "outputs": [names], "blobs": [names], "batch", "dtype",
   "params": [{"layer", "name", "shape", "offset"}], "elements": of the weights with the gaps between parameters}. */
SPARKNET_C_API sparknet_status sparknet_net_info(const sparknet_net* net, sparknet_bytes** out);
/* Feeds the inputs from the columns of their names, a batch for each forward pass. Options: "shuffle", "seed",
   "random", "prefetch", and "transforms", an object of columns with "scale", "mean_values", "crop", "mirror". */
SPARKNET_C_API sparknet_status
sparknet_net_set_data(sparknet_net* net, const sparknet_source* source, sparknet_text options);
/* Sets an input once, by copying, from any element type. */
SPARKNET_C_API sparknet_status
sparknet_net_set_input(sparknet_net* net, sparknet_text name, const sparknet_tensor* value);
SPARKNET_C_API sparknet_status sparknet_net_forward(sparknet_net* net, double* loss);
SPARKNET_C_API sparknet_status sparknet_net_backward(sparknet_net* net);
/* The values of a blob: memory of the net's, valid until the next call on it. */
SPARKNET_C_API sparknet_status sparknet_net_blob(sparknet_net* net, sparknet_text name, sparknet_tensor* out);
/* The gradient of a blob after a backward pass, by the same rules. */
SPARKNET_C_API sparknet_status sparknet_net_blob_diff(sparknet_net* net, sparknet_text name, sparknet_tensor* out);
/* All weights as one buffer of the net's dtype, as sparknet_net_info says; `bytes` must be its size. */
SPARKNET_C_API sparknet_status sparknet_net_get_weights(const sparknet_net* net, void* out, size_t bytes);
SPARKNET_C_API sparknet_status sparknet_net_set_weights(sparknet_net* net, const void* weights, size_t bytes);
/* Copies weights into the layers of the same names from a .caffemodel; `report` (or NULL) is a line on what was
   copied. */
SPARKNET_C_API sparknet_status sparknet_net_load(sparknet_net* net, sparknet_text file, sparknet_bytes** report);
/* Writes a .caffemodel that is whole or not there. */
SPARKNET_C_API sparknet_status sparknet_net_save(const sparknet_net* net, sparknet_text file);
SPARKNET_C_API void sparknet_net_free(sparknet_net* net);

/* ---- Solvers ---- */

typedef struct sparknet_solver sparknet_solver;

/* Options are those of a net, but for the phase. */
SPARKNET_C_API sparknet_status sparknet_solver_create(
    const sparknet_solver_param* solver, const sparknet_net_param* net, sparknet_text options, sparknet_solver** out);
/* The net it trains. It is freed by sparknet_net_free as any other, and must not be used when the solver is gone. */
SPARKNET_C_API sparknet_status sparknet_solver_net(sparknet_solver* solver, sparknet_net** out);
SPARKNET_C_API sparknet_status
sparknet_solver_set_data(sparknet_solver* solver, const sparknet_source* source, sparknet_text options);
SPARKNET_C_API sparknet_status
sparknet_solver_set_test_data(sparknet_solver* solver, const sparknet_source* source, sparknet_text options);
/* Trains `count` iterations; `loss` (or NULL) is that of the last, smoothed as the solver says. */
SPARKNET_C_API sparknet_status sparknet_solver_step(sparknet_solver* solver, int64_t count, double* loss);
/* The means of the outputs over test_iter batches of the test data, as JSON: {"accuracy": 0.99}. */
SPARKNET_C_API sparknet_status sparknet_solver_test(sparknet_solver* solver, sparknet_bytes** out);
SPARKNET_C_API sparknet_status sparknet_solver_iteration(const sparknet_solver* solver, int64_t* out);
/* Everything a run needs to go on bit for bit, in a file that is whole or not there. */
SPARKNET_C_API sparknet_status sparknet_solver_snapshot(const sparknet_solver* solver, sparknet_text file);
SPARKNET_C_API sparknet_status sparknet_solver_restore(sparknet_solver* solver, sparknet_text file);
SPARKNET_C_API void sparknet_solver_free(sparknet_solver* solver);

/* ---- Rounds of averaging SGD: weights in, contribution out ---- */

typedef struct sparknet_contribution sparknet_contribution;
typedef struct sparknet_joiner sparknet_joiner;
typedef struct sparknet_master sparknet_master;

/* One worker's part of a round, as the bytes of sparknet_master_task ask for it. It depends on the task, the solver's
   description and the worker's data alone, so that any process may do it, and do it again. */
SPARKNET_C_API sparknet_status sparknet_solver_round(
    sparknet_solver* solver, const void* task, size_t bytes, int32_t worker, sparknet_contribution** out);

/* Options: "codec" ("exact", "bf16", "int8"), "slice" and "slices": number `slice` of so many parts of the sums. */
SPARKNET_C_API sparknet_status
sparknet_contribution_encode(const sparknet_contribution* contribution, sparknet_text options, sparknet_bytes** out);
/* `name` is what errors call the bytes. */
SPARKNET_C_API sparknet_status
sparknet_contribution_decode(const void* bytes, size_t size, sparknet_text name, sparknet_contribution** out);
/* The sum of several, in the order of their workers and not of the list: the same bits always. They are used up, and
   only to be freed afterwards. */
SPARKNET_C_API sparknet_status
sparknet_contribution_merge(sparknet_contribution* const* parts, size_t count, sparknet_contribution** out);
/* As JSON: {"round", "slice", "slices", "workers": [numbers], "rejected", "steps", "examples", "loss", "seconds"}. */
SPARKNET_C_API sparknet_status
sparknet_contribution_info(const sparknet_contribution* contribution, sparknet_bytes** out);
SPARKNET_C_API void sparknet_contribution_free(sparknet_contribution* contribution);

/* Puts slices together as they come, in any order; each may be freed when it was added. */
SPARKNET_C_API sparknet_status sparknet_joiner_create(sparknet_joiner** out);
SPARKNET_C_API sparknet_status sparknet_joiner_add(sparknet_joiner* joiner, const sparknet_contribution* slice);
SPARKNET_C_API sparknet_status sparknet_joiner_take(sparknet_joiner* joiner, sparknet_contribution** out);
SPARKNET_C_API void sparknet_joiner_free(sparknet_joiner* joiner);

/* Holds the weights, asks for rounds and makes the next weights of what comes back. The first weights are `first`'s.
   Options: "workers" (required), "tau" (steps of a round; 0: no limit), "round_seconds", "round_examples",
   "weighting" ("examples", "steps", "uniform"), "history" ("reset", "average", or "keep", where each worker's solver
   must be the one of the round before), "quorum", "carries" ("weights", or "differences", which the codecs bf16 and
   int8 need), and "outer": "average", "diloco", or an object of "type" ("sgd" with "lr", "momentum", "nesterov";
   "slowmo" with "lr", "momentum"). */
SPARKNET_C_API sparknet_status sparknet_master_create(
    const sparknet_solver_param* solver, const sparknet_net* first, sparknet_text options, sparknet_master** out);
/* What every worker is asked for in this round. */
SPARKNET_C_API sparknet_status sparknet_master_task(const sparknet_master* master, sparknet_bytes** out);
/* Ends the round with what came back, whole contributions in any order, which are used up. `stats` (or NULL) is JSON:
   {"round", "iteration", "workers", "rejected", "steps", "examples", "loss", "rate", "seconds"}. */
SPARKNET_C_API sparknet_status sparknet_master_apply(
    sparknet_master* master, sparknet_contribution* const* parts, size_t count, sparknet_bytes** stats);
/* As JSON: {"round", "iteration", "done", "elements", "dtype"}. */
SPARKNET_C_API sparknet_status sparknet_master_info(const sparknet_master* master, sparknet_bytes** out);
SPARKNET_C_API sparknet_status sparknet_master_get_weights(const sparknet_master* master, void* out, size_t bytes);
SPARKNET_C_API sparknet_status sparknet_master_snapshot(const sparknet_master* master, sparknet_text file);
SPARKNET_C_API sparknet_status sparknet_master_restore(sparknet_master* master, sparknet_text file);
SPARKNET_C_API void sparknet_master_free(sparknet_master* master);

/* ---- Averaging by the workers themselves, in a group that holds together for a whole training (since version 2) ----
 */

typedef struct sparknet_communicator sparknet_communicator;
typedef struct sparknet_averaging sparknet_averaging;

/* How the members find each other, once: `mine` is a line of text of this one, and `all` gets those of all, in the
   order of their ranks, valid until the call that asked returns. Anything but 0 makes that call fail. */
typedef int32_t (*sparknet_all_gather)(void* context, sparknet_text mine, sparknet_text* all);

/* Member `rank` of a group of `size` processes or threads, which talk over TCP by Gloo. Options: "host", where the
   others reach this one (left out: the machine's name), and "timeout", seconds for each exchange (600; 0: none). A
   member is used by one thread at a time, and all make the same calls in the same order. */
SPARKNET_C_API sparknet_status sparknet_communicator_create(
    int32_t rank, int32_t size, sparknet_text options, sparknet_all_gather all_gather, void* context,
    sparknet_communicator** out);
/* All members' values become those of member `root`. */
SPARKNET_C_API sparknet_status
sparknet_communicator_broadcast(sparknet_communicator* communicator, const sparknet_tensor* values, int32_t root);
/* All members' values, f32 or f64, become their sum in the order of the ranks, the same bits everywhere. */
SPARKNET_C_API sparknet_status
sparknet_communicator_sum(sparknet_communicator* communicator, const sparknet_tensor* values);
/* Waits until all members leave; then nothing can be exchanged any more. */
SPARKNET_C_API sparknet_status sparknet_communicator_leave(sparknet_communicator* communicator);
/* One that is freed without having left is lost to the others, whose next exchange fails. */
SPARKNET_C_API void sparknet_communicator_free(sparknet_communicator* communicator);

/* This member's side of averaging, with its solver, which has this worker's data. All members make one; the first
   weights are those of rank 0. Options are those of a master but for "workers" and "carries"; "history" is "keep" where
   nothing is said, "outer" may be "elastic" too (or an object with "beta"), "timeout" is how many seconds after the
   first the last member may come to the end of a round (600; 0: as long as it takes), and with "gradients": true
   members use the mean of their gradients in every step: synchronous SGD, in rounds of "tau" steps. */
SPARKNET_C_API sparknet_status sparknet_averaging_create(
    sparknet_solver* solver, sparknet_communicator* communicator, sparknet_text options, sparknet_averaging** out);
/* One round: trains, averages, up to max_iter. `stats` (or NULL) are those of sparknet_master_apply, and beside
   "seconds" of training those of "wait", "exchange" and "apply". */
SPARKNET_C_API sparknet_status sparknet_averaging_round(sparknet_averaging* averaging, sparknet_bytes** stats);
/* As JSON: {"iteration", "done", "elements", "dtype"}. */
SPARKNET_C_API sparknet_status sparknet_averaging_info(const sparknet_averaging* averaging, sparknet_bytes** out);
/* The weights that all agree on. */
SPARKNET_C_API sparknet_status
sparknet_averaging_get_weights(const sparknet_averaging* averaging, void* out, size_t bytes);
/* All members call it, and that of rank 0 writes one file that is whole or not there. */
SPARKNET_C_API sparknet_status sparknet_averaging_snapshot(sparknet_averaging* averaging, sparknet_text file);
/* All members call it, and that of rank 0 reads: all goes on bit for bit. */
SPARKNET_C_API sparknet_status sparknet_averaging_restore(sparknet_averaging* averaging, sparknet_text file);
SPARKNET_C_API void sparknet_averaging_free(sparknet_averaging* averaging);

#ifdef __cplusplus
}
#endif

#endif /* SPARKNET_SPARKNET_C_H */
