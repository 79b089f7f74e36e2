#include "kernels/cpu/lstm.h"

#include <algorithm>

#include "kernels/cpu/fast_math.h"

namespace sparknet::kernels::cpu {
namespace {

/// Elements below which waking the crew costs more than it saves.
constexpr Index kWorth = 4096;

/// Calls f(row, first column, columns) on pieces of [rows][columns], each within one row.
template <class F>
void for_pieces(Engine& engine, Index rows, Index columns, Index worth, F&& f) {
  constexpr Index kUnit = 16;
  for_ranges(engine.team, rows * columns, kUnit, worth, [&](Index begin, Index end) {
    while (begin < end) {
      const Index row = begin / columns, stop = std::min(end, (row + 1) * columns);
      f(row, begin - row * columns, stop - begin);
      begin = stop;
    }
  });
}

template <class T>
const T* at(const void* array, Index index) {
  return static_cast<const T*>(array) + index;
}
template <class T>
T* at(void* array, Index index) {
  return static_cast<T*>(array) + index;
}

}  // namespace

template <class T>
void lstm(Engine& engine, const LstmShape& shape, const LstmForward& args) {
  const Index hidden = shape.hidden;
  for_pieces(engine, shape.batch, hidden, kWorth, [&](Index row, Index column, Index n) {
    const Index cell = row * hidden + column;
    for (Index gate = 0; gate < 4; ++gate) {
      const Index place = (row * 4 + gate) * hidden + column;
      T* const y = at<T>(args.gates, place);
      if (args.gates != args.sums[0]) std::copy_n(at<T>(args.sums[0], place), n, y);
      for (const void* const more : {args.sums[1], args.sums[2]}) {
        if (!more) continue;
        const T* const x = at<T>(more, place);
        for (Index j = 0; j < n; ++j) y[j] += x[j];
      }
      if (gate < 3) {
        for (Index j = 0; j < n; ++j) y[j] = sigmoid(y[j]);
      } else {
        for (Index j = 0; j < n; ++j) y[j] = hyperbolic_tangent(y[j]);
      }
    }
    const T cont = *at<T>(args.cont, row);
    const T* const i = at<T>(static_cast<const void*>(args.gates), row * 4 * hidden + column);
    const T *const f = i + hidden, *const o = f + hidden, *const g = o + hidden;
    const T* const before = at<T>(args.c_prev, cell);
    T *const c = at<T>(args.c, cell), *const tanh_c = at<T>(args.tanh_c, cell), *const h = at<T>(args.h, cell);
    if (cont == T(0)) {
      SPARKNET_INDEPENDENT
      for (Index j = 0; j < n; ++j) c[j] = i[j] * g[j];
    } else {
      SPARKNET_INDEPENDENT
      for (Index j = 0; j < n; ++j) c[j] = cont * f[j] * before[j] + i[j] * g[j];
    }
    SPARKNET_INDEPENDENT
    for (Index j = 0; j < n; ++j) {
      tanh_c[j] = hyperbolic_tangent(c[j]);
      h[j] = o[j] * tanh_c[j];
    }
  });
}

template <class T>
void lstm_backward(Engine& engine, const LstmShape& shape, const LstmBackward& args) {
  const Index hidden = shape.hidden;
  for_pieces(engine, shape.batch, hidden, kWorthWaking, [&](Index row, Index column, Index n) {
    const Index cell = row * hidden + column, gates = row * 4 * hidden + column;
    const T cont = *at<T>(args.cont, row);
    const T* const i = at<T>(args.gates, gates);
    const T *const f = i + hidden, *const o = f + hidden, *const g = o + hidden;
    const T *const before = at<T>(args.c_prev, cell), *const tanh_c = at<T>(args.tanh_c, cell);
    const T* const dc = at<T>(static_cast<const void*>(args.dc), cell);
    T* const di = at<T>(args.dsums, gates);
    T *const df = di + hidden, *const d_o = df + hidden, *const dg = d_o + hidden;
    T* const dc_prev = at<T>(args.dc_prev, cell);
    const auto cells = [&](auto dh, auto remembered) {
      SPARKNET_INDEPENDENT
      for (Index j = 0; j < n; ++j) {
        const T dh_j = dh(j), i_j = i[j], f_j = f[j], o_j = o[j], g_j = g[j], tanh_j = tanh_c[j];
        const T dc_j = dc[j] + dh_j * o_j * (T(1) - tanh_j * tanh_j);
        di[j] = dc_j * g_j * i_j * (T(1) - i_j);
        df[j] = dc_j * remembered(j) * f_j * (T(1) - f_j);
        d_o[j] = dh_j * tanh_j * o_j * (T(1) - o_j);
        dg[j] = dc_j * i_j * (T(1) - g_j * g_j);
        dc_prev[j] = cont * dc_j * f_j;
      }
    };
    const T* const dh = at<T>(args.dh[0], cell);
    const T* const more = args.dh[1] ? at<T>(args.dh[1], cell) : nullptr;
    const auto with_dh = [&](auto remembered) {
      if (more) {
        cells([=](Index j) { return dh[j] + more[j]; }, remembered);
      } else {
        cells([=](Index j) { return dh[j]; }, remembered);
      }
    };
    if (cont == T(0)) {
      with_dh([](Index) { return T(0); });
    } else {
      with_dh([=](Index j) { return cont * before[j]; });
    }
  });
}

template <class T>
void gate_rows(Engine& engine, Index rows, Index columns, const T* gate, const T* x, T* y) {
  for_pieces(engine, rows, columns, kWorthWaking, [&](Index row, Index column, Index n) {
    const Index first = row * columns + column;
    if (gate[row] == T(0)) {
      std::fill_n(y + first, n, T(0));
    } else if (gate[row] != T(1)) {
      table<T>(engine).scale(n, gate[row], x + first, y + first);
    } else if (x != y) {
      std::copy_n(x + first, n, y + first);
    }
  });
}

#define SPARKNET_LSTM(T)                                                          \
  template void lstm<T>(Engine&, const LstmShape&, const LstmForward&);           \
  template void lstm_backward<T>(Engine&, const LstmShape&, const LstmBackward&); \
  template void gate_rows(Engine&, Index, Index, const T*, const T*, T*);
SPARKNET_LSTM(float)
SPARKNET_LSTM(double)
#undef SPARKNET_LSTM

}  // namespace sparknet::kernels::cpu
