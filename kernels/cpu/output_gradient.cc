#include "kernels/cpu/output_gradient.h"

#include <algorithm>

namespace sparknet::kernels::cpu {

template <class T>
void mask_and_sum(
    Engine& engine, Index batch, Index outputs, Index positions, Activation activation, const BackwardArgs& args,
    T* sums) {
  if (!args.dbias && !activation.relu) return;
  const HotTable<T>& hot = table<T>(engine);
  if (args.dbias) std::fill_n(sums, batch * outputs, T(0));
  // A plane is a row to the kernel.
  for_ranges(engine.team, batch * outputs, 1, 1 + kWorthWaking / positions, [&](Index begin, Index end) {
    hot.gradient(
        {end - begin,
         positions,
         static_cast<T*>(args.dy) + begin * positions,
         activation.relu ? static_cast<const T*>(args.y) + begin * positions : nullptr,
         positions,
         static_cast<T>(activation.negative_slope),
         nullptr,
         0,
         args.dbias ? sums + begin : nullptr});
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
