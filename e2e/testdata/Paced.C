// Paced makes the same objects as package roottest's Tally and takes a given time for each entry, mostly
// asleep: "us", a TNamed in fInput, or else the option, is in microseconds. On a node whose environment says
// DTPNODE_TEST_SLOW=n it takes n times as long.

#include <TH2.h>
#include <TList.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TString.h>
#include <TSystem.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

#include <chrono>
#include <thread>

class Paced : public TSelector {
public:
   TTreeReader fReader;                                     //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"}; //!
   TParameter<Long64_t> *fN = nullptr;                      //!
   TParameter<Long64_t> *fSum = nullptr;                    //!
   TH2I *fBlocks = nullptr;                                 //!
   double fPause = 0; // microseconds an entry
   double fOwed = 0;  // microseconds not slept yet

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(Paced, 0);
};

void Paced::SlaveBegin(TTree *)
{
   fOutput->Add(fN = new TParameter<Long64_t>("n", 0, '+'));
   fOutput->Add(fSum = new TParameter<Long64_t>("sum", 0, '+'));
   fOutput->Add(fBlocks = new TH2I("blocks", "events;block of 100;file", 200, 0, 20000, 250, 0, 250));
   if (TObject *us = fInput ? fInput->FindObject("us") : nullptr)
      fPause = TString(us->GetTitle()).Atof();
   else
      fPause = TString(GetOption()).Atof();
   if (const char *slow = gSystem->Getenv("DTPNODE_TEST_SLOW"))
      fPause *= TString(slow).Atof();
   Printf("paced by %g us", fPause);
}

Bool_t Paced::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   fN->SetVal(fN->GetVal() + 1);
   fSum->SetVal(fSum->GetVal() + *fEvent);
   fBlocks->Fill(*fEvent % 10000000, *fEvent / 10000000);
   fOwed += fPause;
   if (fOwed >= 2000) {
      const auto begin = std::chrono::steady_clock::now();
      std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(fOwed));
      fOwed -= std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
   }
   return kTRUE;
}
