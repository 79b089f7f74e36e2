#include "sparknet/layers/filter.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningFilter final : public Layer {
 public:
  explicit RunningFilter(std::vector<double> pad) : pad_(std::move(pad)) {}

  void setup(LayerSetup& setup) override {
    const std::size_t data = setup.bottom().size() - 1;
    items_ = setup.bottom()[0][0];
    for (std::size_t b = 0; b < data; ++b) rows_.push_back(setup.bottom()[b].count(1));
    pad_.resize(data);
    setup.state(2 * static_cast<std::size_t>(items_) * sizeof(kernels::Index));
    setup.backward_reads(false, false);
    setup.no_gradient(data);
  }

  void forward(LayerIO& io) override {
    const std::size_t data = rows_.size();
    void* const kept = io.tops.size() > data ? io.top(data).raw() : nullptr;
    io.backend().select(io.dtype(), items_, io.bottom(data).raw(), places(io), where(io), kept);
    for (std::size_t b = 0; b < data; ++b)
      io.backend().gather_rows(io.dtype(), items_, rows_[b], places(io), io.bottom(b).raw(), pad_[b], io.top(b).raw());
  }

  void backward(LayerIO& io) override {
    for (std::size_t b = 0; b < rows_.size(); ++b)
      if (io.needs_bottom_diff(b))
        io.backend()
            .gather_rows(io.dtype(), items_, rows_[b], where(io), io.top_diff(b).raw(), 0, io.bottom_diff(b).raw());
  }

 private:
  static kernels::Index* places(LayerIO& io) { return reinterpret_cast<kernels::Index*>(io.state()); }
  kernels::Index* where(LayerIO& io) const { return places(io) + items_; }

  std::vector<double> pad_;
  Dim items_ = 0;
  std::vector<Dim> rows_;  // the elements of a row, of each data bottom
};

}  // namespace

std::vector<Shape> FilterLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  require(in.size() >= 2, "expects one or more inputs and, behind them, the selector, not {} in all", in.size());
  const std::size_t data = in.size() - 1;
  const Shape& selector = in[data];
  require(
      !selector.empty() && selector.count(1) == 1,
      "input {} is the selector, a number for each item, [N] or [N, 1], not {}",
      data,
      to_string(selector));
  for (std::size_t i = 0; i < data; ++i)
    require(
        !in[i].empty() && in[i][0] == selector[0],
        "input {} is {}, and the selector, input {}, is of {} items",
        i,
        to_string(in[i]),
        data,
        selector[0]);
  require(
      tops == data || tops == data + 1,
      "has {} inputs beside the selector, so it has {} tops, or {} with the number of kept items, and the tops are {}; "
      "`with` names them",
      data,
      data,
      data + 1,
      tops);
  require(
      options.pad.empty() || options.pad.size() == data,
      "option .pad has {} numbers, and there are {} inputs beside the selector",
      options.pad.size(),
      data);
  std::vector<Shape> shapes(in.begin(), in.end() - 1);
  if (tops > data) shapes.push_back(Shape{1});
  return shapes;
}

std::unique_ptr<Layer> FilterLayer::make() const {
  return std::make_unique<RunningFilter>(options.pad);
}

}  // namespace sparknet
