#ifndef ROOT_TDrawFeedback
#define ROOT_TDrawFeedback

#include "ProofIncludes.h"
#include "TObject.h"
#include "TQObject.h"
#include "TString.h"

class TProof;
class TSeqCollection;

/// Draws histograms of a query while it runs: those that the session's AddFeedback() names, or all. It draws what the
/// session's signal Feedback(TList *) brings.
class TDrawFeedback : public TObject, public TQObject {
 public:
  TDrawFeedback(TProof *proof = nullptr, TSeqCollection *names = nullptr);
  ~TDrawFeedback() override;

  void Feedback(TList *objs);
  void SetOption(const char *option) { fOption = option; }

 private:
  Bool_t fAll;
  TString fOption;
  TSeqCollection *fNames = nullptr; //!
  TProof *fProof = nullptr;         //!

  ClassDefOverride(TDrawFeedback, 0) // Draws histograms of a query while it runs
};

#endif
