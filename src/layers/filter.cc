#include "sparknet/layers/filter.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningFilter final : public Layer {
 public:
  explicit RunningFilter(std::vector<double> pad) : pad_(std::move(pad)) {}

  void setup(LayerSetup& setup) override {
    const std::size_t data = setup.bottom().size() - 1;
    items_ = static_cast<std::size_t>(setup.bottom()[0][0]);
    for (std::size_t b = 0; b < data; ++b) rows_.push_back(setup.bottom()[b].count(1));
    element_bytes_ = size_of(setup.dtype());
    pad_.resize(data);
    kept_.reserve(items_);
    setup.backward_reads(false, false);
    setup.no_gradient(data);
  }

  void forward(LayerIO& io) override {
    kept_.clear();
    for (std::size_t i = 0; i < items_; ++i)
      if (element(io.bottom(rows_.size()), static_cast<Dim>(i)) != 0) kept_.push_back(i);
    for (std::size_t b = 0; b < rows_.size(); ++b) {
      for (std::size_t i = 0; i < kept_.size(); ++i) copy_row(io, b, io.bottom(b), kept_[i], io.top(b), i);
      fill_rows(io, b, io.top(b), kept_.size(), pad_[b]);
    }
    if (io.tops.size() > rows_.size()) io.top(rows_.size()).fill(static_cast<double>(kept_.size()));
  }

  void backward(LayerIO& io) override {
    for (std::size_t b = 0; b < rows_.size(); ++b) {
      if (!io.needs_bottom_diff(b)) continue;
      fill_rows(io, b, io.bottom_diff(b), 0, 0);
      for (std::size_t i = 0; i < kept_.size(); ++i) copy_row(io, b, io.top_diff(b), i, io.bottom_diff(b), kept_[i]);
    }
  }

 private:
  std::size_t row_bytes(std::size_t b) const { return static_cast<std::size_t>(rows_[b]) * element_bytes_; }

  void copy_row(LayerIO& io, std::size_t b, const Tensor& from, std::size_t i, Tensor& to, std::size_t j) const {
    const std::size_t bytes = row_bytes(b);
    io.backend().copy_rows(1, bytes, from.raw() + i * bytes, bytes, to.raw() + j * bytes, bytes);
  }
  /// The rows from `first` on.
  void fill_rows(LayerIO& io, std::size_t b, Tensor& to, std::size_t first, double value) const {
    std::byte* const begin = to.raw() + first * row_bytes(b);
    const Dim count = static_cast<Dim>(items_ - first) * rows_[b];
    io.backend().map(io.dtype(), {.kind = kernels::MapKind::Constant, .a = value}, count, begin, begin);
  }

  std::vector<double> pad_;
  std::size_t items_ = 0, element_bytes_ = 0;
  std::vector<Dim> rows_;          // the elements of a row, of each data bottom
  std::vector<std::size_t> kept_;  // of the last forward
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
