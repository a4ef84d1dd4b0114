#ifndef ROOT_TProofTreePlayer
#define ROOT_TProofTreePlayer

#include "TTreePlayer.h"

/// Processes and draws the trees of a process in which a session was opened: a chain for which SetProof() was called on
/// the pool, any other as always.
class TProofTreePlayer : public TTreePlayer {
 public:
  using TTreePlayer::Process;

  Long64_t Process(const char *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) override;
  Long64_t Process(TSelector *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) override;
  Long64_t DrawSelect(const char *varexp, const char *selection, Option_t *option, Long64_t nentries,
                      Long64_t firstentry) override;
  TH1 *GetHistogram() const override;
  void SetTree(TTree *tree) override {
    TTreePlayer::SetTree(tree);
    fMine = tree;
  }

 private:
  Bool_t OnPool() const;

  TTree *fMine = nullptr;   //!
  Bool_t fDrawn = kFALSE;   //! whether the last drawing was the pool's
  TH1 *fPooled = nullptr;   //!

  ClassDefOverride(TProofTreePlayer, 0) // Trees that may run on the pool
};

#endif
