// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <ringer/sim/explore/arrival_scenario.hpp>
#include <ringer/sim/explore/catalogue.hpp>
#include <ringer/sim/explore/fifo_scenario.hpp>
#include <ringer/sim/explore/ring_scenario.hpp>

namespace ringer::sim {

namespace {

template <class ProgramT, class Size>
Entry entry(std::string name, const Size& size) {
  return {std::move(name), [size] { return std::make_unique<ProgramT>(size); }, true};
}

template <class Change>
Entry ring(std::string name, Change&& change) {
  RingScenario scenario;
  change(scenario);
  return entry<RingProgram>("ring." + std::move(name), scenario);
}

// The simplest first: they are searched in this order.
std::vector<Entry> make_catalogue() {
  using R = RingScenario;
  const auto lone = [](R& s) {
    s.posters = 1;
    s.wqes = 4;
    s.sharing = Sharing::exclusive;
  };
  std::vector<Entry> all;
  all.push_back(ring("lone", lone));
  all.push_back(
      ring("lone.unrung", [&](R& s) { lone(s), s.ring_each = false, s.ring_wqebbs = 4; }));
  all.push_back(ring("lone.owner_bit", [&](R& s) { lone(s), s.cq_mode = CqMode::owner_bit; }));
  all.push_back(ring("lone.served", [&](R& s) { lone(s), s.rung_by = RungBy::server; }));
  all.push_back(ring("lone.recovered", [&](R& s) { lone(s), s.recovers = true; }));
  all.push_back(ring("lone.batch", [&](R& s) { lone(s), s.batch = 2, s.ring_wqebbs = 4; }));
  all.push_back(ring("lone.wide_batch", [&](R& s) { lone(s), s.batch = 4, s.whole_batch = true; }));
  all.push_back(ring("lone.trailing", [&](R& s) { lone(s), s.record = RecordOrder::trailing; }));
  all.push_back(ring("lone.wrap", [&](R& s) { lone(s), s.start_index = 65535; }));
  all.push_back(ring("shared", [](R& s) { s.wqes = 2; }));
  all.push_back(ring("shared.block", [](R& s) { s.wqes = 2, s.sharing = Sharing::cta; }));
  all.push_back(
      ring("shared.unrung", [](R& s) { s.wqes = 2, s.ring_each = false, s.ring_wqebbs = 4; }));
  all.push_back(ring("shared.trailing", [](R& s) { s.record = RecordOrder::trailing; }));
  all.push_back(ring("shared.adaptive", [](R& s) {
    s.wqes = 2, s.ring_each = false, s.ring_wqebbs = 4, s.doorbell.adaptive = true;
  }));
  all.push_back(ring("shared.three", [](R& s) { s.posters = 3; }));
  all.push_back(ring("shared.owner_bit",
                     [](R& s) { s.wqes = 2, s.cq_mode = CqMode::owner_bit, s.signal_every = 1; }));
  all.push_back(ring("shared.served", [](R& s) { s.wqes = 2, s.rung_by = RungBy::server; }));
  all.push_back(ring("signals", [](R& s) { s.wqes = 2, s.signals = true, s.ring_wqebbs = 4; }));
  all.push_back(ring("signals.unrung", [](R& s) {
    s.wqes = 2, s.signals = true, s.ring_wqebbs = 8, s.ring_each = false;
  }));
  all.push_back(ring("signals.served",
                     [](R& s) { s.wqes = 2, s.signals = true, s.rung_by = RungBy::server; }));
  all.push_back(ring("mixed", [](R& s) { s.ring_wqebbs = 8, s.mixed = true; }));
  all.push_back(
      ring("mixed.three", [](R& s) { s.posters = 3, s.ring_wqebbs = 8, s.mixed = true; }));
  all.push_back(ring("failed", [](R& s) { s.fails_at = 1; }));
  all.push_back(ring("failed.by_host", [](R& s) { s.host_fails = true; }));
  all.push_back(ring("failed.three", [](R& s) { s.posters = 3, s.fails_at = 2; }));
  all.push_back(entry<ArrivalProgram>("arrival.strict_write",
                                      ArrivalScenario{FlagPolicy::strict_write, 2, false, false}));
  all.push_back(entry<ArrivalProgram>("arrival.remote_atomic",
                                      ArrivalScenario{FlagPolicy::remote_atomic, 2, true, false}));
  all.push_back(
      entry<ArrivalProgram>("arrival.count", ArrivalScenario{FlagPolicy::count, 2, true, false}));
  all.push_back(entry<ArrivalProgram>("mapped.strict_write",
                                      ArrivalScenario{FlagPolicy::strict_write, 2, false, true}));
  all.push_back(
      entry<ArrivalProgram>("mapped.count", ArrivalScenario{FlagPolicy::count, 2, false, true}));
  all.push_back(
      entry<ArrivalProgram>("mapped.flush", ArrivalScenario{FlagPolicy::flush, 2, false, true}));
  all.push_back(entry<FifoProgram>("fifo", FifoScenario{2, 2, 2, false, false}));
  all.push_back(entry<FifoProgram>("fifo.failed", FifoScenario{2, 1, 2, true, false}));
  all.push_back(entry<FifoProgram>("fifo.aborted", FifoScenario{3, 1, 1, false, true}));
  for (Entry& entry : all) {
    entry.whole = entry.name != "ring.shared.owner_bit" && entry.name != "ring.signals.served" &&
                  entry.name != "ring.failed.three";
  }
  return all;
}

SiteList sites_of(Program program) {
  SiteList list;
  program.sites = &list;
  program.mutation = nullptr;
  explore_random(program, 1, 200);
  return list;
}

// What the catalogue's scenarios come by, one list each.
std::vector<SiteList> site_lists() {
  std::vector<SiteList> lists;
  for (const Entry& entry : catalogue()) lists.push_back(sites_of(entry.make()->program()));
  return lists;
}

bool is_among(const std::vector<Mutation>& here, const Mutation& mutation) {
  return std::any_of(here.begin(), here.end(), [&](const Mutation& other) {
    return mutation.guard == other.guard && mutation.file == other.file &&
           mutation.line == other.line && mutation.kind == other.kind;
  });
}

SiteList together(const std::vector<SiteList>& lists) {
  SiteList all;
  for (const SiteList& list : lists) all.add(list);
  return all;
}

}  // namespace

const std::vector<Entry>& catalogue() {
  static const std::vector<Entry> all = make_catalogue();
  return all;
}

ExploreResult search(const Program& program, uint64_t max_executions) {
  ExploreResult result = explore_all(program, max_executions);
  if (result.complete || !result.failure.empty()) return result;
  ExploreResult drawn = explore_random(program, 1, max_executions / 4);
  drawn.executions += result.executions;
  drawn.steps += result.steps;
  drawn.max_depth = std::max(drawn.max_depth, result.max_depth);
  drawn.complete = false;
  return drawn;
}

bool reaches(const Program& program, const Mutation& mutation) {
  return is_among(sites_of(program).mutations(), mutation);
}

std::vector<Mutation> all_mutations() { return together(site_lists()).mutations(); }

std::vector<MatrixRow> mutation_matrix() {
  const std::vector<SiteList> lists = site_lists();
  std::vector<std::vector<Mutation>> within_reach;
  within_reach.reserve(lists.size());
  for (const SiteList& list : lists) within_reach.push_back(list.mutations());
  std::vector<MatrixRow> matrix;
  for (const Mutation& mutation : together(lists).mutations()) {
    MatrixRow row{mutation, {}, {}};
    for (size_t i = 0; i < lists.size() && row.scenario.empty(); ++i) {
      if (!is_among(within_reach[i], mutation)) continue;
      const auto scenario = catalogue()[i].make();
      scenario->program().mutation = &mutation;
      ExploreResult result = search(scenario->program());
      if (result.failure.empty()) continue;
      row.scenario = catalogue()[i].name;
      row.result = std::move(result);
    }
    matrix.push_back(std::move(row));
  }
  return matrix;
}

}  // namespace ringer::sim
