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

PathChoice choose_path(std::span<const RankFacts> facts, uint32_t a, uint32_t b) {
  if (a == b) return {Path::ipc, "own memory"};
  const RankFacts& low = facts[std::min(a, b)];
  const RankFacts& high = facts[std::max(a, b)];
  const bool mapped = low.node == high.node && low.address_space == high.address_space;
  const bool posting = low.device_posting != 0 && high.device_posting != 0;
  const std::string pair = "ranks " + std::to_string(a) + " and " + std::to_string(b);
  if (low.request != high.request) {
    throw std::invalid_argument(pair + " ask for different paths: " + to_string(facts[a].request) +
                                " and " + to_string(facts[b].request));
  }
  switch (low.request) {
    case PathRequest::ipc:
      if (!mapped)
        throw std::invalid_argument("path ipc: " + pair + " share no memory (different nodes)");
      return {Path::ipc, "asked for"};
    case PathRequest::ibgda:
      if (!posting)
        throw std::invalid_argument("path ibgda: " + pair + " have a NIC that no kernel can ring");
      return {Path::ibgda, "asked for"};
    case PathRequest::fifo:
      return {Path::fifo, "asked for"};
    case PathRequest::automatic:
      break;
  }
  if (mapped) return {Path::ipc, "same node, memory mapped"};
  if (posting) return {Path::ibgda, "different nodes, both NICs take doorbells from kernels"};
  return {Path::fifo, "different nodes, a NIC takes no doorbells from kernels"};
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
