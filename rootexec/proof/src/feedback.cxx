#include "feedback.h"

#include "TDirectory.h"
#include "TDrawFeedback.h"
#include "TFile.h"
#include "TH1.h"
#include "TKey.h"
#include "TList.h"
#include "TParameter.h"
#include "TProof.h"
#include "TProofPlayer.h"
#include "TSeqCollection.h"
#include "TStatsFeedback.h"
#include "TROOT.h"
#include "TVirtualPad.h"

#include <algorithm>
#include <sys/stat.h>

namespace {

const char *const kEvents = "PROOF_EventsHist";
const char *const kPackets = "PROOF_PacketsHist";
const char *const kRunning = "PROOF_ProcPcktHist";

template <typename T>
void periodIn(const TList &input, double &ms) {
  if (auto *p = dynamic_cast<TParameter<T> *>(input.FindObject("PROOF_FeedbackPeriod"))) ms = static_cast<double>(p->GetVal());
}

/// The pad of a canvas of that name, which is made if there is none.
TVirtualPad *canvasOf(const TString &name) {
  auto *pad = dynamic_cast<TVirtualPad *>(gROOT->GetListOfCanvases()->FindObject(name));
  if (!pad) {
    gROOT->MakeDefCanvas();
    pad = gPad;
    if (pad) pad->SetName(name);
  }
  if (pad) pad->cd();
  return pad;
}

} // namespace

namespace dtpnode {

Feedback::Feedback(const std::vector<std::string> &names, const TList &input, Session &session) {
  for (const std::string &name : names) {
    if (name == kEvents || name == kPackets || name == kRunning)
      stats_ = true;
    else
      names_.push_back(name);
  }
  double ms = 2000;
  periodIn<Int_t>(input, ms);
  periodIn<Long_t>(input, ms);
  every_ = std::max(1L, static_cast<long>(ms / 1000));
  if (!names_.empty()) path_ = session.temporary("-watched.root");
}

std::vector<std::string> Feedback::arguments() const {
  if (names_.empty()) return {};
  std::string all;
  for (const std::string &name : names_)
    all += (all.empty() ? "" : ",") + name;
  return {"--watch", all, "--watch-file", path_, "--watch-every", std::to_string(every_) + "s"};
}

bool Feedback::read(TList &into) {
  struct stat st {};
  if (path_.empty() || ::stat(path_.c_str(), &st) != 0 || st.st_ino == last_) return false;
  last_ = st.st_ino;
  TDirectory::TContext keep;
  const Bool_t add = TH1::AddDirectoryStatus();
  TH1::AddDirectory(kFALSE);
  std::unique_ptr<TFile> file(TFile::Open(path_.c_str()));
  if (file && !file->IsZombie()) {
    TIter next(file->GetListOfKeys());
    while (auto *key = static_cast<TKey *>(next()))
      if (TObject *o = key->ReadObj()) into.Add(o);
  }
  TH1::AddDirectory(add);
  return !into.IsEmpty();
}

std::unique_ptr<TList> Feedback::look(const JobStatus &status) {
  auto objects = std::make_unique<TList>();
  objects->SetName("FeedbackList");
  objects->SetOwner();
  const auto now = std::chrono::steady_clock::now();
  const bool fresh = read(*objects);
  if (stats_ && (fresh || now - told_ >= std::chrono::seconds(every_))) addStats(status, *objects);
  if (objects->IsEmpty()) return nullptr;
  told_ = now;
  return objects;
}

void addStats(const JobStatus &status, TList &into) {
  const auto n = static_cast<Int_t>(std::max<size_t>(status.nodes.size(), 1));
  auto *events = new TH1D(kEvents, "Entries processed per node", n, 0, n);
  auto *packets = new TH1D(kPackets, "Packets processed per node", n, 0, n);
  for (TH1D *h : {events, packets}) {
    h->SetDirectory(nullptr);
    h->SetMinimum(0);
    into.Add(h);
  }
  for (size_t i = 0; i < status.nodes.size(); ++i) {
    const NodeWork &node = status.nodes[i];
    const auto bin = static_cast<Int_t>(i + 1);
    events->SetBinContent(bin, static_cast<Double_t>(node.units));
    packets->SetBinContent(bin, static_cast<Double_t>(node.packets));
    for (TH1D *h : {events, packets})
      h->GetXaxis()->SetBinLabel(bin, node.name.c_str());
  }
  events->SetEntries(events->Integral());
  packets->SetEntries(packets->Integral());
}

} // namespace dtpnode

TDrawFeedback::TDrawFeedback(TProof *proof, TSeqCollection *names)
    : fAll(!names || names->IsEmpty()), fProof(proof ? proof : gProof) {
  // The list may be gone when it is needed: what code gives here is often on the stack.
  if (names) fNames = static_cast<TSeqCollection *>(names->Clone());
  if (fProof) fProof->Connect("Feedback(TList*)", "TDrawFeedback", this, "Feedback(TList*)");
}

TDrawFeedback::~TDrawFeedback() {
  if (fProof && fProof == gProof) fProof->Disconnect("Feedback(TList*)", this, "Feedback(TList*)");
  if (fNames) fNames->Delete();
  delete fNames;
}

void TDrawFeedback::Feedback(TList *objs) {
  TVirtualPad *before = gPad;
  TIter next(objs);
  while (TObject *o = next()) {
    if (!fAll && !fNames->FindObject(o->GetName())) continue;
    if (auto *h = dynamic_cast<TH1 *>(o)) { // each histogram has a canvas of its own
      if (TVirtualPad *pad = canvasOf(TString(h->GetName()) + "_canvas")) {
        h->DrawCopy(fOption);
        pad->Modified();
        pad->Update();
      }
    } else { // classes of one's own find their canvas themselves
      o->DrawClone(fOption);
    }
  }
  if (before)
    before->cd();
  else
    gPad = nullptr;
}

TStatsFeedback::TStatsFeedback(TProof *proof) : fProof(proof ? proof : gProof) {
  if (fProof) fProof->Connect("Feedback(TList*)", "TStatsFeedback", this, "Feedback(TList*)");
}

TStatsFeedback::~TStatsFeedback() {
  if (fProof && fProof == gProof) fProof->Disconnect("Feedback(TList*)", this, "Feedback(TList*)");
}

void TStatsFeedback::Feedback(TList *objs) {
  TH1 *const shown[] = {dynamic_cast<TH1 *>(objs->FindObject(kEvents)), dynamic_cast<TH1 *>(objs->FindObject(kPackets))};
  if (!shown[0] && !shown[1]) return;
  TVirtualPad *before = gPad;
  const TString name = TString::Format("Stats: %s", fProof ? fProof->GetSessionTag() : "");
  const bool isNew = !gROOT->GetListOfCanvases()->FindObject(name);
  if (TVirtualPad *canvas = canvasOf(name)) {
    if (isNew) canvas->Divide(1, 2);
    for (Int_t i = 0; i < 2; ++i) {
      canvas->cd(i + 1);
      if (shown[i]) shown[i]->DrawCopy();
    }
    canvas->cd();
    canvas->Update();
  }
  if (before)
    before->cd();
  else
    gPad = nullptr;
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
