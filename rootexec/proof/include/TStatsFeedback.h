#ifndef ROOT_TStatsFeedback
#define ROOT_TStatsFeedback

#include "TDrawFeedback.h"

/// Drew how the work was spread over workers. Here that is in the progress of a run, and in `dtpnode status JOB`.
class TStatsFeedback : public TDrawFeedback {
 public:
  TStatsFeedback(TProof *proof = nullptr) : TDrawFeedback(proof) {}

  ClassDefOverride(TStatsFeedback, 0) // See TDrawFeedback
};

#endif
