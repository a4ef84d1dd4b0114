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

// The methods of THLimitsFinder for two and for three axes were overloads of the one for one axis, and have more
// parameters since they have names of their own: how many bins there are to be, 0 for those that the histogram has.
#if ROOT_VERSION_CODE >= ROOT_VERSION(6, 40, 0)
#define DTPNODE_GOOD_LIMITS_XY FindGoodLimitsXY
#define DTPNODE_GOOD_LIMITS_XYZ FindGoodLimitsXYZ
#define DTPNODE_BINS_XY , Int_t binsX, Int_t binsY
#define DTPNODE_BINS_XYZ , Int_t binsX, Int_t binsY, Int_t binsZ
#define DTPNODE_PASS_BINS_XY , binsX, binsY
#define DTPNODE_PASS_BINS_XYZ , binsX, binsY, binsZ
#else
#define DTPNODE_GOOD_LIMITS_XY FindGoodLimits
#define DTPNODE_GOOD_LIMITS_XYZ FindGoodLimits
#define DTPNODE_BINS_XY
#define DTPNODE_BINS_XYZ
#define DTPNODE_PASS_BINS_XY
#define DTPNODE_PASS_BINS_XYZ
#endif

} // namespace dtpnode
