// SPDX-License-Identifier: Apache-2.0
// The only test file that asks which Catch2 it is.
#pragma once

#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#define RINGER_CATCH_CONTAINS Catch::Matchers::ContainsSubstring
#else
#include <catch2/catch.hpp>
#define RINGER_CATCH_CONTAINS Catch::Matchers::Contains
#endif

namespace ringer::test {

/// Matcher: the string has `part` in it.
inline auto contains(const std::string& part) { return RINGER_CATCH_CONTAINS(part); }

}  // namespace ringer::test
