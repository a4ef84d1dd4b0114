// What the node's processes call to give user code the world of a PROOF worker. They know these functions by their
// names, which therefore are C's.
#include "TDSet.h"
#include "TList.h"
#include "TMap.h"
#include "TNamed.h"
#include "TObjString.h"
#include "TParameter.h"
#include "TProofServ.h"
#include "TROOT.h"
#include "TSelector.h"
#include "TSystem.h"

namespace {

const char *const kCurrent = "PROOF_CurrentElement";

TDSetElement *current = nullptr;
TPair *holder = nullptr;

void replace(TList &input, TObject *o) {
  while (TObject *old = input.FindObject(o->GetName()))
    input.Remove(old);
  input.Add(o);
}

} // namespace

/// Makes this process a worker: gProofServ, and what PROOF put into the input list of each. dir is where it works, job
/// the name of the job, id a number that no other process of the job has. Lines of C++ that a session's Exec() was given
/// are run. What is returned is a selector that a session gave as an object, null if there is none.
extern "C" void *dtpnodeProofWorker(void *list, const char *dir, const char *job, int id) {
  auto *input = static_cast<TList *>(list);
  if (!gProofServ) gProofServ = new TProofServ;
  gProofServ->SetPlace(dir, job, id, 1);
  if (auto *query = dynamic_cast<TParameter<Int_t> *>(input->FindObject("PROOF_QuerySeqNum")))
    gProofServ->SetQuery(query->GetVal());
  else
    input->Add(new TParameter<Int_t>("PROOF_QuerySeqNum", 1));
  // PROOF put the tag before what Begin adds, and selectors take that by its place in the list.
  if (!input->FindObject("PROOF_QueryTag")) input->AddFirst(new TNamed("PROOF_QueryTag", job));
  replace(*input, new TNamed("PROOF_Ordinal", gProofServ->GetOrdinal()));
  if (auto *lines = dynamic_cast<TList *>(input->FindObject("PROOF_SessionExec"))) {
    TIter next(lines);
    while (TObject *line = next())
      gROOT->ProcessLine(line->GetName());
    input->Remove(lines);
  }
  if (auto *trees = dynamic_cast<TList *>(input->FindObject("PROOF_SessionTrees"))) {
    input->Remove(trees);
    input->AddAll(trees);
  }
  auto *carried = dynamic_cast<TList *>(input->FindObject("PROOF_SelectorObject"));
  TObject *selector = carried ? carried->First() : nullptr;
  if (!selector || !selector->InheritsFrom(TSelector::Class())) return nullptr;
  input->Remove(carried);
  return static_cast<TSelector *>(selector);
}

/// Says which entries of which file are processed next: first and number, in a tree with so many entries. fresh says
/// that the process has not had the file before.
extern "C" void dtpnodeProofElement(void *list, const char *file, const char *tree, long long first, long long num,
                                    long long entries, long long offset, bool fresh) {
  auto *input = static_cast<TList *>(list);
  TString path(tree), dir("/");
  if (const Ssiz_t slash = path.Last('/'); slash != kNPOS) {
    dir += TString(path(0, slash + 1)).Strip(TString::kLeading, '/');
    path.Remove(0, slash + 1);
  }
  if (!holder) {
    current = new TDSetElement;
    holder = new TPair(new TObjString(kCurrent), current);
  }
  if (!input->FindObject(holder)) input->Add(holder);
  auto *next = new TDSetElement(file, path, dir, first, num);
  next->SetEntries(entries);
  next->SetTDSetOffset(offset);
  next->SetValid();
  next->SetLookedUp();
  next->SetBit(TDSetElement::kNewRun, fresh);
  next->SetBit(TDSetElement::kNewPacket);
  holder->SetValue(next);
  delete current;
  current = next;
}
