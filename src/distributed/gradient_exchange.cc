#include "src/distributed/gradient_exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sparknet::detail {

GradientExchange::GradientExchange(Solver& solver, Communicator& group, const SharedGradients& options)
    : solver_(solver), group_(group), reaches_(group.reaches(solver.net().options().device)) {
  Tensor examples(Shape(group.size()), DType::F64);
  const auto counts = examples.span<double>();
  const double mine = static_cast<double>(solver.examples_per_step());
  counts[static_cast<std::size_t>(group.rank())] = mine;
  group.all_reduce_sum(examples);
  double total = 0;
  for (const double count : counts) total += count;
  // In units of the first worker's examples, so that equal workers are added as they are.
  scale_ = mine / counts[0];
  divisor_ = total / counts[0];
  cut_into_buckets(options.bucket_bytes);
  if (options.overlap && group.works_on_any_thread()) thread_ = std::thread(&GradientExchange::work, this);
  solver_.set_gradient_hook(this);
}

GradientExchange::~GradientExchange() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stops_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  solver_.set_gradient_hook(nullptr);
}

void GradientExchange::cut_into_buckets(std::size_t bytes) {
  Net& net = solver_.net();
  const std::vector<ParamInfo>& params = net.params();
  const Tensor arena = net.gradient_arena();
  const Dim longest = std::max<Dim>(1, static_cast<Dim>(bytes / size_of(arena.dtype())));
  bucket_of_.resize(params.size());
  // What does not learn is part of a bucket only between two that do.
  Dim begin = 0, end = 0;
  const auto close = [&] {
    if (buckets_.empty() || buckets_.back().gradients.defined()) return;
    buckets_.back().gradients = arena.subarray(Shape(begin), Shape(end));
  };
  for (std::size_t p = params.size(); p-- > 0;) {
    if (params[p].lr_mult == 0) continue;
    const Dim last = params[p].offset + params[p].shape.count();
    if (buckets_.empty() || end - params[p].offset > longest) {
      close();
      buckets_.emplace_back();
      end = last;
    }
    begin = params[p].offset;
    bucket_of_[p] = buckets_.size() - 1;
    ++buckets_.back().params;
  }
  close();

  kernels::Backend& backend = net.backend();
  for (Bucket& bucket : buckets_) {
    bucket.exchanged = reaches_ ? bucket.gradients : Tensor(bucket.gradients.shape(), arena.dtype());
    if (!backend.on_host()) bucket.arrival = backend.download(reaches_ ? sizeof(double) : bucket.gradients.bytes(), 1);
  }
}

void GradientExchange::begin() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ == begun_; });  // of a step that was given up
  begun_ = done_ = 0;
  for (Bucket& bucket : buckets_) bucket.missing = bucket.params;
}

void GradientExchange::ready(std::size_t param) {
  --buckets_[bucket_of_[param]].missing;
  while (begun_ < buckets_.size() && buckets_[begun_].missing == 0) {
    Bucket& bucket = buckets_[begun_];
    if (bucket.arrival) bucket.arrival->start(bucket.gradients.raw());
    if (!thread_.joinable()) {
      exchange(bucket);
      ++done_;
    }
    {
      const std::lock_guard lock(mutex_);
      ++begun_;
    }
    changed_.notify_all();
  }
}

void GradientExchange::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ == begun_; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  if (reaches_) return;
  for (const Bucket& bucket : buckets_)
    solver_.net().backend().write(
        const_cast<std::byte*>(bucket.gradients.raw()),
        bucket.exchanged.raw(),
        bucket.exchanged.bytes());
}

void GradientExchange::exchange(Bucket& bucket) {
  if (bucket.arrival) {
    const void* const arrived = bucket.arrival->finish();
    if (!reaches_) std::memcpy(bucket.exchanged.raw(), arrived, bucket.exchanged.bytes());
  }
  group_.all_reduce_mean(bucket.exchanged, scale_, divisor_);
}

void GradientExchange::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stops_ || done_ < begun_; });
    if (done_ == begun_) return;
    Bucket& bucket = buckets_[done_];
    const bool goes_on = !error_;
    lock.unlock();
    std::exception_ptr error;
    try {
      if (goes_on) exchange(bucket);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) error_ = error;
    ++done_;
    changed_.notify_all();
  }
}

}  // namespace sparknet::detail
