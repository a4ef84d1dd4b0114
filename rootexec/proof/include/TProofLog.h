// What the processes of a job printed.
#ifndef ROOT_TProofLog
#define ROOT_TProofLog

#include "ProofIncludes.h"
#include "TDatime.h"
#include "TList.h"
#include "TMacro.h"
#include "TNamed.h"
#include "TQObject.h"
#include "TString.h"

class TProofMgr;

/// The lines of one node; ordinal 0 is where Begin and Terminate ran.
class TProofLogElem : public TNamed {
 public:
  TProofLogElem(const char *ord, const char *where, const char *role);
  ~TProofLogElem() override;

  TMacro *GetMacro() const { return fMacro; }
  const char *GetRole() { return fRole; }
  Bool_t IsMaster() const { return fRole == "master"; }
  Bool_t IsSubMaster() const { return kFALSE; }
  Bool_t IsWorker() const { return fRole == "worker"; }
  void Display(Int_t from = 0, Int_t to = -1);
  Int_t Grep(const char *text, TString &lines, Int_t from = 0);
  void Print(Option_t *option = "") const override;
  void Prt(const char *what);
  static Long64_t GetMaxTransferSize() { return 1 << 20; }
  static void SetMaxTransferSize(Long64_t) {}

 private:
  TMacro *fMacro;
  TString fRole;

  ClassDefOverride(TProofLogElem, 0) // The lines of one node
};

class TProofLog : public TNamed, public TQObject {
 public:
  enum ELogLocationBit { kLogToBox = BIT(16) };
  enum ERetrieveOpt { kLeading = 1, kTrailing = 2, kAll = 3, kGrep = 4 };

  TProofLog(const char *tag, const char *url, TProofMgr *mgr);
  ~TProofLog() override;

  TList *GetListOfLogs() const { return fElem; }
  TDatime StartTime() { return fStart; }
  /// Reads the lines anew, all of them whatever the option, and writes them to a file if one is named.
  Int_t Retrieve(const char *ord = "*", ERetrieveOpt opt = kTrailing, const char *file = nullptr,
                 const char *pattern = nullptr);
  void Display(const char *ord = "*", Int_t from = -10, Int_t to = -1);
  Int_t Grep(const char *text, Int_t from = 0);
  void Print(Option_t *option = "") const override;
  void Prt(const char *what, Bool_t newline = kTRUE);
  Int_t Save(const char *ord = "*", const char *file = nullptr, Option_t *opt = "w");
  void SetLogToBox(Bool_t on = kFALSE) { SetBit(kLogToBox, on); }
  Bool_t LogToBox() { return TestBit(kLogToBox); }
  static void SetMaxTransferSize(Long64_t) {}
  /// Called by the manager: a node of the session.
  TProofLogElem *Add(const char *ord, const char *where, const char *role);

 private:
  TList *fElem;
  TDatime fStart;

  ClassDefOverride(TProofLog, 0) // What the processes of a job printed
};

#endif
