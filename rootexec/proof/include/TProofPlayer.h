#ifndef ROOT_TProofPlayer
#define ROOT_TProofPlayer

#include "TMacro.h"
#include "TProofProgressStatus.h"
#include "TQueryResult.h"
#include "TVirtualProofPlayer.h"

/// See TVirtualProofPlayer.
class TProofPlayer : public TVirtualProofPlayer {
 public:
  ClassDefOverride(TProofPlayer, 0) // What a session runs queries with
};

#endif
