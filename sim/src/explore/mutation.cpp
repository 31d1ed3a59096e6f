// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>

#include <ringer/sim/explore/mutation.hpp>

namespace ringer::sim {

namespace {

// The room that this file is in.
constexpr std::string_view kHere = __FILE__;
constexpr std::string_view kSim = kHere.substr(0, kHere.rfind("src/explore/"));

std::string_view base_name(std::string_view path) {
  return path.substr(path.find_last_of('/') + 1);
}

// A compiler may add template arguments; a lambda has no name.
std::string function_name(std::string_view function) {
  if (function.substr(0, 8) == "operator") return "lambda";
  return std::string(function.substr(0, function.find('<')));
}

bool acquires(Order order) { return order == Order::acquire || order == Order::acq_rel; }
bool releases(Order order) { return order == Order::release || order == Order::acq_rel; }

const char* name_of(SiteList::Access access) {
  switch (access) {
    case SiteList::Access::load:
      return "load";
    case SiteList::Access::store:
      return "store";
    case SiteList::Access::update:
      return "update";
    case SiteList::Access::fence:
      break;
  }
  return "fence";
}

const char* name_of(Mutation::Kind kind) {
  switch (kind) {
    case Mutation::Kind::no_acquire:
      return "no_acquire";
    case Mutation::Kind::no_release:
      return "no_release";
    case Mutation::Kind::narrow:
      return "narrow";
    case Mutation::Kind::drop:
      return "drop";
    case Mutation::Kind::guard_off:
      break;
  }
  return "off";
}

}  // namespace

std::string Source::text() const {
  return std::string(base_name(file)) + ":" + std::to_string(line) + " " + function_name(function);
}

bool Mutation::at(const Source& source) const {
  return line == source.line && kind != Kind::guard_off && base_name(source.file) == file;
}

void Mutation::weaken(const Source& source, Scope& scope, Order& order) const {
  if (!at(source)) return;
  if (kind == Kind::no_acquire && acquires(order)) {
    order = order == Order::acq_rel ? Order::release : Order::relaxed;
  } else if (kind == Kind::no_release && releases(order)) {
    order = order == Order::acq_rel ? Order::acquire : Order::relaxed;
  } else if (kind == Kind::narrow && scope != Scope::cta) {
    scope = scope == Scope::sys ? Scope::gpu : Scope::cta;
  }
}

void SiteList::saw(const Source& source, Access access, Scope scope, Order order) {
  if (std::string_view(source.file).substr(0, kSim.size()) == kSim) return;  // the simulator's own
  add({std::string(base_name(source.file)), function_name(source.function), source.line, access,
       scope, acquires(order), releases(order)});
}

void SiteList::add(const Site& site) {
  const auto here = std::find_if(sites_.begin(), sites_.end(), [&](const Site& other) {
    return other.line == site.line && other.access == site.access && other.file == site.file;
  });
  if (here == sites_.end()) {
    sites_.push_back(site);
    return;
  }
  here->scope = std::max(here->scope, site.scope);
  here->acquires = here->acquires || site.acquires;
  here->releases = here->releases || site.releases;
}

void SiteList::add(const SiteList& other) {
  for (const Site& site : other.sites_) add(site);
  for (const std::string& guard : other.guards_) saw_guard(guard);
}

void SiteList::saw_guard(std::string_view name) {
  if (std::find(guards_.begin(), guards_.end(), name) == guards_.end()) guards_.emplace_back(name);
}

std::vector<Mutation> SiteList::mutations() const {
  std::vector<Site> sites = sites_;
  const auto key = [](const Site& s) { return std::tie(s.file, s.function, s.access); };
  std::sort(sites.begin(), sites.end(), [&](const Site& a, const Site& b) {
    return std::tuple_cat(key(a), std::tie(a.line)) < std::tuple_cat(key(b), std::tie(b.line));
  });
  std::vector<Mutation> mutations;
  uint32_t number = 0;
  for (size_t i = 0; i < sites.size(); ++i) {
    const Site& site = sites[i];
    number = i > 0 && key(sites[i - 1]) == key(site) ? number + 1 : 1;
    std::string name = site.file.substr(0, site.file.find('.')) + "." + site.function + "." +
                       name_of(site.access) + (number > 1 ? std::to_string(number) : "");
    const auto add = [&](Mutation::Kind kind) {
      mutations.push_back({kind, site.file, site.line, {}, name + "." + name_of(kind)});
    };
    if (site.access == Access::fence) add(Mutation::Kind::drop);
    if (site.acquires) add(Mutation::Kind::no_acquire);
    if (site.releases) add(Mutation::Kind::no_release);
    if (site.scope != Scope::cta) add(Mutation::Kind::narrow);
  }
  for (const std::string& guard : guards_) {
    mutations.push_back({Mutation::Kind::guard_off, {}, 0, guard, guard + ".off"});
  }
  std::sort(mutations.begin(), mutations.end(),
            [](const Mutation& a, const Mutation& b) { return a.name < b.name; });
  return mutations;
}

}  // namespace ringer::sim
