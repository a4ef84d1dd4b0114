#ifndef ROOT_TProofProgressStatus
#define ROOT_TProofProgressStatus

#include "ProofIncludes.h"
#include "TObject.h"

/// Counters of a run, for code that keeps its own in one.
class TProofProgressStatus : public TObject {
 public:
  enum EStatusBits { kFileNotOpen = BIT(15), kFileCorrupted = BIT(16) };

  TProofProgressStatus(Long64_t entries = 0, Long64_t bytes = 0, Long64_t calls = 0, Double_t real = 0, Double_t cpu = 0)
      : fEntries(entries), fBytesRead(bytes), fReadCalls(calls), fProcTime(real), fCPUTime(cpu) {}

  void Reset() { *this = TProofProgressStatus(); }
  Long64_t GetEntries() const { return fEntries; }
  Long64_t GetBytesRead() const { return fBytesRead; }
  Long64_t GetReadCalls() const { return fReadCalls; }
  Double_t GetProcTime() const { return fProcTime; }
  Double_t GetCPUTime() const { return fCPUTime; }
  Double_t GetRate() const { return fProcTime > 0 ? static_cast<Double_t>(fEntries) / fProcTime : 0; }
  void SetEntries(Long64_t n) { fEntries = n; }
  void IncEntries(Long64_t n = 1) { fEntries += n; }
  void SetBytesRead(Long64_t n) { fBytesRead = n; }
  void IncBytesRead(Long64_t n) { fBytesRead += n; }
  void SetReadCalls(Long64_t n) { fReadCalls = n; }
  void IncReadCalls(Long64_t n) { fReadCalls += n; }
  void SetProcTime(Double_t t) { fProcTime = t; }
  void IncProcTime(Double_t t) { fProcTime += t; }
  void SetCPUTime(Double_t t) { fCPUTime = t; }
  void IncCPUTime(Double_t t) { fCPUTime += t; }

 private:
  Long64_t fEntries, fBytesRead, fReadCalls;
  Double_t fProcTime, fCPUTime;

  ClassDefOverride(TProofProgressStatus, 2) // Counters of a run
};

#endif
