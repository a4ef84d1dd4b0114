// What chain->SetProof() made of a chain, which macros could make themselves.
#ifndef ROOT_TProofChain
#define ROOT_TProofChain

#include "ProofIncludes.h"
#include <TChain.h>
#include "TProofChainCall.h"

/// A chain of the files of another, whose entries the pool processes.
class TProofChain : public TChain {
 public:
  TProofChain() { SetProof(); }
  TProofChain(TChain *chain, Bool_t /*treeHeader*/ = kFALSE) : TChain(chain->GetName(), chain->GetTitle()) {
    Add(chain);
    if (chain->GetEntryList()) SetEntryList(chain->GetEntryList());
    SetProof();
  }

  ClassDefOverride(TProofChain, 0) // A chain on the pool
};

#endif
