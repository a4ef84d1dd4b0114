#include "TProofServ.h"

#include "TProofDebug.h"
#include "TSystem.h"

#include <cstdio>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

TProofServ *gProofServ = nullptr;
TProofDebug::EProofDebugMask gProofDebugMask = TProofDebug::kNone;
Int_t gProofDebugLevel = 0;

namespace {

TString userName() {
  TString name;
  if (UserGroup_t *who = gSystem->GetUserInfo()) {
    name = who->fUser;
    delete who;
  }
  return name;
}

TString groupName() {
  TString name;
  if (UserGroup_t *who = gSystem->GetUserInfo()) {
    name = who->fGroup;
    delete who;
  }
  return name;
}

} // namespace

TProofServ::TProofServ() : fUser(userName()), fHost(gSystem->HostName()) { SetPlace(gSystem->WorkingDirectory(), "", 0, 1); }

TProofServ::~TProofServ() {
  if (gProofServ == this) gProofServ = nullptr;
}

Bool_t TProofServ::IsActive() { return gProofServ != nullptr; }

TProofServ *TProofServ::This() { return gProofServ; }

void TProofServ::SetPlace(const char *dir, const char *tag, Int_t id, Int_t of) {
  fDir = dir;
  fTag = tag;
  fGroupId = id;
  fGroupSize = of;
  // A number of the host goes before that of the process, which another host may have too.
  fOrdinal.Form("0.%u.%d", fHost.Hash() % 65536, id);
  fPrefix.Form("Wrk-%s", fOrdinal.Data());
}

void TProofServ::Print(Option_t *) const {
  Printf("Worker %s of job %s on %s, in %s", GetOrdinal(), GetSessionTag(), fHost.Data(), GetWorkDir());
}

Int_t TProofServ::SendAsynMessage(const char *text, Bool_t lf) {
  std::fprintf(stderr, lf ? "%s\n" : "%s", text);
  std::fflush(stderr);
  return 0;
}

void TProofServ::FlushLogFile() {
  std::fflush(stdout);
  std::fflush(stderr);
}

void TProofServ::ResolveKeywords(TString &name, const char *path) {
  const TString user = userName(), first = user(0, 1), host = gSystem->HostName();
  name.ReplaceAll("<user>", user);
  name.ReplaceAll("<u>", first);
  name.ReplaceAll("<group>", groupName());
  name.ReplaceAll("<host>", host);
  name.ReplaceAll("<homedir>", gSystem->HomeDirectory());
  name.ReplaceAll("<workdir>", gProofServ ? gProofServ->GetWorkDir() : gSystem->WorkingDirectory());
  name.ReplaceAll("<datadir>", gProofServ ? gProofServ->GetDataDir() : gSystem->WorkingDirectory());
  if (path) name.ReplaceAll("<file>", path);
  if (!gProofServ) return;
  name.ReplaceAll("<ord>", gProofServ->GetOrdinal());
  name.ReplaceAll("<stag>", gProofServ->GetSessionTag());
  name.ReplaceAll("<qnum>", TString::Format("%d", gProofServ->GetQuerySeqNum()));
}

Int_t TProofLockPath::Lock() {
  if (IsLocked()) return 0;
  const TString file = TString(GetName()) + ".lock";
  fFd = ::open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fFd >= 0 && ::flock(fFd, LOCK_EX) == 0) return 0;
  Unlock();
  return -1;
}

Int_t TProofLockPath::Unlock() {
  if (fFd < 0) return 0;
  ::close(fFd); // which unlocks
  fFd = -1;
  return 0;
}
