// SPDX-License-Identifier: Apache-2.0
// The exchange of MPI processes: what one brings reaches all, and what keeps one away ends all.
#include <string>

#include "mpirun.hpp"
#include "support/catch.hpp"

namespace ringer::test {
namespace {

CommandResult run_case(uint32_t processes, const std::string& name) {
  return mpirun({"-n", std::to_string(processes), RINGER_MPI_CASES, name});
}

TEST_CASE("processes gather what each brings, of any size", "[mpi]") {
  const uint32_t processes = GENERATE(1u, 2u, 4u);
  const CommandResult result = run_case(processes, "sizes");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  CHECK(occurrences(result.out, ": all as sent\n") == processes);
}

TEST_CASE("a process that fails a step fails it for all, with its reason", "[mpi]") {
  const uint32_t processes = GENERATE(2u, 4u);
  const CommandResult result = run_case(processes, "throws");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  const std::string reason = ": rank " + std::to_string(processes - 1) + ": no window\n";
  CHECK(occurrences(result.out, reason) == processes);
}

TEST_CASE("a process that never comes is an error in time, and the end of the job", "[mpi]") {
  const uint32_t processes = GENERATE(2u, 4u);
  const CommandResult result = run_case(processes, GENERATE("late", "late_impatient"));
  INFO(result.out << result.err);
  CHECK(result.exit_code == 1);
  // Whoever sees it first ends the others, too.
  CHECK(occurrences(result.out, "all_gather: within 200 ms there came nothing from process " +
                                    std::to_string(processes - 1) + "\n") >= 1);
  CHECK(occurrences(result.out, "again: all_gather: an exchange has failed before") >= 1);
  CHECK_FALSE(contains(result.out, "went on"));
}

TEST_CASE("windows of all processes are released when all have closed them", "[mpi]") {
  const uint32_t processes = GENERATE(2u, 4u);
  const CommandResult result = run_case(processes, "buffers");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  // Two ranks a process; each has opened the windows of all ranks of other processes.
  const std::string closed = std::to_string(2 * 2 * (processes - 1));
  CHECK(occurrences(result.out, ": 2 windows released, closed " + closed + " times\n") ==
        processes);
}

TEST_CASE("a process that cannot open a window fails all, and none keeps its own", "[mpi]") {
  const CommandResult result = run_case(3, "unopened");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  const std::string kReason = ": rank 2: no peer access, 2 windows released, closed ";
  CHECK(occurrences(result.out, kReason) == 3);
  // Those of process 1 by the ranks of two processes, the others by those of one.
  CHECK(contains(result.out, "process 0" + kReason + "4 times\n"));
  CHECK(contains(result.out, "process 1" + kReason + "8 times\n"));
  CHECK(contains(result.out, "process 2" + kReason + "4 times\n"));
}

TEST_CASE("whoever waits for a peer in vain ends in time, and keeps the window", "[mpi]") {
  const CommandResult result = run_case(2, "unclosed");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  CHECK(occurrences(result.out, "process 0: 0 windows released, ") == 1);
}

TEST_CASE("a process ends the others with its exit code", "[mpi]") {
  const CommandResult result = run_case(4, "abort");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 7);
}

TEST_CASE("a process that fails by itself leaves nobody waiting", "[mpi]") {
  const CommandResult result = run_case(3, "unwinds");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 1);
  CHECK_FALSE(contains(result.out, "not all of the"));  // nobody's time was up
}

}  // namespace
}  // namespace ringer::test
