// The session itself, its parameters and what it says of the pool. Queries, code and datasets have files of their own.
#include "TProof.h"

#include "TEnv.h"
#include "TError.h"
#include "TList.h"
#include "TObjString.h"
#include "TParameter.h"
#include "TProofLite.h"
#include "TProofLog.h"
#include "TProofTreePlayer.h"
#include "TROOT.h"
#include "TVirtualMutex.h"
#include "TVirtualTreePlayer.h"
#include "code.h"
#include "process.h"
#include "session.h"

#include <algorithm>
#include <memory>
#include <unistd.h>

TProof *gProof = nullptr;
TVirtualMutex *gProofMutex = nullptr;

namespace {

TList &environment() {
  static TList list;
  return list;
}

Int_t workersIn(const TString &url, const char *option) {
  for (TString text : {url, TString(option)}) {
    const Ssiz_t at = text.Index("workers=");
    if (at == kNPOS) continue;
    text.Remove(0, at + 8);
    return text.Atoi();
  }
  return 0;
}

/// The state folder of the node that a session is to go to, which is all behind state=.
std::string stateIn(const char *option) {
  const TString given(option);
  const Ssiz_t at = given.Index("state=");
  return at == kNPOS ? "" : given.Data() + at + 6;
}

/// Says that no process of a session runs in another program, as workers did under valgrind, where that is asked for.
void tellOfWrappers(const char *where) {
  ::Warning(where, "no process runs under valgrind or another program here: run the selector in one process of ROOT under "
                   "it, without SetProof, over the file and the entries that matter");
}

} // namespace

Bool_t TProof::Default(const char *where) {
  if (gProof && gProof->IsValid()) return kTRUE;
  ::Error(where, "no session is open: call TProof::Open(\"\") first");
  return kFALSE;
}

TProof *TProof::Open(const char *url, const char *conffile, const char *confdir, Int_t loglevel) {
  if (TString(url).Contains("valgrind") || TString(conffile).BeginsWith("valgrind")) tellOfWrappers("TProof::Open");
  if (gProof && gProof->IsValid()) return gProof;
  auto p = std::make_unique<TProof>(url, conffile, confdir, loglevel);
  if (!p->IsValid()) return nullptr;
  return gProof = p.release();
}

TProof::TProof(const char *url, const char *conffile, const char *, Int_t loglevel, const char *alias, TProofMgr *)
    : fInput(new TList), fInputData(new TList), fFeedback(new TList), fQueries(new TList), fMacros(new TList),
      fSlaves(new TList), fOutput(new TProofOutputList), fSession(nullptr), fCode(new dtpnode::Code) {
  fOutput->SetBit(kMustCleanup); // users delete objects that are in it
  gROOT->GetListOfCleanups()->Add(fOutput);
  const TString given(url);
  fLite = given.IsNull() || given.BeginsWith("lite") || given.BeginsWith("workers=");
  fUrl.SetUrl(fLite ? "lite://localhost" : given.Data());
  gProofDebugLevel = loglevel;
  fFeedback->SetOwner();
  fSlaves->SetOwner();
  fMacros->SetOwner();
  Int_t workers = workersIn(given, conffile);
  if (const TObject *n = environment().FindObject("PROOF_NWORKERS"); n && !workers) workers = TString(n->GetTitle()).Atoi();
  const std::string state = stateIn(conffile);
  fSession = new dtpnode::Session(workers, state);
  if (!fSession->error().empty()) {
    Error("Open", "%s", fSession->error().c_str());
    fLastError = fSession->error().c_str();
    return;
  }
  if (UserGroup_t *who = gSystem->GetUserInfo()) {
    fUser = who->fUser;
    delete who;
  }
  SetName(TString::Format("session-%s-%d", gSystem->HostName(), gSystem->GetPid()));
  SetTitle(alias && *alias ? alias : fUrl.GetUrl());
  fWorkDir = (fSession->folder() + "/session/work").c_str();
  gSystem->mkdir(fWorkDir, kTRUE);
  SetBit(kIsClient);
  SetBit(kUseProgressDialog);
  fValid = kTRUE;
  TVirtualTreePlayer::SetPlayer("TProofTreePlayer");
  TProofTreePlayer::TakeChains();
  dtpnode::prepareProcess();
  if (!state.empty()) return; // a program that names the node knows what it has
  const Int_t n = GetParallel();
  Printf("Session on %zu %s with %d %s%s", fSession->members().size(), fSession->members().size() == 1 ? "node" : "nodes",
         n, n == 1 ? "process" : "processes",
         fSession->ownNode() ? "; it has started a node of its own, which ends with it" : "");
}

