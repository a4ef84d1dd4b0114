// What is kept of a query: what ran over what, and what came of it.
#ifndef ROOT_TQueryResult
#define ROOT_TQueryResult

#include "ProofIncludes.h"
#include "TDatime.h"
#include "TMacro.h"
#include "TNamed.h"
#include "TString.h"

class TList;
class TTreePlayer;

/// One query of a session. The name is that of the session, the title that of the job, which `dtpnode` commands take.
class TQueryResult : public TNamed {
  friend class TProof;

 public:
  enum EQueryStatus { kAborted = 0, kSubmitted, kRunning, kStopped, kCompleted };

  TQueryResult();
  TQueryResult(Int_t number, const char *option, TList *input, Long64_t entries, Long64_t first, const char *selector);
  ~TQueryResult() override;

  void Browse(TBrowser *b = nullptr) override;

  Int_t GetSeqNum() const { return fSeqNum; }
  EQueryStatus GetStatus() const { return fStatus; }
  TDatime GetStartTime() const { return fStart; }
  TDatime GetEndTime() const { return fEnd; }
  const char *GetOptions() const { return fOptions; }
  TList *GetInputList() { return fInputList; }
  TList *GetOutputList() { return fOutputList; }
  TObject *GetInputObject(const char *classname) const;
  /// The entries that were processed.
  Long64_t GetEntries() const { return fEntries; }
  Long64_t GetFirst() const { return fFirst; }
  Long64_t GetBytes() const { return fBytes; }
  Float_t GetUsedCPU() const { return fUsedCPU; }
  Float_t GetProcTime() const { return fProcTime; }
  Float_t GetInitTime() const { return 0; }
  Float_t GetTermTime() const { return 0; }
  Int_t GetNumWrks() const { return fNumWrks; }
  Int_t GetNumMergers() const { return 0; }
  TMacro *GetLogFile() const { return fLogFile; }
  TMacro *GetSelecHdr() const { return fSelecHdr; }
  TMacro *GetSelecImp() const { return fSelecImp; }
  const char *GetLibList() const { return ""; }
  const char *GetParList() const { return ""; }
  const char *GetResultFile() const { return fResultFile; }

  Bool_t IsArchived() const { return fArchived; }
  Bool_t IsDone() const { return fStatus > kRunning; }
  Bool_t IsDraw() const { return fDraw; }
  Bool_t IsFinalized() const { return fFinalized; }
  Bool_t Matches(const char *ref);
  void Print(Option_t *option = "") const override;

 protected:
  Int_t fSeqNum = -1;
  Bool_t fDraw = kFALSE, fArchived = kFALSE, fFinalized = kFALSE;
  EQueryStatus fStatus = kSubmitted;
  TDatime fStart, fEnd;
  TString fOptions, fResultFile;
  TList *fInputList = nullptr;
  TList *fOutputList = nullptr; // the objects belong to the session
  Long64_t fEntries = 0, fFirst = 0, fBytes = 0;
  Float_t fUsedCPU = 0, fProcTime = 0;
  Int_t fNumWrks = 0;
  TMacro *fLogFile = nullptr, *fSelecHdr = nullptr, *fSelecImp = nullptr;

  ClassDefOverride(TQueryResult, 1) // What is kept of a query
};

#endif
