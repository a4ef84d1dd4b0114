// The manager of sessions and the logs.
#include "TProofMgr.h"

#include "TError.h"
#include "TFile.h"
#include "TFileCollection.h"
#include "TFileInfo.h"
#include "TMD5.h"
#include "TProof.h"
#include "TProofLog.h"
#include "TQueryResult.h"
#include "TROOT.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>

namespace {

TString quoted(const char *text) {
  TString out(text ? text : "");
  gSystem->ExpandPathName(out);
  out.ReplaceAll("'", "'\\''");
  return "'" + out + "'";
}

Int_t command(const char *name, const char *what, const char *how) {
  return gSystem->Exec(TString::Format("%s %s %s", name, how ? how : "", quoted(what).Data()));
}

} // namespace

TProofMgr::TProofMgr(const char *url, Int_t, const char *alias) : TNamed(url, alias), fUrl(url) { fSessions.SetOwner(); }

TProofMgr *TProofMgr::Create(const char *url, Int_t loglevel, const char *alias, Bool_t) {
  TIter next(GetListOfManagers());
  while (auto *m = static_cast<TProofMgr *>(next()))
    if (m->MatchUrl(url)) return m;
  auto *m = new TProofMgr(url ? url : "", loglevel, alias);
  GetListOfManagers()->Add(m);
  return m;
}

TList *TProofMgr::GetListOfManagers() {
  static TList managers;
  return &managers;
}

Int_t TProofMgr::Ping(const char *, Bool_t) { return TProof::Open("") ? 0 : -1; }

Bool_t TProofMgr::IsLite() const {
  const TString name(GetName());
  return name.IsNull() || name.BeginsWith("lite");
}

Bool_t TProofMgr::MatchUrl(const char *url) { return !strcmp(GetName(), url ? url : ""); }

TProof *TProofMgr::CreateSession(const char *conffile, const char *confdir, Int_t loglevel) {
  return TProof::Open(GetName(), conffile, confdir, loglevel);
}

TProof *TProofMgr::AttachSession(Int_t, Bool_t) { return TProof::Open(GetName()); }

TProof *TProofMgr::AttachSession(TProofDesc *, Bool_t) { return TProof::Open(GetName()); }

TList *TProofMgr::QuerySessions(Option_t *) {
  fSessions.Delete();
  if (gProof)
    fSessions.Add(new TProofDesc(gProof->GetName(), gProof->GetTitle(), gProof->GetUrl(), 1, 1, TProofDesc::kIdle, gProof));
  return &fSessions;
}

TProofLog *TProofMgr::GetSessionLogs(Int_t, const char *, const char *, Bool_t) {
  if (!TProof::Default("TProofMgr::GetSessionLogs")) return nullptr;
  auto *log = new TProofLog(gProof->GetName(), GetUrl(), this);
  log->Add("0", gSystem->HostName(), "master");
  TIter next(gProof->GetListOfSlaveInfos());
  while (auto *w = static_cast<TSlaveInfo *>(next()))
    log->Add(w->GetOrdinal(), w->GetName(), "worker");
  log->Retrieve();
  return log;
}

Int_t TProofMgr::Reset(Bool_t, const char *) {
  if (gProof) gProof->Close();
  return 0;
}

void TProofMgr::ShowWorkers() {
  if (TProof::Default("TProofMgr::ShowWorkers")) gProof->GetListOfSlaveInfos()->Print();
}

void TProofMgr::ShowROOTVersions() { Printf("%s; `dtpnode members` shows those of all nodes", gROOT->GetVersion()); }

Int_t TProofMgr::SendMsgToUsers(const char *, const char *) {
  Error("SendMsgToUsers", "there is no way to write to other users of the pool");
  return -1;
}

Int_t TProofMgr::Cp(const char *from, const char *to, const char *) { return TFile::Cp(from, to) ? 0 : -1; }
void TProofMgr::Find(const char *what, const char *how, const char *) { command("find", what, how); }
void TProofMgr::Ls(const char *what, const char *how, const char *) { command("ls", what, how); }
void TProofMgr::More(const char *what, const char *, const char *) { command("cat", what, ""); }
Int_t TProofMgr::Rm(const char *what, const char *how, const char *) { return command("rm", what, how); }
void TProofMgr::Tail(const char *what, const char *how, const char *) { command("tail", what, how); }

void TProofMgr::Grep(const char *what, const char *how, const char *) { command("grep", what, how ? how : "."); }

Int_t TProofMgr::Md5sum(const char *what, TString &sum, const char *) {
  const std::unique_ptr<TMD5> md5(TMD5::FileChecksum(what));
  if (!md5) return -1;
  sum = md5->AsString();
  return 0;
}

Int_t TProofMgr::Stat(const char *what, FileStat_t &st, const char *) { return gSystem->GetPathInfo(what, st); }

Int_t TProofMgr::GetFile(const char *remote, const char *local, const char *) {
  return gSystem->CopyFile(remote, local, kTRUE);
}

Int_t TProofMgr::PutFile(const char *local, const char *remote, const char *) {
  return gSystem->CopyFile(local, remote, kTRUE);
}