// What a selector finds as gProof in Begin and Terminate of a job that was submitted without a session.
TProof::TProof(TList &input)
    : TNamed("job", "lite://localhost"), fUrl("lite://localhost"), fValid(kTRUE), fInput(&input), fInputData(new TList),
      fFeedback(new TList), fQueries(new TList), fMacros(new TList), fSlaves(new TList), fOutput(new TProofOutputList),
      fOfJob(kTRUE), fSession(new dtpnode::Session), fCode(new dtpnode::Code) {
  if (UserGroup_t *who = gSystem->GetUserInfo()) {
    fUser = who->fUser;
    delete who;
  }
  fWorkDir = gSystem->WorkingDirectory();
  fFeedback->SetOwner();
  fSlaves->SetOwner();
  fMacros->SetOwner();
  SetBit(kIsClient);
}

// Errors of a query, which gives -1 then.
Long64_t TProof::Failed(const char *where, const std::string &why, const std::string &hint) {
  fLastError = hint.empty() ? why.c_str() : (why + "\n" + hint).c_str();
  if (fKeepErrors) return -1;
  Error(where, "%s", why.c_str());
  if (!hint.empty()) Error(where, "%s", hint.c_str());
  return -1;
}

Bool_t TProof::TooLate(const char *where, const char *flag) const {
  if (fOfJob) Error(where, "this job has its code already: give `dtpnode run` the flag %s", flag);
  return fOfJob;
}

/// Gives a selector of a job its gProof, in Begin and in Terminate. output is null in Begin.
extern "C" void dtpnodeProofClient(void *input, void *output) {
  if (!gProof) gProof = TProof::OfJob(static_cast<TList *>(input));
  gProof->SetJobOutput(static_cast<TList *>(output));
}

/// Removes what gProof of a job has left in a temporary folder.
extern "C" void dtpnodeProofClientEnd() {
  if (gProof) gProof->Close();
}

TProof::~TProof() {
  Close();
  for (TList *list : {fFeedback, fSlaves, fMacros})
    delete list;
  if (!fOfJob) delete fInput;
  delete fInputData;
  delete fQueries;
  gROOT->GetListOfCleanups()->Remove(fOutput);
  delete fOutput;
  delete fCode;
}

void TProof::Close(Option_t *) {
  fValid = kFALSE;
  if (gProof == this) gProof = nullptr;
  delete fSession;
  fSession = nullptr;
}

TProofMgr *TProof::Mgr(const char *url) { return TProofMgr::Create(url); }

TProofMgr *TProof::GetManager() { return TProofMgr::Create(fUrl.GetUrl()); }

void TProof::LogViewer(const char *url, Int_t session) {
  if (TProofLog *log = TProofMgr::Create(url)->GetSessionLogs(session)) {
    log->Display("*", 0);
    delete log;
  }
}

void TProof::cd(Int_t) { gProof = this; }

Bool_t TProof::IsTty() const { return isatty(0) && isatty(1); }

Int_t TProof::GetParallel() const {
  Int_t n = 0;
  if (fSession)
    for (const auto &m : fSession->members())
      if (m.up) n += m.slots;
  return n;
}

Int_t TProof::SetParallel(Int_t nodes, Bool_t) {
  const Int_t n = GetParallel();
  if (nodes > 0 && nodes != n)
    Warning("SetParallel", "a query runs on all that is free, %d processes now; `dtpnode up --slots` limits a node", n);
  return n;
}

TList *TProof::GetListOfSlaveInfos() {
  fSlaves->Delete();
  if (!fSession) return fSlaves;
  Int_t at = 0;
  for (const auto &m : fSession->members()) {
    for (Int_t i = 0; m.up && i < m.slots; ++i) {
      auto *info = new TSlaveInfo(TString::Format("0.%d", at++), m.name.c_str(), 100);
      info->SetStatus(TSlaveInfo::kActive);
      fSlaves->Add(info);
    }
  }
  return fSlaves;
}

void TProof::GetStatistics(Bool_t verbose) {
  if (verbose) Print();
}

void TProof::Print(Option_t *) const {
  Printf("Session            %s (%s)", GetName(), fLite ? "this host and its pool" : "the pool of this host");
  Printf("User:              %s", GetUser());
  Printf("ROOT version:      %s", gROOT->GetVersion());
  Printf("Working directory: %s", GetWorkDir());
  Printf("Number of workers: %d", GetParallel());
  if (fSession)
    for (const auto &m : fSession->members())
      Printf("   %-20s %3d %s", m.name.c_str(), m.slots, m.up ? "slots" : "slots, not up");
  Printf("Queries:           %d", fQueries->GetSize());
  Printf("Entries' bytes:    %.1f MB", static_cast<double>(fBytes) / 1e6);
  Printf("Real time used:    %.3f s", fReal);
}

