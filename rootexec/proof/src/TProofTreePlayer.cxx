#include "TProofTreePlayer.h"

#include "TChain.h"
#include "TH1.h"
#include "TProof.h"
#include "TProofOutputList.h"

// The intervals that SetProof() leaves, as a call without and one with kTRUE, see TProofChainCall.h.
Bool_t TProofTreePlayer::OnPool() const {
  if (!fMine || !gProof || !fMine->InheritsFrom(TChain::Class())) return kFALSE;
  const Int_t interval = fMine->GetTimerInterval();
  return interval == 333 || interval == 1;
}

Long64_t TProofTreePlayer::Process(const char *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) {
  if (!OnPool()) return TTreePlayer::Process(selector, option, nentries, firstentry);
  return gProof->ProcessChain(fMine, selector, nullptr, option, nentries, firstentry);
}

Long64_t TProofTreePlayer::Process(TSelector *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) {
  if (!OnPool()) return TTreePlayer::Process(selector, option, nentries, firstentry);
  return gProof->ProcessChain(fMine, nullptr, selector, option, nentries, firstentry);
}

Long64_t TProofTreePlayer::DrawSelect(const char *varexp, const char *selection, Option_t *option, Long64_t nentries,
                                      Long64_t firstentry) {
  fDrawn = OnPool();
  if (!fDrawn) return TTreePlayer::DrawSelect(varexp, selection, option, nentries, firstentry);
  const Long64_t drawn = gProof->DrawChain(fMine, varexp, selection, option, nentries, firstentry);
  fPooled = dynamic_cast<TH1 *>(gProof->GetOutputList() ? gProof->GetOutputList()->First() : nullptr);
  return fRows = drawn;
}

Bool_t TProofTreePlayer::Here() const {
  if (fDrawn)
    Error("Draw", "the values of rows are not here, since the pool has drawn them: fill a histogram, or draw after "
                  "SetProof(kFALSE)");
  return !fDrawn;
}

TH1 *TProofTreePlayer::GetHistogram() const { return fDrawn ? fPooled : TTreePlayer::GetHistogram(); }
