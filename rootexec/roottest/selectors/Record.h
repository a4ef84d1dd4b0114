// Record logs each call that a selector gets, with its arguments and what is around it, one line a call. Terminate
// prints the log of the submitter's object, each line behind "S ", and those of the workers, each behind "W ".
// Record is of version 2, Record1 and Record0 of these versions. What a call sees that it should not see is logged
// behind "BAD".

#ifndef Record_h
#define Record_h

#include <TSelector.h>
#include <TString.h>

class TBranch;
class TTree;

class Record : public TSelector {
public:
   TTree *fChain = nullptr;                //!
   mutable TString fLog;                   //!
   mutable TString fBad;                   //!
   void *fSent = nullptr;                  //! the TNamed with the log; were it typed, the submitter's would be set too
   TBranch *fBranch = nullptr;             //!
   ULong64_t fEvent = 0;                   //!
   Long64_t fFirst = -1, fLast = -1;       //! of the entries that are not logged yet
   TString fHow;                           //! the call that they came by
   Long64_t fEntries = 0;                  //!
   bool fBegun = false; //!

   Record();
   Int_t Version() const override { return log("Version", 2); }
   void SetOption(const char *option) override;
   void SetInputList(TList *input) override;
   void Begin(TTree *tree) override;
   void SlaveBegin(TTree *tree) override;
   void Init(TTree *tree) override;
   Bool_t Notify() override;
   Bool_t Process(Long64_t entry) override;
   Bool_t ProcessCut(Long64_t entry) override;
   void ProcessFill(Long64_t entry) override;
   void SlaveTerminate() override;
   void Terminate() override;

protected:
   Int_t log(const char *call, Int_t result) const;
   void log(const TString &call, bool surroundings = true);
   void begin();
   void send();
   void see(Long64_t entry, const char *call);
   void flush();

   ClassDefOverride(Record, 0);
};

class Record1 : public Record {
public:
   Int_t Version() const override { return log("Version", 1); }
   ClassDefOverride(Record1, 0);
};

class Record0 : public Record {
public:
   Int_t Version() const override { return log("Version", 0); }
   ClassDefOverride(Record0, 0);
};

#endif
