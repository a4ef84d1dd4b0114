#include "TProofTreePlayer.h"

#include "TChain.h"
#include "TH1.h"
#include "TProof.h"
#include "TProofOutputList.h"
#include "TROOT.h"
#include "TSelectorDraw.h"
#include "TSelectorEntries.h"
#include "TVirtualMutex.h"
#include "drawn.h"

#include <typeinfo>
#include <utility>

namespace {

/// Counts a call for as long as it runs.
class Counted {
 public:
  explicit Counted(Int_t &calls) : fCalls(calls) { ++fCalls; }
  ~Counted() { --fCalls; }
  Counted(const Counted &) = delete;
  Counted &operator=(const Counted &) = delete;

 private:
  Int_t &fCalls;
};

/// Has the name of a member of all trees that only classes which derive from them may say.
struct AnyTree : TTree {
  static TVirtualTreePlayer *&PlayerOf(TTree &tree) { return tree.*&AnyTree::fPlayer; }
};

} // namespace

Bool_t TProofTreePlayer::Take(TTree &tree) {
  TVirtualTreePlayer *&player = AnyTree::PlayerOf(tree);
  if (!player || dynamic_cast<TProofTreePlayer *>(player)) return kTRUE; // the first call makes one of this class
  const TVirtualTreePlayer &former = *player;
  if (typeid(former) != typeid(TTreePlayer)) return kFALSE;
  auto mine = std::make_unique<TProofTreePlayer>();
  mine->SetTree(&tree);
  mine->TakeOver(std::unique_ptr<TTreePlayer>(static_cast<TTreePlayer *>(player)));
  player = mine.release();
  return kTRUE;
}

void TProofTreePlayer::TakeChains() {
  R__LOCKGUARD(gROOTMutex);
  TIter next(gROOT->GetListOfDataSets());
  while (TObject *o = next())
    if (auto *chain = dynamic_cast<TChain *>(o)) Take(*chain);
}

void TProofTreePlayer::TakeOver(std::unique_ptr<TTreePlayer> former) {
  const auto swapped = [&](auto... members) { (std::swap(this->*members, *former.*members), ...); };
  swapped(&TProofTreePlayer::fScanRedirect, &TProofTreePlayer::fScanFileName, &TProofTreePlayer::fDimension,
          &TProofTreePlayer::fSelectedRows, &TProofTreePlayer::fHistogram, &TProofTreePlayer::fSelector,
          &TProofTreePlayer::fSelectorFromFile, &TProofTreePlayer::fSelectorClass, &TProofTreePlayer::fInput,
          &TProofTreePlayer::fFormulaList, &TProofTreePlayer::fSelectorUpdate);
  fFormer = std::move(former);
}

// The intervals that SetProof() leaves, as a call without and one with kTRUE, see TProofChainCall.h.
Bool_t TProofTreePlayer::OnPool() const {
  if (fHere > 0 || !fMine || !gProof || !fMine->InheritsFrom(TChain::Class())) return kFALSE;
  const Int_t interval = fMine->GetTimerInterval();
  return interval == 333 || interval == 1;
}

Long64_t TProofTreePlayer::Process(const char *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) {
  if (!OnPool()) return TTreePlayer::Process(selector, option, nentries, firstentry);
  return gProof->ProcessChain(fMine, selector, nullptr, option, nentries, firstentry);
}

Long64_t TProofTreePlayer::Process(TSelector *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) {
  // These are ROOT's own, whose results are in themselves.
  const Bool_t rootsOwn = dynamic_cast<TSelectorDraw *>(selector) || dynamic_cast<TSelectorEntries *>(selector);
  if (rootsOwn || !OnPool()) return TTreePlayer::Process(selector, option, nentries, firstentry);
  return gProof->ProcessChain(fMine, nullptr, selector, option, nentries, firstentry);
}

Long64_t TProofTreePlayer::DrawSelect(const char *varexp, const char *selection, Option_t *option, Long64_t nentries,
                                      Long64_t firstentry) {
  fDrawn = OnPool();
  if (const char *why = fDrawn ? dtpnode::onlyOfRows(varexp, option) : nullptr) {
    Info("Draw", "%s: that shows single rows, so ROOT draws it in this process, and not the pool", why);
    fDrawn = kFALSE;
  }
  if (!fDrawn) {
    const Counted here(fHere);
    return TTreePlayer::DrawSelect(varexp, selection, option, nentries, firstentry);
  }
  fSelectedRows = gProof->DrawChain(fMine, varexp, selection, option, nentries, firstentry);
  fHistogram = dynamic_cast<TH1 *>(gProof->GetOutputList() ? gProof->GetOutputList()->First() : nullptr);
  fDimension = fHistogram ? fHistogram->GetDimension() : 0;
  return fSelectedRows;
}

Long64_t TProofTreePlayer::GetEntries(const char *selection) {
  if (OnPool()) return gProof->CountChain(fMine, selection);
  const Counted here(fHere);
  return TTreePlayer::GetEntries(selection);
}

Int_t TProofTreePlayer::UnbinnedFit(const char *formula, const char *varexp, const char *selection, Option_t *option,
                                    Long64_t nentries, Long64_t firstentry) {
  if (OnPool()) Info("UnbinnedFit", "it is of single rows, so ROOT reads them in this process, and not the pool");
  fDrawn = kFALSE;
  const Counted here(fHere);
  return TTreePlayer::UnbinnedFit(formula, varexp, selection, option, nentries, firstentry);
}

Bool_t TProofTreePlayer::Here() const {
  if (fDrawn)
    Error("Draw", "the values of rows are not here, since the pool has drawn them: fill a histogram, or draw after "
                  "SetProof(kFALSE)");
  return !fDrawn;
}
