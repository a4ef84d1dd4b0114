#ifndef ROOT_TProofTreePlayer
#define ROOT_TProofTreePlayer

#include "TTreePlayer.h"

#include <memory>

/// Processes and draws the trees of a process in which a session was opened: a chain for which SetProof() was called on
/// the pool, any other as always.
class TProofTreePlayer : public TTreePlayer {
 public:
  using TTreePlayer::Process;

  /// Gives a tree a player of this class. ROOT makes one when a tree is first drawn, counted or scanned, and a tree
  /// that was so before the session has one of ROOT's own class, by which its queries would stay in this process. What
  /// that one knows of its last drawing goes along. False if the tree has a player of another class, which it keeps.
  static Bool_t Take(TTree &tree);
  /// Takes all chains that ROOT knows of in this process.
  static void TakeChains();

  Long64_t Process(const char *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) override;
  Long64_t Process(TSelector *selector, Option_t *option, Long64_t nentries, Long64_t firstentry) override;
  Long64_t DrawSelect(const char *varexp, const char *selection, Option_t *option, Long64_t nentries,
                      Long64_t firstentry) override;
  /// Counts on the pool, too.
  Long64_t GetEntries(const char *selection) override;
  /// Fits the values of rows, which are read in this process.
  Int_t UnbinnedFit(const char *formula, const char *varexp, const char *selection, Option_t *option,
                    Long64_t nentries, Long64_t firstentry) override;
  Int_t GetNfill() const override { return fDrawn ? static_cast<Int_t>(fSelectedRows) : TTreePlayer::GetNfill(); }
  /// The values of rows that the pool has drawn are not here: an error says so, and there are none.
  Double_t *GetVal(Int_t i) const override { return Here() ? TTreePlayer::GetVal(i) : nullptr; }
  Double_t *GetV1() const override { return Here() ? TTreePlayer::GetV1() : nullptr; }
  Double_t *GetV2() const override { return Here() ? TTreePlayer::GetV2() : nullptr; }
  Double_t *GetV3() const override { return Here() ? TTreePlayer::GetV3() : nullptr; }
  Double_t *GetV4() const override { return Here() ? TTreePlayer::GetV4() : nullptr; }
  Double_t *GetW() const override { return Here() ? TTreePlayer::GetW() : nullptr; }
  void SetTree(TTree *tree) override {
    TTreePlayer::SetTree(tree);
    fMine = tree;
  }

 private:
  void TakeOver(std::unique_ptr<TTreePlayer> former);
  Bool_t OnPool() const;
  Bool_t Here() const;

  TTree *fMine = nullptr;   //!
  std::unique_ptr<TTreePlayer> fFormer; //! kept, since a call of it may have opened the session
  Bool_t fDrawn = kFALSE;   //! whether the last drawing was the pool's
  Int_t fHere = 0;          //! calls that run in this process whatever SetProof() said

  ClassDefOverride(TProofTreePlayer, 0) // Trees that may run on the pool
};

#endif
