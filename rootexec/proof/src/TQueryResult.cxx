#include "TProofQueryResult.h"

#include "TList.h"
#include "TSystem.h"

TQueryResult::TQueryResult() = default;

TQueryResult::TQueryResult(Int_t number, const char *option, TList *input, Long64_t entries, Long64_t first,
                           const char *selector)
    : fSeqNum(number), fOptions(option), fEntries(entries), fFirst(first) {
  if (input) fInputList = static_cast<TList *>(input->Clone());
  TString file(selector);
  if (const Ssiz_t plus = file.First('+'); plus != kNPOS) file.Remove(plus);
  TString title = gSystem->BaseName(file); // code tells the queries of a session apart by it: Sel for Sel.C
  if (const Ssiz_t dot = title.Index("."); dot != kNPOS) title.Remove(dot);
  if (gSystem->AccessPathName(file, kReadPermission)) {
    fSelecImp = new TMacro; // given a name it would read a file of that name
    fSelecImp->SetName(gSystem->BaseName(selector));
    fSelecImp->SetTitle(title);
    return;
  }
  fSelecImp = new TMacro(file);
  fSelecImp->SetTitle(title);
  TString header = file;
  if (const Ssiz_t dot = header.Last('.'); dot != kNPOS) header.Remove(dot);
  header += ".h";
  if (!gSystem->AccessPathName(header, kReadPermission)) fSelecHdr = new TMacro(header);
}

TQueryResult::~TQueryResult() {
  if (fInputList) fInputList->Delete();
  delete fInputList;
  delete fOutputList;
  delete fLogFile;
  delete fSelecHdr;
  delete fSelecImp;
}

void TQueryResult::Browse(TBrowser *b) {
  if (fOutputList) fOutputList->Browse(b);
}

TObject *TQueryResult::GetInputObject(const char *classname) const {
  if (!fInputList) return nullptr;
  TIter next(fInputList);
  while (TObject *o = next())
    if (o->InheritsFrom(classname)) return o;
  return nullptr;
}

Bool_t TQueryResult::Matches(const char *ref) {
  const TString full = TString::Format("%s:%s", GetTitle(), GetName());
  return full == ref || !strcmp(ref, GetTitle()) || !strcmp(ref, GetName());
}

void TQueryResult::Print(Option_t *) const {
  static const char *const words[] = {"aborted", "submitted", "running", "stopped", "completed"};
  Printf("+++ #:%d ref:\"%s:%s\" sel:%s  %s  %lld entries from %lld, %.1f s", fSeqNum, GetTitle(), GetName(),
         fSelecImp ? fSelecImp->GetName() : "?", words[fStatus], fEntries, fFirst, fProcTime);
}
