// SPDX-License-Identifier: Apache-2.0
// What actors know, and what stores tell their readers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace ringer::sim {

/// Ranks in the orders of eight locations, compared and joined at once.
struct Ranks {
  static constexpr uint32_t kLanes = 8;
  static constexpr uint32_t kMax = 32767;
  using Lanes = int16_t __attribute__((vector_size(2 * kLanes)));

  Lanes lanes{};
};

/// A view is, by location, the rank of the newest store seen of it, and facts that are known, a bit
/// each. Views are shared and counted; one that is shared is copied before it is written to, and
/// its owner has the copy's number from then on. View 0 is nobody's and never written to.
class ViewPool {
 public:
  using Id = uint32_t;  // 0 knows nothing

  ViewPool() { reset(); }
  void reset() {
    ranks_.assign(rank_blocks_, Ranks{});
    facts_.assign(fact_words_, 0);
    owners_.assign(1, 1);
    free_.clear();
  }

  /// Numbers of views are below it; some of them are free.
  size_t size() const { return owners_.size(); }
  uint32_t rank_blocks() const { return rank_blocks_; }
  uint32_t fact_words() const { return fact_words_; }
  /// rank_blocks() of them, and fact_words(); until a view is written to.
  const Ranks* ranks(Id view) const { return ranks_.data() + size_t{view} * rank_blocks_; }
  const uint64_t* facts(Id view) const { return facts_.data() + size_t{view} * fact_words_; }

  uint32_t rank(Id view, uint32_t location) const {
    return static_cast<uint32_t>(
        ranks(view)[location / Ranks::kLanes].lanes[location % Ranks::kLanes]);
  }
  void set_rank(Id& view, uint32_t location, uint32_t rank) {
    own(view);
    block(view, location).lanes[location % Ranks::kLanes] = static_cast<int16_t>(rank);
  }
  void learn(Id& view, uint32_t word, uint64_t facts) {
    own(view);
    facts_[size_t{view} * fact_words_ + word] |= facts;
  }

  /// A store has slipped in: who has seen the one that had this rank, or a later one, has seen one
  /// more.
  void make_room(uint32_t location, uint32_t rank) {
    for (Id view = 1; view < owners_.size(); ++view) {
      if (this->rank(view, location) < rank) continue;
      ++block(view, location).lanes[location % Ranks::kLanes];
    }
  }
  /// Nobody knows these any more.
  void forget(uint32_t word, uint64_t facts) {
    for (size_t at = word; at < facts_.size(); at += fact_words_) facts_[at] &= ~facts;
  }
  /// Room for more locations and facts.
  void widen(uint32_t rank_blocks, uint32_t fact_words) {
    std::vector<Ranks> ranks(owners_.size() * rank_blocks);
    std::vector<uint64_t> facts(owners_.size() * fact_words);
    for (Id view = 0; view < owners_.size(); ++view) {
      std::copy_n(this->ranks(view), rank_blocks_, ranks.data() + size_t{view} * rank_blocks);
      std::copy_n(this->facts(view), fact_words_, facts.data() + size_t{view} * fact_words);
    }
    ranks_.swap(ranks);
    facts_.swap(facts);
    rank_blocks_ = rank_blocks;
    fact_words_ = fact_words;
  }

  /// `to` is `from`'s, too, and leaves what it was.
  void share(Id& to, Id from) {
    if (to == from) return;
    if (to != 0 && --owners_[to] == 0) free_.push_back(to);
    to = from;
    if (from != 0) ++owners_[from];
  }

  /// What either knows.
  void join(Id& into, Id from) {
    if (from == 0 || into == from) return;
    if (into == 0) return share(into, from);
    if (!has_news(into, from)) return;
    own(into);
    Ranks* const ours = ranks_.data() + size_t{into} * rank_blocks_;
    const Ranks* const theirs = ranks(from);
    for (uint32_t i = 0; i < rank_blocks_; ++i) ours[i] = later(ours[i], theirs[i]);
    for (uint32_t i = 0; i < fact_words_; ++i) {
      facts_[size_t{into} * fact_words_ + i] |= facts(from)[i];
    }
  }
  /// The later one of each pair.
  static Ranks later(const Ranks& a, const Ranks& b) {
    const Ranks::Lanes newer = b.lanes > a.lanes;
    return {(b.lanes & newer) | (a.lanes & ~newer)};
  }

 private:
  Ranks& block(Id view, uint32_t location) {
    return ranks_[size_t{view} * rank_blocks_ + location / Ranks::kLanes];
  }
  bool has_news(Id into, Id from) const {
    Ranks::Lanes newer{};
    for (uint32_t i = 0; i < rank_blocks_; ++i)
      newer |= ranks(from)[i].lanes > ranks(into)[i].lanes;
    uint64_t halves[2];
    std::memcpy(halves, &newer, sizeof(halves));
    uint64_t news = halves[0] | halves[1];
    for (uint32_t i = 0; i < fact_words_; ++i) news |= facts(from)[i] & ~facts(into)[i];
    return news != 0;
  }
  // To write to it.
  void own(Id& view) {
    if (view != 0 && owners_[view] == 1) return;
    const Id copy = next();
    std::copy_n(ranks(view), rank_blocks_, ranks_.data() + size_t{copy} * rank_blocks_);
    std::copy_n(facts(view), fact_words_, facts_.data() + size_t{copy} * fact_words_);
    if (view != 0) --owners_[view];
    view = copy;
  }
  Id next() {
    if (!free_.empty()) {
      const Id view = free_.back();
      free_.pop_back();
      owners_[view] = 1;
      return view;
    }
    owners_.push_back(1);
    ranks_.resize(ranks_.size() + rank_blocks_);
    facts_.resize(facts_.size() + fact_words_);
    return static_cast<Id>(owners_.size() - 1);
  }

  uint32_t rank_blocks_ = 0;
  uint32_t fact_words_ = 0;
  std::vector<Ranks> ranks_;     // rank_blocks_ each
  std::vector<uint64_t> facts_;  // fact_words_ each
  std::vector<uint32_t> owners_;
  std::vector<Id> free_;
};

}  // namespace ringer::sim
