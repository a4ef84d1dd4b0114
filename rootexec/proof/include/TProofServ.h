// What code on a worker asked the PROOF server that it ran in. gProofServ is set where entries are processed, and null
// in Begin and Terminate, as it was: selectors tell the two sides apart by it.
#ifndef ROOT_TProofServ
#define ROOT_TProofServ

#include "ProofIncludes.h"
#include "TApplication.h"
#include "TProofQueryResult.h"
#include "TStopwatch.h"
#include "TString.h"
#include "TSysEvtHandler.h"
#include "TTimer.h"

#include <string>

class TDSetElement;
class TList;
class TProof;

/// A worker as selectors see it: one process on one node of the pool. It is no TApplication here, since nothing runs a
/// loop of events in it.
class TProofServ : public TObject {
 public:
  enum EStatusBits { kHighMemory = BIT(16) };

  TProofServ();
  ~TProofServ() override;

  /// Null on workers, as it was there.
  TProof *GetProof() const { return nullptr; }
  const char *GetService() const { return "proofslave"; }
  const char *GetConfDir() const { return ""; }
  const char *GetConfFile() const { return ""; }
  /// The user whose job it is where that is known, else the one that the node runs as.
  const char *GetUser() const { return fUser; }
  const char *GetGroup() const { return "default"; }
  /// The folder in which this process works, empty at its start. It is a process's own: what another process needs
  /// goes into the output list or into a TProofOutputFile.
  const char *GetWorkDir() const { return fDir; }
  const char *GetSessionDir() const { return fDir; }
  /// A folder of this process alone whose files stay on this host for as long as results are kept that nobody fetches,
  /// two weeks unless the node's owner says otherwise. They are no output. For what does not fit into the output list
  /// there is TProofOutputFile, whose files come to the user.
  const char *GetDataDir() const { return fDataDir.IsNull() ? fDir.Data() : fDataDir.Data(); }
  void SetDataDir(const char *dir) { fDataDir = dir; }
  const char *GetDataDirOpts() const { return ""; }
  const char *GetCacheDir() const { return fDir; }
  const char *GetPackageDir() const { return fDir; }
  const char *GetQueryDir() const { return fDir; }
  const char *GetImage() const { return fHost; }
  /// The job's name, the same in all processes of it.
  const char *GetSessionTag() const { return fTag; }
  const char *GetTopSessionTag() const { return fTag; }
  /// A word of this process that no other process of the job has, of digits and dots as it was: 0.417.17009. Numbers
  /// are not dense, since processes come and go.
  const char *GetOrdinal() const { return fOrdinal; }
  const char *GetPrefix() const { return fPrefix; }
  Int_t GetProtocol() const { return 36; }
  Int_t GetGroupId() const { return fGroupId; }
  Int_t GetGroupSize() const { return fGroupSize; }
  Int_t GetLogLevel() const { return fLogLevel; }
  Int_t GetQuerySeqNum() const { return fQuery; }
  Int_t GetTotSessions() const { return 1; }
  Int_t GetActSessions() const { return 1; }
  Float_t GetEffSessions() const { return 1; }
  Float_t GetRealTime() const { return fWatch.RealTime(); }
  Float_t GetCpuTime() const { return fWatch.CpuTime(); }
  Long64_t GetMsgSizeHWM() const { return 1 << 20; }
  /// Limits of memory in kB, -1 for none that the code could keep to: dtpnode enforces its own.
  static Long_t GetVirtMemMax() { return -1; }
  static Long_t GetResMemMax() { return -1; }
  static Float_t GetMemHWM() { return 0.8f; }
  static Float_t GetMemStop() { return 0.95f; }

  Bool_t IsMaster() const { return kFALSE; }
  Bool_t IsTopMaster() const { return kFALSE; }
  Bool_t IsEndMaster() const { return kFALSE; }
  Bool_t IsParallel() const { return kFALSE; }
  static Bool_t IsActive();
  static TProofServ *This();

  void Print(Option_t *option = "") const override;

  /// Sends a line to the user: it is in the job's log, `dtpnode logs`, with the names of node and process.
  Int_t SendAsynMessage(const char *text, Bool_t lf = kTRUE);
  void FlushLogFile();
  void SendLogFile(Int_t = 0, Int_t = -1, Int_t = -1) { FlushLogFile(); }
  void LogToMaster(Bool_t = kTRUE) {}
  void DisableTimeout() {}
  void EnableTimeout() {}
  void RestartComputeTime() {}
  /// Puts the values of this process in place of <user>, <host>, <ord>, <stag>, <workdir> and others that file names of
  /// PROOF could have.
  static void ResolveKeywords(TString &name, const char *path = nullptr);
  static void FilterLocalroot(TString &, const char * = "root://dum/") {}
  static void GetLocalServer(TString &server) { server = ""; }
  static void SetLastMsg(const char *) {}
  static void SetLastEntry(Long64_t) {}

  /// Called by the node, not by selectors.
  void SetPlace(const char *dir, const char *tag, Int_t id, Int_t of);
  void SetQuery(Int_t query) { fQuery = query; }

 private:
  TString fUser, fHost, fDir, fDataDir, fTag, fOrdinal, fPrefix;
  Int_t fGroupId = 0, fGroupSize = 1, fLogLevel = 0, fQuery = 1;
  mutable TStopwatch fWatch; // reading a watch stops it

  ClassDefOverride(TProofServ, 0) // A worker as selectors see it
};

R__EXTERN TProofServ *gProofServ;

/// A lock of a folder between processes, as packages used it.
class TProofLockPath : public TNamed {
 public:
  TProofLockPath(const char *path) : TNamed(path, path) {}
  ~TProofLockPath() override { Unlock(); }
  Int_t Lock();
  Int_t Unlock();
  Bool_t IsLocked() const { return fFd >= 0; }

 private:
  Int_t fFd = -1;
};

class TProofLockPathGuard {
 public:
  TProofLockPathGuard(TProofLockPath *lock) : fLock(lock) {
    if (fLock) fLock->Lock();
  }
  ~TProofLockPathGuard() {
    if (fLock) fLock->Unlock();
  }

 private:
  TProofLockPath *fLock;
};

#endif
