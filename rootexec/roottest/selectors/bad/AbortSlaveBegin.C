// AbortSlaveBegin is a selector that wants something of its host that not every host has: where DTPNODE_TEST_LACKS is set it gives
// up before the first entry. Elsewhere it makes the same objects as Tally.

#include <TH2.h>
#include <TList.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

class AbortSlaveBegin : public TSelector {
public:
   TTreeReader fReader;                                     //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"}; //!
   TParameter<Long64_t> *fN = nullptr;                      //!
   TParameter<Long64_t> *fSum = nullptr;                    //!
   TH2I *fBlocks = nullptr;                                 //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(AbortSlaveBegin, 0);
};

void AbortSlaveBegin::SlaveBegin(TTree *)
{
   fOutput->Add(fN = new TParameter<Long64_t>("n", 0, '+'));
   fOutput->Add(fSum = new TParameter<Long64_t>("sum", 0, '+'));
   fOutput->Add(fBlocks = new TH2I("blocks", "events;block of 100;file", 200, 0, 20000, 250, 0, 250));
   if (gSystem->Getenv("DTPNODE_TEST_LACKS"))
      Abort("the calibration is not on this host");
}

Bool_t AbortSlaveBegin::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   fN->SetVal(fN->GetVal() + 1);
   fSum->SetVal(fSum->GetVal() + *fEvent);
   fBlocks->Fill(*fEvent % 10000000, *fEvent / 10000000);
   gSystem->Sleep(entry % 10 == 0 ? 1 : 0);
   return kTRUE;
}
