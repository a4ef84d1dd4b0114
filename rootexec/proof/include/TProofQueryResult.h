#ifndef ROOT_TProofQueryResult
#define ROOT_TProofQueryResult

#include "TQueryResult.h"

/// A query as PROOF's servers kept it; sessions here make TQueryResult objects.
class TProofQueryResult : public TQueryResult {
 public:
  using TQueryResult::TQueryResult;

  ClassDefOverride(TProofQueryResult, 1) // A query
};

#endif
