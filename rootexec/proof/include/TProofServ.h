// What code on a worker asked the PROOF server it ran in. gProofServ is set where entries are processed, and null in
// Begin and Terminate, as it was.
#ifndef ROOT_TProofServ
#define ROOT_TProofServ

#include "TObject.h"
#include "TString.h"

class TProofServ : public TObject {
 public:
  ~TProofServ() override;

  ClassDefOverride(TProofServ, 0) // A worker as selectors see it
};

R__EXTERN TProofServ *gProofServ;

#endif
