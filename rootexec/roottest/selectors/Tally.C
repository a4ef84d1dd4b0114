#include "Tally.h"

void Tally::SlaveBegin(TTree *)
{
   fN = new TParameter<Long64_t>("n", 0, '+');
   fSum = new TParameter<Long64_t>("sum", 0, '+');
   fBlocks = new TH2I("blocks", "events;block of 100;file", 200, 0, 20000, 250, 0, 250);
   fOutput->Add(fN);
   fOutput->Add(fSum);
   fOutput->Add(fBlocks);
}

Bool_t Tally::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   fN->SetVal(fN->GetVal() + 1);
   fSum->SetVal(fSum->GetVal() + *fEvent);
   fBlocks->Fill(*fEvent % 10000000, *fEvent / 10000000);
   return kTRUE;
}
