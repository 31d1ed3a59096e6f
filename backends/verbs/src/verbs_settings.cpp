// SPDX-License-Identifier: Apache-2.0
#include <ringer/verbs/verbs_settings.hpp>

namespace ringer::verbs {

namespace {
constexpr Word<Posting> kPostings[] = {
    {"auto", Posting::automatic}, {"wr", Posting::wr}, {"list", Posting::list}};
constexpr Word<InlineData> kInlineData[] = {{"auto", InlineData::automatic},
                                            {"slots", InlineData::slots}};
}  // namespace

VerbsSettings read_verbs_settings(const Lookup& lookup) {
  VerbsSettings s{read_fabric_settings(lookup), {}, {}};
  read_choice(lookup, "POSTING", kPostings, s.posting);
  read_choice(lookup, "INLINE", kInlineData, s.inline_data);
  return s;
}

std::string describe(const VerbsSettings& s) {
  return describe(static_cast<const FabricSettings&>(s)) +
         describe_setting("posting", word_of(kPostings, s.posting.value), s.posting.origin) +
         describe_setting("inline data", word_of(kInlineData, s.inline_data.value),
                          s.inline_data.origin);
}

}  // namespace ringer::verbs
