// SPDX-License-Identifier: Apache-2.0
#include "explore_request.hpp"

#include <algorithm>
#include <initializer_list>

#include <ringer/sim/explore/ring_scenario.hpp>

namespace ringer::tools {

namespace {

constexpr const char* kRing = "ring";

// What says what the ring is; the catalogue's scenarios have all of it in their names.
constexpr std::initializer_list<const char*> kRingSettings = {
    "posters", "wqes",   "ring",    "batch", "sharing",    "doorbell",
    "signal",  "record", "rung-by", "cq",    "start-index"};

// "tail", "each" or a number of indices.
uint32_t every(const Setting& setting) {
  if (setting.text() == "tail") return 0;
  if (setting.text() == "each") return 1;
  if (setting.text().find_first_not_of("0123456789") != std::string::npos) {
    setting.reject("'" + setting.text() + "' is neither each, tail nor a number from 1 to 8");
  }
  return setting.number32(1, 8);
}

sim::RingScenario read_ring(const Settings& settings) {
  sim::RingScenario ring;
  ring.posters = settings.get("posters").number32(1, 8);
  ring.wqes = settings.get("wqes").number32(1, 64);
  ring.ring_wqebbs = settings.get("ring").number32(1, 8);
  ring.batch = settings.get("batch").number32(1, 64);
  ring.sharing = settings.get("sharing").one_of<Sharing>(
      {{"exclusive", Sharing::exclusive}, {"cta", Sharing::cta}, {"gpu", Sharing::gpu}});
  const Setting doorbell = settings.get("doorbell");
  ring.doorbell.adaptive = doorbell.text() == "adaptive";
  ring.ring_each = doorbell.text() == "each";
  if (!ring.doorbell.adaptive && !ring.ring_each) ring.doorbell.every = every(doorbell);
  ring.signal_every = every(settings.get("signal"));
  ring.record = settings.get("record").one_of<RecordOrder>(
      {{"before", RecordOrder::before_doorbell}, {"trailing", RecordOrder::trailing}});
  ring.rung_by = settings.get("rung-by").one_of<RungBy>(
      {{"poster", RungBy::poster}, {"server", RungBy::server}});
  ring.cq_mode = settings.get("cq").one_of<CqMode>(
      {{"collapsed", CqMode::collapsed}, {"owner_bit", CqMode::owner_bit}});
  ring.start_index = settings.get("start-index").number(0, uint64_t{1} << 48);
  return ring;
}

std::unique_ptr<sim::Scenario> make_scenario(const Settings& settings) {
  const Setting name = settings.get("scenario");
  if (name.text() == kRing) return std::make_unique<sim::RingProgram>(read_ring(settings));
  const auto& catalogue = sim::catalogue();
  const auto entry = std::find_if(catalogue.begin(), catalogue.end(),
                                  [&](const sim::Entry& e) { return e.name == name.text(); });
  if (entry == catalogue.end()) {
    name.reject("no scenario '" + name.text() + "'; --list has them all");
  }
  for (const char* setting : kRingSettings) {
    const Setting given = settings.get(setting);
    if (given.given()) given.reject("is for --scenario ring; '" + name.text() + "' has its own");
  }
  return entry->make();
}

std::optional<sim::Mutation> read_mutation(const Setting& name) {
  if (name.text().empty() && !name.given()) return std::nullopt;
  for (sim::Mutation& mutation : sim::all_mutations()) {
    if (mutation.name == name.text()) return std::move(mutation);
  }
  name.reject("no mutant '" + name.text() + "'; --list has them all");
}

std::string describe(const Settings& settings) {
  std::string text;
  for (const char* name : kRingSettings) {
    const Setting setting = settings.get(name);
    if (setting.given()) text += std::string(" --") + name + " " + setting.text();
  }
  return text;
}

}  // namespace

void declare_explore_settings(Settings& settings) {
  const std::string kScenario = "Scenario";
  settings.add("scenario", "NAME", kRing, "What is explored: ring, or a name that --list prints",
               kScenario);
  settings.add("mutant", "NAME", "", "Weaken one access or check; --list prints them", kScenario,
               "none");
  const std::string kShape = "The ring";
  settings.add("posters", "N", "2", "Threads that post", kShape);
  settings.add("wqes", "N", "2", "WQEs of each", kShape);
  settings.add("ring", "WQEBBS", "2", "Depth, a power of two up to 8", kShape);
  settings.add("batch", "N", "1", "WQEs a reservation", kShape);
  settings.add("sharing", "WHO", "gpu", "exclusive, cta, gpu", kShape);
  settings.add("doorbell", "WHEN", "each", "each, tail, adaptive, or every K-th index", kShape);
  settings.add("signal", "WHEN", "tail", "tail, each, or every K-th index", kShape);
  settings.add("record", "WHEN", "before", "Doorbell record: before the doorbell, trailing",
               kShape);
  settings.add("rung-by", "WHO", "poster", "poster, server", kShape);
  settings.add("cq", "MODE", "collapsed", "collapsed, owner_bit", kShape);
  settings.add("start-index", "N", "0", "Where all heads begin", kShape);
  const std::string kSearch = "Search";
  settings.add("mode", "MODE", "exhaustive", "exhaustive, stateless, bounded, pct, random",
               kSearch);
  settings.add("budget", "N", "0", "Executions at most; 0: as many as there are", kSearch,
               "0; pct and random: 10000");
  settings.add("bound", "N", "3", "Surprises an execution: stores read late or early (bounded)",
               kSearch);
  settings.add("changes", "N", "3", "Changes of priority an execution (pct)", kSearch);
  settings.add("seed", "N", "1", "Of pct and random", kSearch);
  settings.add("replay", "SCHEDULE", "", "Run one execution again, and show each step", kSearch,
               "none");
}

ExploreRequest read_explore_request(const Settings& settings) {
  ExploreRequest request;
  request.scenario = settings.get("scenario").text();
  request.program = make_scenario(settings);
  request.description = describe(settings);
  request.mutation = read_mutation(settings.get("mutant"));
  request.mode = settings.get("mode").one_of<SearchMode>({{"exhaustive", SearchMode::exhaustive},
                                                          {"stateless", SearchMode::stateless},
                                                          {"bounded", SearchMode::bounded},
                                                          {"pct", SearchMode::pct},
                                                          {"random", SearchMode::random}});
  request.budget = settings.get("budget").number(0, ~uint64_t{0} >> 1);
  request.bound = settings.get("bound").number32(0, 1000);
  request.changes = settings.get("changes").number32(0, 1000);
  request.seed = settings.get("seed").number(0, ~uint64_t{0} >> 1);
  const Setting replay = settings.get("replay");
  request.replay = replay.text();
  if (replay.given() && replay.text().empty()) replay.reject("no schedule");
  if (request.mutation && !reaches(request.program->program(), *request.mutation)) {
    settings.get("mutant").reject("'" + request.mutation->name +
                                  "' is where this scenario does not come by; see --matrix");
  }
  return request;
}

}  // namespace ringer::tools
