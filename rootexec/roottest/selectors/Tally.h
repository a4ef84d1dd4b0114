// Tally counts what it was given, so that a test can tell which entries a result holds: "n" entries,
// "sum" of their branch "event", and "blocks", a histogram of event in blocks of 100 for each file.

#ifndef Tally_h
#define Tally_h

#include <TH2.h>
#include <TList.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

class Tally : public TSelector {
public:
   TTreeReader fReader;                                       //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"};   //!
   TParameter<Long64_t> *fN = nullptr;                        //!
   TParameter<Long64_t> *fSum = nullptr;                      //!
   TH2I *fBlocks = nullptr;                                   //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(Tally, 0);
};

#endif
