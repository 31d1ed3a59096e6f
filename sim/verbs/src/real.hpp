// SPDX-License-Identifier: Apache-2.0
// The functions of the C library that this one stands in front of.
#pragma once

#include <atomic>
#include <cstdio>

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/types.h>

/// Marks a function that stands in front of the C library's.
#define RINGER_EXPORT extern "C" __attribute__((visibility("default")))

namespace ringer::sim::verbs::real {

/// The next definition of `name`, found when first called: that may be before any constructor of
/// this library has run.
template <class Result, class... Arguments>
class Function {
 public:
  constexpr explicit Function(const char* name) : name_(name) {}
  Result operator()(Arguments... arguments) {
    void* address = address_.load(std::memory_order_relaxed);
    if (address == nullptr) {
      address = dlsym(RTLD_NEXT, name_);
      address_.store(address, std::memory_order_relaxed);
    }
    return reinterpret_cast<Result (*)(Arguments...)>(address)(arguments...);
  }

 private:
  const char* name_;
  std::atomic<void*> address_{nullptr};
};

inline constinit Function<int, const char*, int, mode_t> open{"open"};
inline constinit Function<int, int, const char*, int, mode_t> openat{"openat"};
inline constinit Function<FILE*, const char*, const char*> fopen{"fopen"};
inline constinit Function<DIR*, const char*> opendir{"opendir"};
inline constinit Function<int, const char*, int> access{"access"};
inline constinit Function<int, int, const char*, int, int> faccessat{"faccessat"};
inline constinit Function<ssize_t, const char*, char*, size_t> readlink{"readlink"};
inline constinit Function<ssize_t, int, const char*, char*, size_t> readlinkat{"readlinkat"};
inline constinit Function<char*, const char*, char*> realpath{"realpath"};
inline constinit Function<int, int, struct stat*> fstat{"fstat"};
inline constinit Function<int, int, const char*, struct stat*, int> fstatat{"fstatat"};
inline constinit Function<int, int, const char*, int, unsigned, struct statx*> statx{"statx"};
inline constinit Function<int, int> close{"close"};
inline constinit Function<int, int, int, int> socket{"socket"};
inline constinit Function<int, int, unsigned long, void*> ioctl{"ioctl"};
inline constinit Function<int, pthread_spinlock_t*> pthread_spin_unlock{"pthread_spin_unlock"};

}  // namespace ringer::sim::verbs::real
