// Misbehave is Tally until it comes to the entry "entry" of the file "file" (base name; empty: any file),
// where it does what "do" says; with "last" at all entries before that one too. All are TNamed in fInput:
//
//   segfault, throw, exit, loop, memory, flood (300 MB on stdout), quiet (prints a line, then
//   segfaults), abortfile, abortprocess, skip (the entry does not count: what a reference does)

#ifndef Misbehave_h
#define Misbehave_h

#include <TH2.h>
#include <TList.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TString.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

class Misbehave : public TSelector {
public:
   TTreeReader fReader;                                       //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"};   //!
   TParameter<Long64_t> *fN = nullptr;                        //!
   TParameter<Long64_t> *fSum = nullptr;                      //!
   TH2I *fBlocks = nullptr;                                   //!
   TString fDo, fFile;                                        //!
   Long64_t fEntry = -1;                                      //!
   Long64_t fLast = 0;                                        //!
   bool fHere = false;                                        //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Notify() override;
   Bool_t Process(Long64_t entry) override;
   void Misdo();

   ClassDefOverride(Misbehave, 0);
};

#endif
