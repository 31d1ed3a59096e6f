// SPDX-License-Identifier: Apache-2.0
#include <ringer/verbs/verbs_settings.hpp>

namespace ringer::verbs {

namespace {
constexpr Word<Posting> kPostings[] = {
    {"auto", Posting::automatic}, {"wr", Posting::wr}, {"list", Posting::list}};
constexpr Word<InlineData> kInlineData[] = {{"auto", InlineData::automatic},
                                            {"slots", InlineData::slots}};
constexpr Word<Completions> kCompletions[] = {{"poll", Completions::poll},
                                              {"event", Completions::event}};
constexpr Word<Connecting> kConnecting[] = {{"exchange", Connecting::exchange},
                                            {"cm", Connecting::cm}};
}  // namespace

VerbsSettings read_verbs_settings(const Lookup& lookup) {
  VerbsSettings s{read_fabric_settings(lookup), {}, {}, {}, {}};
  read_choice(lookup, "POSTING", kPostings, s.posting);
  read_choice(lookup, "INLINE", kInlineData, s.inline_data);
  read_choice(lookup, "COMPLETIONS", kCompletions, s.completions);
  read_choice(lookup, "CONNECT", kConnecting, s.connecting);
  return s;
}

std::string describe(const VerbsSettings& s) {
  return describe(static_cast<const FabricSettings&>(s)) +
         describe_setting("posting", word_of(kPostings, s.posting.value), s.posting.origin) +
         describe_setting("inline data", word_of(kInlineData, s.inline_data.value),
                          s.inline_data.origin) +
         describe_setting("completions", word_of(kCompletions, s.completions.value),
                          s.completions.origin) +
         describe_setting("connecting by", word_of(kConnecting, s.connecting.value),
                          s.connecting.origin);
}

}  // namespace ringer::verbs
