#ifndef ROOT_TProofOutputList
#define ROOT_TProofOutputList

#include "ProofIncludes.h"
#include "TList.h"

/// A list whose Print and ls leave out what is not the user's, by its name.
class TProofOutputList : public TList {
 public:
  TProofOutputList(const char *dontshow = "PROOF_*");
  ~TProofOutputList() override;

  void AttachList(TList *list);
  TList *GetDontShowList() { return fDontShow; }
  using TList::Print;
  void ls(Option_t *option = "") const override;
  void Print(Option_t *option = "") const override;

 private:
  Bool_t Shown(const char *name) const;

  TList *fDontShow; //! patterns

  ClassDefOverride(TProofOutputList, 1) // A list that does not show all
};

#endif
