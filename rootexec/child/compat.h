// What differs between the versions of ROOT that the child compiles against, 6.26 to 6.40. No other source of the child
// looks at ROOT's version to choose between interfaces.
#pragma once

#include <RVersion.h>
#include <RtypesCore.h>

#if ROOT_VERSION_CODE < ROOT_VERSION(6, 26, 0)
#error "dtpnode needs ROOT 6.26 or newer"
#endif
#if __cplusplus < 201703L
#error "dtpnode's child needs C++17 (rootexec/version.go: childStandard)"
#endif

namespace dtpnode {

// TMethodCall hands pointers on as Long_t in all these versions.
static_assert(sizeof(Long_t) == sizeof(void *), "dtpnode needs a 64-bit Linux");
// Entries are Long64_t for ROOT and long long here.
static_assert(sizeof(Long64_t) == sizeof(long long) && sizeof(Long64_t) == 8, "entries are 64-bit integers");

} // namespace dtpnode
