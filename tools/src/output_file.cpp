// SPDX-License-Identifier: Apache-2.0
#include "output_file.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include <unistd.h>

#include "routing.hpp"

namespace ringer::tools {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path& path, int error) {
  throw std::system_error(error, std::generic_category(), "cannot write '" + path.string() + "'");
}

void write_plain(const fs::path& path, const std::string& text) {
  errno = 0;
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) fail(path, errno == 0 ? EIO : errno);
}

}  // namespace

OutputFile::OutputFile(const std::string& path) {
  const auto reject = [&](const std::string& reason) {
    throw UsageError("cannot write '" + path + "': " + reason);
  };
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) reject("it is a directory");
  in_place_ = fs::exists(status) && !fs::is_regular_file(status);
  // A link stays a link: its target is what is replaced. Absolute first, for a bare name that does
  // not exist has no parent otherwise.
  path_ = in_place_ ? fs::path(path) : fs::weakly_canonical(fs::absolute(path), error);
  if (path_.empty()) reject(error.message());
  const fs::path place = in_place_ ? path_ : path_.parent_path();
  if (access(place.c_str(), W_OK) != 0) reject(std::strerror(errno));
  if (!in_place_ && !fs::is_directory(place)) reject("'" + place.string() + "' is no directory");
}

void OutputFile::write(const std::string& text) const {
  if (in_place_) return write_plain(path_, text);
  // Not made of the file's own name, which may be as long as names can be.
  const fs::path temporary = path_.parent_path() / (".ringer." + std::to_string(getpid()) + ".tmp");
  std::error_code error;
  try {
    write_plain(temporary, text);
  } catch (...) {
    fs::remove(temporary, error);
    throw;
  }
  fs::rename(temporary, path_, error);
  if (!error) return;
  std::error_code ignored;
  fs::remove(temporary, ignored);
  fail(path_, error.value());
}

}  // namespace ringer::tools
