// The manager of sessions, as macros ask TProof::Mgr(url) for it: here the node of this host.
#ifndef ROOT_TProofMgr
#define ROOT_TProofMgr

#include "ProofIncludes.h"
#include "TList.h"
#include "TNamed.h"
#include "TObjString.h"
#include "TString.h"
#include "TSystem.h"
#include "TUrl.h"

class TFileCollection;
class TProof;
class TProofDesc;
class TProofLog;

class TProofMgr : public TNamed {
 public:
  enum EServType { kProofd = 0, kXProofd = 1, kProofLite = 2 };

  TProofMgr(const char *url, Int_t loglevel = -1, const char *alias = "");

  static TProofMgr *Create(const char *url, Int_t loglevel = -1, const char *alias = nullptr, Bool_t xpd = kTRUE);
  static TList *GetListOfManagers();
  static Int_t Ping(const char *url, Bool_t checkxrd = kFALSE);

  Bool_t IsLite() const;
  Bool_t IsProofd() const { return kFALSE; }
  Bool_t IsValid() const { return kTRUE; }
  const char *GetUrl() { return fUrl.GetUrl(); }
  Bool_t MatchUrl(const char *url);
  const char *GetMssUrl(Bool_t = kFALSE) { return ""; }
  Int_t GetRemoteProtocol() const { return 36; }

  TProof *CreateSession(const char *conffile = nullptr, const char *confdir = nullptr, Int_t loglevel = -1);
  TProof *AttachSession(Int_t id, Bool_t gui = kFALSE);
  TProof *AttachSession(TProofDesc *desc, Bool_t gui = kFALSE);
  void DetachSession(Int_t, Option_t * = "") {}
  void DetachSession(TProof *, Option_t * = "") {}
  void ShutdownSession(Int_t) {}
  void ShutdownSession(TProof *) {}
  /// The sessions of this process: there is one at most.
  TList *QuerySessions(Option_t *opt = "S");
  /// What the processes of the session's last job printed. The caller deletes it. Null if there is no job yet and no
  /// session.
  TProofLog *GetSessionLogs(Int_t session = 0, const char *stag = nullptr, const char *pattern = "",
                            Bool_t rescan = kFALSE);
  Int_t Reset(Bool_t hard = kFALSE, const char *user = nullptr);
  /// Prints the members of the pool.
  void ShowWorkers();
  void ShowROOTVersions();
  Int_t SetROOTVersion(const char *) { return 0; }
  Int_t SendMsgToUsers(const char *message, const char *user = nullptr);
  void SetAlias(const char *alias = "") { SetTitle(alias); }

  /// Files of this host. There is no master whose folders could be looked at, so that names are those of this host, and
  /// each of these does what the command of that name does.
  Int_t Cp(const char *from, const char *to = nullptr, const char *opts = nullptr);
  void Find(const char *what = "~/", const char *how = nullptr, const char *where = nullptr);
  void Grep(const char *what, const char *how = nullptr, const char *where = nullptr);
  void Ls(const char *what = "~/", const char *how = nullptr, const char *where = nullptr);
  void More(const char *what, const char *how = nullptr, const char *where = nullptr);
  Int_t Rm(const char *what, const char *how = nullptr, const char *where = nullptr);
  void Tail(const char *what, const char *how = nullptr, const char *where = nullptr);
  Int_t Md5sum(const char *what, TString &sum, const char *where = nullptr);
  Int_t Stat(const char *what, FileStat_t &st, const char *where = nullptr);
  Int_t GetFile(const char *remote, const char *local, const char *opts = nullptr);
  Int_t PutFile(const char *local, const char *remote, const char *opts = nullptr);
  TObjString *ReadBuffer(const char *file, Long64_t offset, Int_t length);
  static TFileCollection *UploadFiles(TList *src, const char *mss, const char *dest = nullptr);

 private:
  TUrl fUrl;
  TList fSessions;

  ClassDefOverride(TProofMgr, 0) // The manager of sessions
};

/// One session.
class TProofDesc : public TNamed {
 public:
  enum EStatus { kUnknown = -1, kIdle = 0, kRunning = 1, kShutdown = 2 };

  TProofDesc(const char *tag = nullptr, const char *alias = nullptr, const char *url = nullptr, Int_t id = -1,
             Int_t remid = -1, Int_t status = kIdle, TProof *p = nullptr)
      : TNamed(tag, alias), fLocalId(id), fRemoteId(remid), fStatus(status), fProof(p), fUrl(url) {}

  Int_t GetLocalId() const { return fLocalId; }
  Int_t GetRemoteId() const { return fRemoteId; }
  Int_t GetStatus() const { return fStatus; }
  TProof *GetProof() const { return fProof; }
  const char *GetUrl() const { return fUrl; }
  Bool_t IsIdle() const { return fStatus == kIdle; }
  Bool_t IsRunning() const { return fStatus == kRunning; }
  Bool_t IsShuttingDown() const { return fStatus == kShutdown; }
  Bool_t MatchId(Int_t id) const { return fLocalId == id; }
  void Print(Option_t *option = "") const override;

 private:
  Int_t fLocalId, fRemoteId, fStatus;
  TProof *fProof;
  TString fUrl;

  ClassDefOverride(TProofDesc, 1) // One session
};

#endif
