#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include "src/cli/commands.h"
#include "src/cli/outputs.h"
#include "src/cli/progress.h"

namespace sparknet::cli {

Means run_batches(Net& net, std::int64_t batches, const std::function<bool(std::int64_t done, double loss)>& after) {
  Means sums;
  std::int64_t done = 0;
  while (done < batches) {
    sums.loss += net.forward();
    std::size_t at = 0;
    for (const std::string& output : net.outputs()) {
      const Tensor blob = net.blob(output).cast(DType::F64).flatten();
      for (Dim i = 0; i < blob.count(); ++i, ++at) {
        if (done == 0) sums.outputs.push_back({blob.count() == 1 ? output : fmt::format("{}[{}]", output, i), 0});
        sums.outputs[at].value += blob.get<double>(i);
      }
    }
    ++done;
    if (after && !after(done, sums.loss / static_cast<double>(done))) break;
  }
  if (done > 0) {
    sums.loss /= static_cast<double>(done);
    for (TestResult& output : sums.outputs) output.value /= static_cast<double>(done);
  }
  return sums;
}

int test(const TestArguments& arguments) {
  Net net = open_net(frozen(arguments.net));
  require_feeds(net);
  std::optional<ProgressReport> report;
  if (isatty(STDOUT_FILENO))
    report.emplace(ProgressReport::Options{0, arguments.iterations, net.batch_size(), 0, true});
  if (report) report->start_clock();
  double loss_before = 0;
  const Means means = run_batches(net, arguments.iterations, [&](std::int64_t done, double loss) {
    const double of_batch = loss * static_cast<double>(done) - loss_before;
    loss_before += of_batch;
    if (report) report->iteration(done, of_batch, 0);
    return true;
  });
  if (report) report->finish();
  for (const TestResult& output : means.outputs) fmt::print("{}\n", result_text(output.output, output.value));
  return 0;
}

}  // namespace sparknet::cli
