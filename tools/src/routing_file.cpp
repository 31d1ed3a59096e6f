// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string_view>

#include <nlohmann/json.hpp>

#include "routing.hpp"

namespace ringer::tools {

namespace {

constexpr size_t kListedLines = 10;
// As many entries as ep::Config allows.
constexpr size_t kMaxEntries = 64;

/// One line's content before it is checked against the others.
struct Row {
  int64_t token = 0;
  std::vector<int64_t> experts;
  std::vector<float> weights;
};

/// Why a line is bad; caught where the line number is known.
class BadLine : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

template <class T>
bool parse_field(std::string_view text, T& value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && rest == text.data() + text.size();
}

template <class T>
T field(std::string_view text) {
  T value{};
  if (!parse_field(text, value)) throw BadLine("'" + std::string(text) + "' is not a number");
  return value;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  for (size_t at = 0; at <= line.size();) {
    const size_t comma = std::min(line.find(',', at), line.size());
    fields.push_back(trimmed(line.substr(at, comma - at)));
    at = comma + 1;
  }
  return fields;
}

Row parse_csv(std::string_view line) {
  const std::vector<std::string_view> fields = split(line);
  if (fields.size() < 3 || fields.size() % 2 == 0) {
    throw BadLine(std::to_string(fields.size()) +
                  " fields; expected a token, its experts and as many weights");
  }
  const size_t entries = (fields.size() - 1) / 2;
  Row row;
  row.token = field<int64_t>(fields[0]);
  for (size_t k = 0; k < entries; ++k) {
    row.experts.push_back(field<int64_t>(fields[1 + k]));
    row.weights.push_back(field<float>(fields[1 + entries + k]));
  }
  return row;
}

int64_t json_integer(const nlohmann::json& value, const char* what) {
  if (!value.is_number_integer()) throw BadLine(std::string(what) + " is not a whole number");
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT32_MAX) return INT32_MAX;
  return value.get<int64_t>();
}

Row parse_json(std::string_view line) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (object.is_discarded() || !object.is_object()) throw BadLine("not a JSON object");
  for (const char* key : {"token", "experts", "weights"}) {
    if (!object.contains(key)) throw BadLine(std::string("no \"") + key + "\"");
  }
  if (!object["experts"].is_array() || !object["weights"].is_array()) {
    throw BadLine("\"experts\" and \"weights\" must be arrays");
  }
  Row row;
  row.token = json_integer(object["token"], "the token");
  for (const auto& expert : object["experts"]) {
    row.experts.push_back(json_integer(expert, "an expert"));
  }
  for (const auto& weight : object["weights"]) {
    if (!weight.is_number()) throw BadLine("a weight is not a number");
    row.weights.push_back(weight.get<float>());
  }
  if (row.experts.size() != row.weights.size()) {
    throw BadLine(std::to_string(row.experts.size()) + " experts but " +
                  std::to_string(row.weights.size()) + " weights");
  }
  return row;
}

void check_row(const Row& row, uint64_t expected_token, uint32_t topk, uint32_t experts) {
  if (row.experts.size() != topk) {
    throw BadLine(std::to_string(row.experts.size()) + " experts where " + std::to_string(topk) +
                  " are expected");
  }
  if (row.token < 0 || static_cast<uint64_t>(row.token) != expected_token) {
    throw BadLine("token " + std::to_string(row.token) + " where " +
                  std::to_string(expected_token) + " is expected");
  }
  for (const int64_t expert : row.experts) {
    if (expert < -1 || expert >= int64_t{experts}) {
      throw BadLine("expert " + std::to_string(expert) + " is not -1 to " +
                    std::to_string(int64_t{experts} - 1));
    }
  }
  for (const float weight : row.weights) {
    if (!std::isfinite(weight)) throw BadLine("a weight is not finite");
  }
}

/// The first reason, and the numbers of the bad lines.
class BadLines {
 public:
  void add(size_t number, const std::string& reason) {
    if (count_ == 0) first_ = "line " + std::to_string(number) + ": " + reason;
    if (count_ < kListedLines) numbers_ += (count_ == 0 ? "" : ", ") + std::to_string(number);
    ++count_;
  }
  bool any() const { return count_ != 0; }
  std::string text() const {
    if (count_ == 1) return first_;
    return first_ + " (" + std::to_string(count_) + " bad lines: " + numbers_ +
           (count_ > kListedLines ? ", ..." : "") + ")";
  }

 private:
  size_t count_ = 0;
  std::string first_;
  std::string numbers_;
};

std::ifstream open_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    throw UsageError("'" + path + "' is a directory, not a routing file");
  }
  errno = 0;
  std::ifstream in(path);
  if (!in) throw UsageError("cannot read '" + path + "': " + std::strerror(errno));
  return in;
}

bool is_header(std::string_view line) {
  double ignored = 0;
  return line.front() != '{' && !parse_field(split(line)[0], ignored) && split(line)[0] == "token";
}

}  // namespace

FileRouting::FileRouting(const std::string& path, uint32_t topk, uint32_t experts) : topk_(topk) {
  std::ifstream in = open_file(path);
  BadLines bad;
  bool first = true;
  uint64_t expected_token = 0;
  std::string text;
  for (size_t number = 1; std::getline(in, text); ++number) {
    const std::string_view line = trimmed(text);
    if (line.empty()) continue;
    const bool header = first && is_header(line);
    first = false;
    if (header) continue;
    try {
      const Row row = line.front() == '{' ? parse_json(line) : parse_csv(line);
      if (row.experts.empty() || row.experts.size() > kMaxEntries) {
        throw BadLine(std::to_string(row.experts.size()) + " experts; 1 to 64 can be used");
      }
      if (topk_ == 0) topk_ = static_cast<uint32_t>(row.experts.size());
      check_row(row, expected_token, topk_, experts);
      for (const int64_t e : row.experts) experts_.push_back(static_cast<int32_t>(e));
      weights_.insert(weights_.end(), row.weights.begin(), row.weights.end());
    } catch (const BadLine& e) {
      bad.add(number, e.what());
    }
    // A bad line keeps its place, so that one mistake is not reported on all lines behind it.
    ++expected_token;
  }
  if (in.bad()) throw UsageError("cannot read '" + path + "': " + std::strerror(errno));
  if (bad.any()) throw UsageError("'" + path + "': " + bad.text());
  if (expected_token == 0) throw UsageError("'" + path + "' holds no tokens");
  if (expected_token > UINT32_MAX) throw UsageError("'" + path + "' holds too many tokens");
  tokens_ = static_cast<uint32_t>(expected_token);
}

RankRouting FileRouting::make(const RoutingShape& shape, uint32_t rank, uint64_t) const {
  if (shape.topk != topk_) {
    throw UsageError("routing file: " + std::to_string(topk_) + " experts a token, not " +
                     std::to_string(shape.topk));
  }
  const uint64_t begin = std::min<uint64_t>(tokens_, uint64_t{rank} * shape.tokens);
  const uint64_t end = std::min<uint64_t>(tokens_, begin + shape.tokens);
  RankRouting rows;
  rows.tokens = static_cast<uint32_t>(end - begin);
  const auto at = [this](uint64_t token) { return static_cast<ptrdiff_t>(token * topk_); };
  rows.experts.assign(experts_.begin() + at(begin), experts_.begin() + at(end));
  rows.weights.assign(weights_.begin() + at(begin), weights_.begin() + at(end));
  return rows;
}

}  // namespace ringer::tools