void TProof::Browse(TBrowser *b) {
  if (fHasOutput) fOutput->Browse(b);
}

void TProof::SetLogLevel(Int_t level, UInt_t mask) {
  gProofDebugLevel = level;
  gProofDebugMask = static_cast<TProofDebug::EProofDebugMask>(mask);
}

Bool_t TProof::IsDataReady(Long64_t &total, Long64_t &ready) {
  total = ready = 0; // files are read where they are
  return kTRUE;
}

Int_t TProof::ActivateWorker(const char *, Bool_t) { return 0; }

Int_t TProof::DeactivateWorker(const char *ord, Bool_t) {
  Warning("DeactivateWorker", "%s stays: nodes take the work that they have room for; see `dtpnode down` on one", ord);
  return 0;
}

TProof::EQueryMode TProof::GetQueryMode(Option_t *mode) const {
  const TString m(mode);
  if (m.Contains("ASYN", TString::kIgnoreCase)) return kAsync;
  if (m.Contains("SYNC", TString::kIgnoreCase)) return kSync;
  return fMode;
}

//-- parameters

void TProof::Parameter(TObject *par) {
  if (TObject *old = fInput->FindObject(par->GetName())) {
    fInput->Remove(old);
    delete old;
  }
  fInput->Add(par);
}

void TProof::SetParameter(const char *par, const char *value) { Parameter(new TNamed(par, value)); }
void TProof::SetParameter(const char *par, Int_t value) { Parameter(new TParameter<Int_t>(par, value)); }
void TProof::SetParameter(const char *par, Long_t value) { Parameter(new TParameter<Long_t>(par, value)); }
void TProof::SetParameter(const char *par, Long64_t value) { Parameter(new TParameter<Long64_t>(par, value)); }
void TProof::SetParameter(const char *par, Double_t value) { Parameter(new TParameter<Double_t>(par, value)); }

TObject *TProof::GetParameter(const char *par) const { return fInput->FindObject(par); }

namespace {

/// The objects of a list whose names match a pattern of the shell, all of them for an empty one.
std::vector<TObject *> matching(TList &list, const char *wildcard) {
  const TString given(wildcard);
  TRegexp pattern(given, kTRUE);
  std::vector<TObject *> out;
  TIter next(&list);
  while (TObject *o = next()) {
    const TString name(o->GetName());
    if (given.IsNull() || name == given || name.Index(pattern) != kNPOS) out.push_back(o);
  }
  return out;
}

template <typename T>
Int_t parameter(TCollection *c, const char *par, T &value) {
  auto *p = c ? dynamic_cast<TParameter<T> *>(c->FindObject(par)) : nullptr;
  if (!p) return -1;
  value = p->GetVal();
  return 0;
}

} // namespace

void TProof::DeleteParameters(const char *wildcard) {
  for (TObject *o : matching(*fInput, wildcard)) {
    fInput->Remove(o);
    delete o;
  }
}

void TProof::ShowParameters(const char *wildcard) const {
  for (TObject *o : matching(*fInput, wildcard)) {
    TString value = o->GetTitle();
    if (auto *i = dynamic_cast<TParameter<Int_t> *>(o)) value.Form("%d", i->GetVal());
    if (auto *l = dynamic_cast<TParameter<Long_t> *>(o)) value.Form("%ld", l->GetVal());
    if (auto *k = dynamic_cast<TParameter<Long64_t> *>(o)) value.Form("%lld", k->GetVal());
    if (auto *d = dynamic_cast<TParameter<Double_t> *>(o)) value.Form("%f", d->GetVal());
    Printf("%s\t\t\t%s", o->GetName(), value.Data());
  }
}

Int_t TProof::GetParameter(TCollection *c, const char *par, TString &value) {
  TObject *o = c ? c->FindObject(par) : nullptr;
  if (auto *s = dynamic_cast<TObjString *>(o))
    value = s->GetString();
  else if (o && o->InheritsFrom(TNamed::Class()))
    value = o->GetTitle();
  else
    return -1;
  return 0;
}

Int_t TProof::GetParameter(TCollection *c, const char *par, Int_t &value) { return parameter(c, par, value); }
Int_t TProof::GetParameter(TCollection *c, const char *par, Long_t &value) { return parameter(c, par, value); }
Int_t TProof::GetParameter(TCollection *c, const char *par, Long64_t &value) { return parameter(c, par, value); }
Int_t TProof::GetParameter(TCollection *c, const char *par, Double_t &value) { return parameter(c, par, value); }

