#pragma once

#include "kernels/cuda/update.h"

namespace sparknet::kernels::cuda {

/// A net's place on one GPU. Its functions are defined beside their kernels, each in the file of its kind.
class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendOptions& options);
  ~CudaBackend() override;

  bool on_host() const override;
  void read(void* host, const void* memory, std::size_t bytes) override;
  void write(void* memory, const void* host, std::size_t bytes) override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void wait() override;
  std::unique_ptr<Upload> upload(std::size_t bytes) override;
  std::unique_ptr<Upload> upload(const ByteBatch& batch) override;
  std::unique_ptr<Download> download(std::size_t bytes, int depth) override;
  void begin_step() override;
  void end_step() override;
  void abandon_step() override;
  int threads() const override;
  const char* description() const override;
  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  std::unique_ptr<Linear> convolution(DType, const ConvolutionShape&, Activation) override;
  std::unique_ptr<Linear> convolution_nd(DType, const ConvolutionNdShape&, Activation) override;
  std::unique_ptr<Linear> deconvolution(DType, const ConvolutionShape&, Activation) override;
  std::unique_ptr<Linear> deconvolution_nd(DType, const ConvolutionNdShape&, Activation) override;
  std::unique_ptr<Linear> inner_product(DType, const InnerProductShape&, Activation) override;
  std::unique_ptr<Pooling> pooling(DType, const PoolingShape&, PoolMethod) override;
  std::unique_ptr<Lrn> lrn(DType, const LrnShape&) override;
  std::unique_ptr<Channels> channels(DType, const ChannelShape&) override;
  std::unique_ptr<BatchNorm> batch_norm(DType, const ChannelShape&, double eps) override;
  bool scales_batch_norm(const ChannelShape&) const override { return true; }
  std::unique_ptr<ScaledBatchNorm> scaled_batch_norm(DType, const ChannelShape&, double eps, Activation) override;
  std::unique_ptr<LayerNorm> layer_norm(DType, const LayerNormShape&) override;
  void relu(DType, Index count, double negative_slope, const void* x, void* y) override;
  void relu_backward(DType, Index count, double negative_slope, const void* gate, const void* dy, void* dx) override;
  void map(DType, const Map& map, Index count, const void* x, void* y) override;
  void map_backward(DType, const Map& map, Index count, const void* operand, const void* dy, void* dx) override;
  void dropout(
      DType, Index count, double keep, double scale, std::uint64_t seed, std::uint64_t sequence, const void* x,
      void* y) override;
  void softmax(DType, const SoftmaxShape&, const void* x, void* y) override;
  void softmax_backward(DType, const SoftmaxShape&, const void* y, const void* dy, void* dx) override;
  void loss(DType, const LossPass&, void* y, LossState* state, Index* verdict) override;
  void loss_backward(DType, const LossPass&, double factor, const void* dy, const LossState* state, void* dx) override;
  void accuracy(DType, const AccuracyPass&, Index* verdict) override;
  void arg_max(DType, const ArgMaxShape&, const void* x, void* y) override;
  void eltwise(
      DType, EltwiseOp, Index count, int inputs, const void* const* x, const double* coeff, Activation activation,
      void* y) override;
  void eltwise_backward(
      DType, EltwiseOp, Index count, int inputs, const void* const* x, const double* coeff, int input, const void* dy,
      void* dx) override;
  void copy_box(DType, const Box& box, const void* from, void* to) override;
  void fill_box(DType, const Box& box, double value, void* to) override;
  void sum_box(DType, const Box& box, const void* from, void* to) override;
  void copy_rows(
      Index rows, std::size_t row_bytes, const void* from, std::size_t from_stride, void* to,
      std::size_t to_stride) override;
  void reduce(DType, ReduceOp op, Index outer, Index inner, double scale, const void* x, void* y) override;
  void reduce_backward(
      DType, ReduceOp op, Index outer, Index inner, double scale, const void* x, const void* dy, void* dx) override;
  void embed(
      DType, const EmbedShape&, const void* indices, const void* weights, const void* bias, void* y,
      Index* verdict) override;
  void embed_backward(
      DType, const EmbedShape&, const void* indices, const void* dy, void* dweights, void* dbias,
      bool accumulate) override;
  void read_places(DType, Index count, Index limit, const void* indices, Index* places, Index* verdict) override;
  void select(DType, Index items, const void* selector, Index* places, Index* where, void* kept) override;
  void gather_rows(
      DType, Index rows, Index columns, const Index* places, const void* from, double pad, void* to) override;
  void scatter_rows(
      DType, Index count, Index columns, const Index* places, const void* from, Index rows, void* to) override;
  void lstm(DType, const LstmShape&, const LstmForward&) override;
  void lstm_backward(DType, const LstmShape&, const LstmBackward&) override;
  void gate_rows(DType, Index rows, Index columns, const void* gate, const void* x, void* y) override;
  void im2col(DType, const WindowShape&, const void* x, void* columns) override;
  void col2im(DType, const WindowShape&, const void* columns, void* x) override;
  /// With columns of F32 for an x of BF16.
  void col2im(DType of_columns, DType of_x, const WindowShape&, const void* columns, void* x);
  bool takes_bf16() const override { return context_.takes_bf16(); }
  void convert(DType from, DType to, Index count, const void* x, void* y) override;
  void transpose(DType from, DType to, Index outer, Index rows, Index columns, const void* x, void* y) override;
  void axpy(DType, Index count, double a, const void* x, void* y) override;
  void add_sum(DType, Index count, double factor, const void* x, double* total) override;
  void add_squares(DType, Index count, const void* x, double* total) override;
  void clip_factor(double limit, double* squares) override;
  void veto(int count, const Index* verdicts, Index* veto) override;
  void update(DType, const UpdatePass&) override;
  void end_updates() override;

 private:
  Context context_;
  Updates updates_;
  std::string description_;
};

}  // namespace sparknet::kernels::cuda
