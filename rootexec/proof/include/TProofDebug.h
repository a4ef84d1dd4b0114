// The level of detail that PROOF logged with, by subject. Nothing here is logged by it: code that tests it compiles, and
// prints what its own author asked for by SetLogLevel.
#ifndef ROOT_TProofDebug
#define ROOT_TProofDebug

#include "ProofIncludes.h"
#include "Rtypes.h"

class TProofDebug {
 public:
  enum EProofDebugMask {
    kNone = 0,
    kPacketizer = 1 << 0,
    kLoop = 1 << 1,
    kSelector = 1 << 2,
    kOutput = 1 << 3,
    kInput = 1 << 4,
    kGlobal = 1 << 5,
    kPackage = 1 << 6,
    kFeedback = 1 << 7,
    kCondor = 1 << 8,
    kDraw = 1 << 9,
    kAsyn = 1 << 10,
    kCache = 1 << 11,
    kCollect = 1 << 12,
    kProfile = 1 << 13,
    kSubmerger = 1 << 14,
    kMonitoring = 1 << 15,
    kDataset = 1 << 16,
    kAll = -1
  };
};

R__EXTERN TProofDebug::EProofDebugMask gProofDebugMask;
R__EXTERN Int_t gProofDebugLevel;

/// Runs the statement that follows if the level of a subject is at least so high.
#define PDB(subject, level) if ((TProofDebug::subject & gProofDebugMask) && gProofDebugLevel >= (level))

#endif
