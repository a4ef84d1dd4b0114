#include "TProofOutputList.h"

#include "TObjString.h"
#include "TRegexp.h"
#include "TString.h"

TProofOutputList::TProofOutputList(const char *dontshow) : fDontShow(new TList) {
  fDontShow->SetOwner();
  TString part;
  for (Ssiz_t from = 0; TString(dontshow).Tokenize(part, from, ",");)
    fDontShow->Add(new TObjString(part));
}

TProofOutputList::~TProofOutputList() { delete fDontShow; }

void TProofOutputList::AttachList(TList *list) {
  Clear("nodelete");
  if (list) AddAll(list);
}

Bool_t TProofOutputList::Shown(const char *name) const {
  TIter next(fDontShow);
  while (TObject *pattern = next())
    if (TString(name).Index(TRegexp(pattern->GetName(), kTRUE)) == 0) return kFALSE;
  return kTRUE;
}

void TProofOutputList::ls(Option_t *option) const {
  TIter next(this);
  while (TObject *o = next())
    if ((option && *option == '*') || Shown(o->GetName())) o->ls(option);
}

void TProofOutputList::Print(Option_t *option) const {
  TIter next(this);
  while (TObject *o = next())
    if ((option && *option == '*') || Shown(o->GetName())) o->Print(option);
}
