// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <stdexcept>

#include <ringer/ep/args.hpp>
#include <ringer/ep/paths.hpp>

namespace ringer::ep {

const char* to_string(Path path) {
  switch (path) {
    case Path::ipc:
      return "ipc";
    case Path::ibgda:
      return "ibgda";
    case Path::fifo:
      return "fifo";
  }
  return "unknown";
}

const char* to_string(PathRequest request) {
  switch (request) {
    case PathRequest::automatic:
      return "auto";
    case PathRequest::ipc:
      return "ipc";
    case PathRequest::ibgda:
      return "ibgda";
    case PathRequest::fifo:
      return "fifo";
  }
  return "unknown";
}

const char* to_string(Stage stage) {
  switch (stage) {
    case Stage::dispatch_send:
      return "dispatch send";
    case Stage::dispatch_receive:
      return "dispatch receive";
    case Stage::combine_send:
      return "combine send";
    case Stage::combine_receive:
      return "combine receive";
  }
  return "unknown stage";
}

namespace {

/// What two ranks can do together.
struct Pair {
  Pair(const RankFacts& a, const RankFacts& b)
      : same_node(a.node == b.node),
        same_process(a.address_space == b.address_space),
        same_domain(a.sharing_domain != 0 && a.sharing_domain == b.sharing_domain),
        posting(a.device_posting != 0 && b.device_posting != 0),
        connected(same_process || (a.own_process_only == 0 && b.own_process_only == 0)) {}

  bool mapped() const { return same_node && (same_process || same_domain); }
  const char* why_not_mapped() const {
    return same_node ? "different processes that cannot open each other's windows"
                     : "different nodes";
  }

  bool same_node;
  bool same_process;
  bool same_domain;
  bool posting;    // both NICs can be rung by kernels
  bool connected;  // their NICs reach each other
};

constexpr const char* kOneProcess =
    "they are in different processes, and the software NIC serves one process";

PathChoice choose_automatically(const Pair& pair, const std::string& names) {
  if (pair.mapped()) {
    return {Path::ipc, pair.same_process ? "same node, memory mapped"
                                         : "same node, windows opened by the other process"};
  }
  if (!pair.connected) {
    throw std::invalid_argument(names + " have no path: they share no memory (" +
                                pair.why_not_mapped() + "); " + kOneProcess);
  }
  if (pair.posting) {
    return {Path::ibgda, pair.same_node ? "no common memory, both NICs take doorbells from kernels"
                                        : "different nodes, both NICs take doorbells from kernels"};
  }
  return {Path::fifo, pair.same_node ? "no common memory, a NIC takes no doorbells from kernels"
                                     : "different nodes, a NIC takes no doorbells from kernels"};
}

}  // namespace

PathChoice choose_path(std::span<const RankFacts> facts, uint32_t a, uint32_t b) {
  if (a == b) return {Path::ipc, "own memory"};
  const Pair pair(facts[a], facts[b]);
  const PathRequest request = facts[a].request;
  const std::string names = "ranks " + std::to_string(a) + " and " + std::to_string(b);
  const std::string asked = std::string("path ") + to_string(request) + ": " + names;
  if (request != facts[b].request) {
    throw std::invalid_argument(names + " ask for different paths: " + to_string(request) +
                                " and " + to_string(facts[b].request));
  }
  if (request == PathRequest::automatic) return choose_automatically(pair, names);
  if (request == PathRequest::ipc) {
    if (pair.mapped()) return {Path::ipc, "asked for"};
    throw std::invalid_argument(asked + " share no memory (" + pair.why_not_mapped() + ")");
  }
  if (!pair.connected) {
    throw std::invalid_argument(asked + " cannot connect: " + kOneProcess);
  }
  if (request == PathRequest::fifo) return {Path::fifo, "asked for"};
  if (pair.posting) return {Path::ibgda, "asked for"};
  throw std::invalid_argument(asked + " have a NIC that no kernel can ring");
}

std::vector<PathChoice> choose_paths(std::span<const RankFacts> facts,
                                     const PathOverride& override_path) {
  const auto ranks = static_cast<uint32_t>(facts.size());
  std::vector<PathChoice> matrix;
  matrix.reserve(size_t{ranks} * ranks);
  for (uint32_t a = 0; a < ranks; ++a) {
    for (uint32_t b = 0; b < ranks; ++b) {
      const bool overridden = override_path && a != b;
      matrix.push_back(overridden ? PathChoice{override_path(a, b), "chosen by the caller"}
                                  : choose_path(facts, a, b));
    }
  }
  return matrix;
}

std::string format_paths(std::span<const PathChoice> matrix, uint32_t ranks) {
  constexpr uint32_t kShown = 16;
  constexpr size_t kWidth = 7;
  const auto cell = [](std::string text) {
    return text.append(kWidth - std::min(text.size(), kWidth - 1), ' ');
  };
  std::string text = cell("rank");
  const uint32_t shown = std::min(ranks, kShown);
  for (uint32_t b = 0; b < shown; ++b) text += cell(std::to_string(b));
  for (uint32_t a = 0; a < shown; ++a) {
    text += "\n" + cell(std::to_string(a));
    for (uint32_t b = 0; b < shown; ++b) {
      text += cell(a == b ? "self" : to_string(matrix[size_t{a} * ranks + b].path));
    }
  }
  if (shown < ranks) text += "\n(the first 16 of " + std::to_string(ranks) + " ranks)";
  std::map<std::string, uint32_t> reasons;
  for (uint32_t i = 0; i < ranks * ranks; ++i) {
    if (i / ranks == i % ranks) continue;
    ++reasons[std::string(to_string(matrix[i].path)) + ": " + matrix[i].reason];
  }
  for (const auto& [reason, count] : reasons) text += "\n" + std::to_string(count) + " x " + reason;
  return text + "\n";
}

}  // namespace ringer::ep
