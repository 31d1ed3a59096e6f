// SPDX-License-Identifier: Apache-2.0
// Catch2 2 wants its main from us; Catch2 3 links its own.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#endif
#include "support/catch.hpp"
