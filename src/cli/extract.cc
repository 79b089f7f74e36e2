#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "src/caffe/hdf5_file.h"
#include "src/cli/commands.h"
#include "src/cli/npy.h"
#include "src/cli/progress.h"

namespace sparknet::cli {
namespace {

/// How many examples the net's data has: the largest source counts, as where one is gone through over and over beside
/// another. 0: there is none.
Dim count_examples(const Net& net) {
  Dim most = 0;
  for (const LayerParam& layer : net.param().layers) {
    if (!layer.in(net.options().state())) continue;
    if (const auto feed = layer.feed(net.options().phase)) most = std::max(most, feed->source->size());
  }
  return most;
}

/// A blob's values as rows: one for each example, or one for a batch.
Tensor rows_of(const Tensor& blob) {
  return blob.rank() == 0 ? blob.reshape({1}) : blob;
}

}  // namespace

int extract(const ExtractArguments& arguments) {
  const std::vector<std::string> names = split(arguments.blobs);
  const std::string kind = arguments.out.extension().string();
  if (kind != ".npy" && kind != ".h5")
    throw UsageError(fmt::format("{} is to end in .npy or .h5", arguments.out.string()));
  if (names.empty()) throw UsageError("--blobs names no blob");
  if (kind == ".npy" && names.size() > 1)
    throw UsageError(fmt::format("a .npy file holds one blob, and --blobs names {}; .h5 holds them all", names.size()));

  Net net = open_net(frozen(arguments.net), names);
  require_feeds(net);
  const Dim batch = net.batch_size(), examples = count_examples(net);
  std::int64_t batches = (examples + batch - 1) / batch;
  Dim rows_left = examples;
  if (arguments.iterations) {
    batches = *arguments.iterations;
    rows_left = batches * batch;
  } else if (examples == 0) {
    throw UsageError("the net's data has no end; --iterations says how many batches to run");
  }

  std::optional<caffe::Hdf5Writer> hdf5;
  std::unique_ptr<NpyWriter> npy;
  if (kind == ".h5") hdf5.emplace(arguments.out);
  std::optional<ProgressReport> report;
  if (isatty(STDOUT_FILENO)) report.emplace(ProgressReport::Options{0, batches, batch, 0, true});
  if (report) report->start_clock();
  for (std::int64_t done = 0; done < batches; ++done) {
    const double loss = net.forward();
    const Dim wanted = std::min(rows_left, batch);
    for (const std::string& name : names) {
      Tensor rows = rows_of(net.blob(name));
      const bool by_example = rows.shape()[0] == batch;
      if (kind == ".npy" && !npy) {
        Shape all = rows.shape();
        all[0] = by_example ? (batches - 1) * batch + std::min(batch, rows_left - (batches - 1) * batch)
                            : batches * rows.shape()[0];
        npy = std::make_unique<NpyWriter>(arguments.out, all);
      }
      if (by_example && wanted < batch) {
        Shape first = rows.shape(), end = rows.shape();
        for (std::size_t axis = 0; axis < first.size(); ++axis) first[axis] = 0;
        end[0] = wanted;
        rows = rows.subarray(first, end);
      }
      if (npy)
        npy->append(rows);
      else
        hdf5->append(name, rows);
    }
    rows_left -= wanted;
    if (report) report->iteration(done + 1, loss, 0);
  }
  if (report) report->finish();
  if (npy) npy->commit();
  if (hdf5) hdf5->commit();
  return 0;
}

}  // namespace sparknet::cli
