#include <algorithm>

#include "src/net/plan.h"

namespace sparknet {

std::vector<Net::Plan::Life> Net::Plan::lives() const {
  std::vector<Life> all(blobs.size());
  for (const Blob& blob : blobs) {
    Life& life = all[blob.root];
    const Node& producer = nodes[blob.producer];
    const bool is_input = !producer.layer;
    if (&blob == &blobs[blob.root]) life.first = is_input ? -1 : static_cast<int>(blob.producer);
    const auto back_at = [&](std::size_t node) {
      life.back_first = std::min(life.back_first, backward_step(node));
      life.back_last = std::max(life.back_last, backward_step(node));
    };
    life.last = std::max(life.last, static_cast<int>(blob.producer));
    if (is_input || blob.kept || (blob.consumers.empty() && blob.overwritten_by == none)) life.last = Lifetime::forever;
    if (producer.runs_backward && producer.reads_tops) back_at(blob.producer);
    for (const std::size_t c : blob.consumers) {
      life.last = std::max(life.last, static_cast<int>(c));
      if (nodes[c].runs_backward && nodes[c].reads_bottoms) back_at(c);
    }
  }
  return all;
}

void Net::Plan::choose_recomputed(std::vector<Life>& lives) {
  std::vector<std::vector<std::size_t>> writers(blobs.size());
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].layer && !nodes[i].fused())
      for (const std::size_t t : nodes[i].tops) writers[blobs[t].root].push_back(i);
  for (std::size_t root = 0; root < blobs.size(); ++root) {
    Life& life = lives[root];
    if (writers[root].empty() || life.back_last < 0 || life.last == Lifetime::forever || life.pinned) continue;
    const auto is_there = [&](std::size_t b) {
      const Life& other = lives[blobs[b].root];
      return blobs[b].root == root || (!other.recomputed && std::max(other.last, other.back_last) >= life.back_first);
    };
    const bool can = std::ranges::all_of(writers[root], [&](std::size_t i) {
      const Node& node = nodes[i];
      const bool has_state = node.state_bytes == 0 || node.runs_backward;
      return node.can_recompute && node.tops.size() == 1 && has_state && std::ranges::all_of(node.bottoms, is_there);
    });
    if (!can) continue;
    life.recomputed = true;
    std::vector<std::size_t>& again = nodes[static_cast<std::size_t>(backward_step(0) - life.back_first)].recomputes;
    again.insert(again.end(), writers[root].begin(), writers[root].end());
    for (const std::size_t i : writers[root])
      for (const std::size_t b : nodes[i].bottoms) lives[blobs[b].root].pinned = true;
  }
}

void Net::Plan::lay_out_memory() {
  const auto bytes = [](const Blob& blob) {
    return static_cast<std::size_t>(blob.shape.count()) * size_of(blob.form.dtype);
  };
  const auto add_piece = [&](std::size_t size, int first, int last) {
    if (!options.share_memory) last = Lifetime::forever;
    memory.blobs_unshared += size;
    pieces.push_back({size, first, last});
    return pieces.size() - 1;
  };

  std::vector<Life> lives = this->lives();
  if (options.recompute) choose_recomputed(lives);
  for (std::size_t root = 0; root < blobs.size(); ++root) {
    if (blobs[root].root != root) continue;
    const Life& life = lives[root];
    const std::size_t size = bytes(blobs[root]);
    blobs[root].data_piece =
        add_piece(size, life.first, life.recomputed ? life.last : std::max(life.last, life.back_last));
    if (life.recomputed) blobs[root].again_piece = add_piece(size, life.back_first, life.back_last);

    int diff_first = Lifetime::forever, diff_last = -1;
    for (const Blob& blob : blobs) {
      if (blob.root != root || !blob.needs_diff) continue;
      diff_last = std::max(diff_last, blob.kept ? Lifetime::forever : backward_step(blob.producer));
      diff_first = std::min(diff_first, backward_step(blob.producer));
      for (const std::size_t c : blob.consumers)
        if (nodes[c].runs_backward) diff_first = std::min(diff_first, backward_step(c));
    }
    // What a fused top's consumers fill is read by the layer that does its work: the root's producer.
    if (diff_last >= 0)
      blobs[root].diff_piece = add_piece(size, diff_first, std::max(diff_last, backward_step(blobs[root].producer)));
  }

  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Node& node = nodes[i];
    memory.scratch = std::max(memory.scratch, node.scratch_bytes);
    memory.prepared += node.prepared_bytes;
    if (node.state_bytes)
      node.state_piece =
          add_piece(node.state_bytes, static_cast<int>(i), node.runs_backward ? backward_step(i) : static_cast<int>(i));
  }

  // Gradients of a blob with several readers are summed in the order of the backward pass: the first is written in
  // place, each later one beside it and then added.
  std::vector<bool> filled(blobs.size(), false);
  for (std::size_t i = nodes.size(); i-- > 0;) {
    Node& node = nodes[i];
    node.sum_pieces.assign(node.bottoms.size(), none);
    if (!node.runs_backward) continue;
    for (std::size_t b = 0; b < node.bottoms.size(); ++b) {
      const Blob& bottom = blobs[node.bottoms[b]];
      if (!bottom.needs_diff || node.dead_bottoms[b]) continue;
      if (filled[node.bottoms[b]]) node.sum_pieces[b] = add_piece(bytes(bottom), backward_step(i), backward_step(i));
      filled[node.bottoms[b]] = true;
    }
  }
  memory.blobs = plan_memory(pieces);
  memory.params = static_cast<std::size_t>(arena_count) * size_of(options.dtype);
  memory.gradients = options.phase == Phase::Train ? memory.params : 0;
}

}  // namespace sparknet
