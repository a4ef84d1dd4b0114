#ifndef ROOT_TStatsFeedback
#define ROOT_TStatsFeedback

#include "TNamed.h"
#include "TQObject.h"

class TList;
class TProof;

/// Draws how the work of a query is spread while it runs: entries and packets by node, in two pads of a canvas. Ask for
/// it by TProof::AddFeedback("PROOF_EventsHist") or by the option "fb=stats" of a query.
class TStatsFeedback : public TNamed, public TQObject {
 public:
  TStatsFeedback(TProof *proof = nullptr);
  ~TStatsFeedback() override;

  void Feedback(TList *objs);

 private:
  TProof *fProof; //!

  ClassDefOverride(TStatsFeedback, 0) // Draws how work is spread
};

#endif
