#include "kernels/cuda/backend.h"
#include "kernels/cuda/functions.h"

namespace sparknet::kernels::cuda {
namespace {

template <class T>
void lstm_of(Context& context, const LstmShape& shape, const LstmForward& args) {
  const Index hidden = shape.hidden;
  const T *const sums = in<T>(args.sums[0]), *const second = in<T>(args.sums[1]), *const third = in<T>(args.sums[2]);
  const T *const cont = in<T>(args.cont), *const c_prev = in<T>(args.c_prev);
  T *const gates = out<T>(args.gates), *const c = out<T>(args.c), *const tanh_c = out<T>(args.tanh_c);
  T* const h = out<T>(args.h);
  for_each(context, "LSTM", shape.batch * hidden, [=] __device__(Index cell) {
    const Index row = cell / hidden, first = row * 4 * hidden + cell % hidden;
    T gate[4];
    for (int k = 0; k < 4; ++k) {
      const Index place = first + k * hidden;
      T sum = sums[place];
      if (second) sum += second[place];
      if (third) sum += third[place];
      gate[k] = k < 3 ? sigmoid(sum) : std::tanh(sum);
      gates[place] = gate[k];
    }
    T now = gate[0] * gate[3];
    if (cont[row] != T(0)) now += cont[row] * gate[1] * c_prev[cell];
    const T tanh_now = std::tanh(now);
    c[cell] = now;
    tanh_c[cell] = tanh_now;
    h[cell] = gate[2] * tanh_now;
  });
}

template <class T>
void lstm_backward_of(Context& context, const LstmShape& shape, const LstmBackward& args) {
  const Index hidden = shape.hidden;
  const T *const cont = in<T>(args.cont), *const c_prev = in<T>(args.c_prev), *const gates = in<T>(args.gates);
  const T *const tanh_c = in<T>(args.tanh_c), *const dh = in<T>(args.dh[0]), *const more = in<T>(args.dh[1]);
  const T* const dc = in<T>(args.dc);
  T *const dsums = out<T>(args.dsums), *const dc_prev = out<T>(args.dc_prev);
  for_each(context, "LSTM", shape.batch * hidden, [=] __device__(Index cell) {
    const Index row = cell / hidden, first = row * 4 * hidden + cell % hidden;
    const T i = gates[first], f = gates[first + hidden], o = gates[first + 2 * hidden], g = gates[first + 3 * hidden];
    const T tanh_now = tanh_c[cell], keep = cont[row];
    const T dh_now = more ? dh[cell] + more[cell] : dh[cell];
    const T dc_now = dc[cell] + dh_now * o * (T(1) - tanh_now * tanh_now);
    const T remembered = keep == T(0) ? T(0) : keep * c_prev[cell];
    dsums[first] = dc_now * g * i * (T(1) - i);
    dsums[first + hidden] = dc_now * remembered * f * (T(1) - f);
    dsums[first + 2 * hidden] = dh_now * tanh_now * o * (T(1) - o);
    dsums[first + 3 * hidden] = dc_now * i * (T(1) - g * g);
    dc_prev[cell] = keep * dc_now * f;
  });
}

}  // namespace

void CudaBackend::lstm(DType dtype, const LstmShape& shape, const LstmForward& args) {
  with_type(dtype, [&](auto zero) { lstm_of<decltype(zero)>(context_, shape, args); });
}

void CudaBackend::lstm_backward(DType dtype, const LstmShape& shape, const LstmBackward& args) {
  with_type(dtype, [&](auto zero) { lstm_backward_of<decltype(zero)>(context_, shape, args); });
}

}  // namespace sparknet::kernels::cuda