TObjString *TProofMgr::ReadBuffer(const char *file, Long64_t offset, Int_t length) {
  std::ifstream in(file, std::ios::binary);
  std::string text(static_cast<size_t>(std::max(length, 0)), '\0');
  if (!in.seekg(offset) || (!in.read(text.data(), length) && !in.eof())) return nullptr;
  text.resize(static_cast<size_t>(in.gcount()));
  return new TObjString(text.c_str());
}

TFileCollection *TProofMgr::UploadFiles(TList *src, const char *mss, const char *dest) {
  auto *out = new TFileCollection("uploaded");
  TIter next(src);
  while (TObject *o = next()) {
    const TString to = TString::Format("%s/%s%s", mss, dest ? dest : "", gSystem->BaseName(o->GetName()));
    if (TFile::Cp(o->GetName(), to)) out->Add(new TFileInfo(to));
  }
  return out;
}

void TProofDesc::Print(Option_t *) const { Printf("Session %s at %s", GetName(), GetUrl()); }

//-- logs

TProofLogElem::TProofLogElem(const char *ord, const char *where, const char *role)
    : TNamed(ord, where), fMacro(new TMacro), fRole(role) {
  fMacro->SetName(ord); // its constructor would read a file of that name
}

TProofLogElem::~TProofLogElem() { delete fMacro; }

void TProofLogElem::Display(Int_t from, Int_t to) {
  TList *lines = fMacro->GetListOfLines();
  const Int_t n = lines ? lines->GetSize() : 0;
  Printf("// --------- %s of %s", GetName(), GetTitle());
  for (Int_t i = from < 0 ? std::max(0, n + from) : from; i < (to < 0 ? n : std::min(n, to)); ++i)
    Printf("%s", lines->At(i)->GetName());
}

Int_t TProofLogElem::Grep(const char *text, TString &found, Int_t from) {
  Int_t n = 0, at = 0;
  TIter next(fMacro->GetListOfLines());
  while (TObject *line = next()) {
    ++at;
    if (at <= from || !TString(line->GetName()).Contains(text)) continue;
    found += TString::Format("%s%d", n++ ? "," : "", at);
  }
  return n;
}

void TProofLogElem::Print(Option_t *) const { Printf("%s %s %s", GetName(), GetTitle(), fRole.Data()); }

void TProofLogElem::Prt(const char *what) { Printf("%s", what); }

TProofLog::TProofLog(const char *tag, const char *url, TProofMgr *) : TNamed(tag, url), fElem(new TList) {
  fElem->SetOwner();
}

TProofLog::~TProofLog() { delete fElem; }

TProofLogElem *TProofLog::Add(const char *ord, const char *where, const char *role) {
  auto *e = new TProofLogElem(ord, where, role);
  fElem->Add(e);
  return e;
}

Int_t TProofLog::Retrieve(const char *ord, ERetrieveOpt, const char *file, const char *pattern) {
  TMacro *all = gProof ? gProof->GetLastLog() : nullptr;
  TIter next(fElem);
  std::set<TString> given; // the lines of a node go to the first of its processes
  while (auto *e = static_cast<TProofLogElem *>(next())) {
    if (TList *old = e->GetMacro()->GetListOfLines()) old->Delete();
    if (!e->IsWorker() || !given.insert(e->GetTitle()).second || !all) continue;
    TIter lines(all->GetListOfLines());
    while (TObject *line = lines()) {
      const TString text(line->GetName());
      if (pattern && *pattern && !text.Contains(pattern)) continue;
      if (text.BeginsWith(TString(e->GetTitle()) + " ") || text.BeginsWith(TString(e->GetTitle()) + ":"))
        e->GetMacro()->AddLine(text);
    }
  }
  return file && *file ? Save(ord, file) : 0;
}

void TProofLog::Display(const char *ord, Int_t from, Int_t to) {
  TIter next(fElem);
  while (auto *e = static_cast<TProofLogElem *>(next()))
    if (!ord || *ord == '*' || !strcmp(ord, e->GetName())) e->Display(from, to);
}

Int_t TProofLog::Grep(const char *text, Int_t from) {
  Int_t n = 0;
  TIter next(fElem);
  while (auto *e = static_cast<TProofLogElem *>(next())) {
    TString lines;
    if (e->Grep(text, lines, from) > 0) Printf(" Ord %s: line(s) %s", e->GetName(), lines.Data());
    n += !lines.IsNull();
  }
  return n;
}

void TProofLog::Print(Option_t *) const { fElem->Print(); }

void TProofLog::Prt(const char *what, Bool_t newline) { std::printf(newline ? "%s\n" : "%s", what); }

Int_t TProofLog::Save(const char *ord, const char *file, Option_t *opt) {
  std::ofstream out(file, opt && *opt == 'a' ? std::ios::app : std::ios::trunc);
  TIter next(fElem);
  while (auto *e = static_cast<TProofLogElem *>(next())) {
    if (ord && *ord != '*' && strcmp(ord, e->GetName()) != 0) continue;
    out << "// --------- " << e->GetName() << " of " << e->GetTitle() << '\n';
    TIter lines(e->GetMacro()->GetListOfLines());
    while (TObject *line = lines())
      out << line->GetName() << '\n';
  }
  return out.flush() ? 0 : -1;
}
