// SPDX-License-Identifier: Apache-2.0
// Launches the p2p kernels on a GPU. Host code: no CUDA header needed.
#pragma once

#include <ringer/p2p/ping_pong.hpp>
#include <ringer/p2p/policies.hpp>
#include <ringer/p2p/post.hpp>

struct CUstream_st;  // what cudaStream_t points to

namespace ringer::p2p {

/// Warps of a block at most, a server included.
inline constexpr uint32_t kMaxPostWarps = 32;

/// Enqueues a kernel on `stream` of the current GPU. Errors: std::runtime_error with the CUDA call
/// and its error.
void launch_post(const PostArgs& args, const PolicyChoice& policy, const PostShape& shape,
                 CUstream_st* stream);
void launch_ping_pong(const PingPongArgs& args, RecordOrder record, CUstream_st* stream);

}  // namespace ringer::p2p
