#include "kernels/cpu/output_gradient.h"

#include <algorithm>

namespace sparknet::kernels::cpu {

template <class T>
void mask_and_sum(
    Engine& engine, Index batch, Index outputs, Index positions, Activation activation, const BackwardArgs& args,
    T* sums) {
  if (!args.dbias && !activation.relu) return;
  const HotTable<T>& hot = table<T>(engine);
  const Index count = outputs * positions;
  if (args.dbias) std::fill_n(sums, batch * outputs, T(0));
  engine.team.run([&](int worker) {
    const Share part = share(batch, engine.team.size(), worker);
    for (Index image = part.begin; image < part.end; ++image) {
      hot.gradient(
          {outputs,
           positions,
           static_cast<T*>(args.dy) + image * count,
           activation.relu ? static_cast<const T*>(args.y) + image * count : nullptr,
           positions,
           static_cast<T>(activation.negative_slope),
           nullptr,
           0,
           args.dbias ? sums + image * outputs : nullptr});
    }
  });
  if (!args.dbias) return;
  T* const dbias = static_cast<T*>(args.dbias);
  for (Index image = 1; image < batch; ++image) hot.axpy(outputs, T(1), sums + image * outputs, sums);
  if (args.accumulate) {
    hot.axpy(outputs, T(1), sums, dbias);
  } else {
    std::copy_n(sums, outputs, dbias);
  }
}

template void mask_and_sum(Engine&, Index, Index, Index, Activation, const BackwardArgs&, float*);
template void mask_and_sum(Engine&, Index, Index, Index, Activation, const BackwardArgs&, double*);

}  // namespace sparknet::kernels::cpu