void TProof::AddInput(TObject *obj) {
  if (obj) fInput->Add(obj);
}

void TProof::ClearInput() {
  fInput->Clear();
  fInputData->Clear();
}

void TProof::AddInputData(TObject *obj, Bool_t) {
  if (fOfJob) return AddInput(obj);
  if (obj && !fInputData->FindObject(obj)) fInputData->Add(obj);
}

void TProof::SetInputDataFile(const char *file) {
  if (file && *file && TooLate("SetInputDataFile", "--input FILE")) return;
  fInputDataFile = file ? file : "";
}

void TProof::ClearInputData(TObject *obj) {
  if (obj)
    fInputData->Remove(obj);
  else
    fInputData->Clear();
  fInputDataFile = "";
}

void TProof::ClearInputData(const char *name) {
  if (TObject *o = fInputData->FindObject(name)) fInputData->Remove(o);
}

//-- feedback

void TProof::AddFeedback(const char *name) {
  if (fOfJob) Info("AddFeedback", "`dtpnode run --watch %s` shows it, as does `dtpnode watch` while the job runs", name);
  if (!fFeedback->FindObject(name)) fFeedback->Add(new TObjString(name));
}

void TProof::RemoveFeedback(const char *name) {
  if (TObject *o = fFeedback->FindObject(name)) delete fFeedback->Remove(o);
}

void TProof::ClearFeedback() { fFeedback->Delete(); }

void TProof::ShowFeedback() const {
  if (fFeedback->IsEmpty()) Printf("No objects are to be shown during queries");
  fFeedback->Print();
}

//-- environment

void TProof::AddEnvVar(const char *name, const char *value) {
  if (TString(name).EndsWith("WRAPPERCMD")) tellOfWrappers("TProof::AddEnvVar");
  DelEnvVar(name);
  environment().Add(new TNamed(name, value));
}

void TProof::DelEnvVar(const char *name) {
  if (TObject *o = environment().FindObject(name)) delete environment().Remove(o);
}

const TList *TProof::GetEnvVars() { return &environment(); }

void TProof::ResetEnvVars() { environment().Delete(); }

TString TProof::Getenv(const char *env, const char *) { return gSystem->Getenv(env); }

Int_t TProof::GetRC(const char *name, Int_t &value, const char *) {
  if (!gEnv->Defined(name)) return -1;
  value = gEnv->GetValue(name, 0);
  return 0;
}

Int_t TProof::GetRC(const char *name, Double_t &value, const char *) {
  if (!gEnv->Defined(name)) return -1;
  value = gEnv->GetValue(name, 0.);
  return 0;
}

Int_t TProof::GetRC(const char *name, TString &value, const char *) {
  if (!gEnv->Defined(name)) return -1;
  value = gEnv->GetValue(name, "");
  return 0;
}

//-- signals

void TProof::LogMessage(const char *msg, Bool_t all) { EmitVA("LogMessage(const char*,Bool_t)", 2, msg, all); }

void TProof::Progress(Long64_t total, Long64_t processed) {
  EmitVA("Progress(Long64_t,Long64_t)", 2, total, processed);
}

// Signals are found by their text, and code has written it in both ways.
void TProof::Feedback(TList *objs) {
  Emit("Feedback(TList*)", objs);
  Emit("Feedback(TList *objs)", objs);
}

void TProof::QueryResultReady(const char *ref) { Emit("QueryResultReady(const char*)", ref); }

void TProof::CloseProgressDialog() { Emit("CloseProgressDialog()"); }

void TProof::StartupMessage(const char *msg, Bool_t status, Int_t done, Int_t all) {
  EmitVA("StartupMessage(const char*,Bool_t,Int_t,Int_t)", 4, msg, status, done, all);
}

//-- small classes

Int_t TSlaveInfo::Compare(const TObject *obj) const {
  const auto *other = dynamic_cast<const TSlaveInfo *>(obj);
  return other ? fOrdinal.CompareTo(other->fOrdinal) : 1;
}

Bool_t TSlaveInfo::IsEqual(const TObject *obj) const { return Compare(obj) == 0; }

void TSlaveInfo::Print(Option_t *) const { Printf("Worker %s on %s", GetOrdinal(), GetName()); }

Int_t TProofLite::GetNumberOfWorkers(const char *url) {
  const Int_t given = workersIn(url, "");
  SysInfo_t host;
  return given > 0 ? given : gSystem->GetSysInfo(&host) == 0 ? host.fCpus : 1;
}
