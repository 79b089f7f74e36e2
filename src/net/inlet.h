#pragma once

#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "sparknet/data/feed.h"
#include "sparknet/device.h"

namespace sparknet {

/// A feed and the way of its batches to where a net runs. Those of bytes go to a GPU as they are stored, a quarter of
/// what F32 would be, and become numbers there, with the bits that a feed on the host gives.
class Inlet {
 public:
  /// Throws what Feed's constructor throws. All slots are of the net's type and of values.
  Inlet(Device device, SourcePtr source, std::vector<FeedSlot> slots, FeedOptions options);

  Feed& feed() { return *feed_; }
  /// Says where the batches are to be, a tensor for each slot; before the first take().
  void bind(kernels::Backend& backend, std::vector<Tensor> tops);
  /// Brings the next batch, unless *veto is not -1 when it is there.
  void take(const kernels::Index* veto);

 private:
  /// How one of the tops is filled.
  struct Way {
    FeedSlot slot;
    bool as_bytes = false;
    kernels::ByteBatch batch = {};
    Tensor mean = {};
    Tensor top = {};
    std::unique_ptr<kernels::Upload> upload = nullptr;
  };

  static Way make_way(FeedSlot slot, const DataSource& source, const FeedOptions& options);

  std::vector<Way> ways_;
  std::unique_ptr<Feed> feed_;
  std::vector<Tensor> tops_;  // where they are on the host
};

}  // namespace sparknet
