#include "TH1.h"
#include "TList.h"
#include "TProof.h"
#include "TProofPlayer.h"
#include "TSeqCollection.h"
#include "TStatsFeedback.h"
#include "TVirtualPad.h"

TDrawFeedback::TDrawFeedback(TProof *proof, TSeqCollection *names)
    : fAll(!names || names->IsEmpty()), fNames(names), fProof(proof ? proof : gProof) {
  if (fProof) fProof->Connect("Feedback(TList*)", "TDrawFeedback", this, "Feedback(TList*)");
}

TDrawFeedback::~TDrawFeedback() {
  if (fProof && fProof == gProof) fProof->Disconnect("Feedback(TList*)", this, "Feedback(TList*)");
}

void TDrawFeedback::Feedback(TList *objs) {
  TIter next(objs);
  while (TObject *o = next()) {
    if (!o->InheritsFrom(TH1::Class()) || (!fAll && !fNames->FindObject(o->GetName()))) continue;
    o->DrawClone(fOption);
    if (gPad) gPad->Update();
    return;
  }
}

TDrawFeedback *TProof::CreateDrawFeedback() { return new TDrawFeedback(this); }

void TProof::SetDrawFeedbackOption(TDrawFeedback *f, Option_t *opt) {
  if (f) f->SetOption(opt);
}

void TProof::DeleteDrawFeedback(TDrawFeedback *f) { delete f; }

void TVirtualProofPlayer::AddInput(TObject *obj) {
  if (TProof::Default("TProofPlayer::AddInput")) gProof->AddInput(obj);
}

void TVirtualProofPlayer::ClearInput() {
  if (TProof::Default("TProofPlayer::ClearInput")) gProof->ClearInput();
}

TList *TVirtualProofPlayer::GetInputList() const {
  return TProof::Default("TProofPlayer::GetInputList") ? gProof->GetInputList() : nullptr;
}

TList *TVirtualProofPlayer::GetOutputList() const {
  return TProof::Default("TProofPlayer::GetOutputList") ? gProof->GetOutputList() : nullptr;
}

TObject *TVirtualProofPlayer::GetOutput(const char *name) const {
  return TProof::Default("TProofPlayer::GetOutput") ? gProof->GetOutput(name) : nullptr;
}
