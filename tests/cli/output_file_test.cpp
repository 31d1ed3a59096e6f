// SPDX-License-Identifier: Apache-2.0
#include "output_file.hpp"

#include <fstream>
#include <sstream>

#include "cli_support.hpp"
#include "routing.hpp"
#include "support/catch.hpp"

namespace ringer::tools {

namespace {

std::string content(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("an output file replaces what was there", "[output]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.write("out", "old and longer");
  const OutputFile output(file);
  CHECK(content(file) == "old and longer");
  output.write("new");
  CHECK(content(file) == "new");
  CHECK(directory.files() == 1);
}

TEST_CASE("a link stays and its target is replaced", "[output]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.write("target", "old");
  const auto link = directory.path() / "link";
  std::filesystem::create_symlink("target", link);
  OutputFile(link.string()).write("new");
  CHECK(std::filesystem::is_symlink(link));
  CHECK(content(file) == "new");
}

TEST_CASE("a device is written to and stays a device", "[output]") {
  OutputFile("/dev/null").write("text");
  CHECK(std::filesystem::is_character_file("/dev/null"));
  CHECK_THROWS_AS(OutputFile("/dev/full").write("text"), std::system_error);
}

TEST_CASE("a bare name is a file of the working directory", "[output]") {
  const test::TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  std::string refusal;
  try {
    OutputFile("out.json").write("new");
  } catch (const std::exception& error) {
    refusal = error.what();
  }
  std::filesystem::current_path(before);
  CHECK(refusal.empty());
  CHECK(content(directory.path() / "out.json") == "new");
}

TEST_CASE("a name as long as names can be is written", "[output]") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / std::string(255, 'n');
  OutputFile(file.string()).write("new");
  CHECK(content(file) == "new");
}

TEST_CASE("a place that cannot be written is refused at once", "[output]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.write("file", "");
  CHECK_THROWS_AS(OutputFile(directory.path().string()), UsageError);
  CHECK_THROWS_AS(OutputFile(file + "/below"), UsageError);
  CHECK_THROWS_AS(OutputFile((directory.path() / "a" / "b").string()), UsageError);
}

TEST_CASE("nothing is left of a write that fails", "[output]") {
  const test::TemporaryDirectory directory;
  const auto place = directory.path() / "place";
  std::filesystem::create_directory(place);
  const OutputFile output((place / "out").string());
  std::filesystem::remove(place);
  CHECK_THROWS_AS(output.write("text"), std::system_error);
  CHECK(directory.files() == 0);
}

}  // namespace ringer::tools
