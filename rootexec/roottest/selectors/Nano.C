#include "Nano.h"

void Nano::SlaveBegin(TTree *)
{
   fSum = new TParameter<Long64_t>("sum_event", 0, '+');
   fRuns = new TParameter<Long64_t>("highest_run", 0, 'M');
   fMuons = new TH1F("muon_pt", "tight muons", 50, 0, 100);
   fJets = new TH2D("jets", "jets", 50, -5, 5, 50, 0, 200);
   for (TObject *o : {(TObject *)fSum, (TObject *)fRuns, (TObject *)fMuons, (TObject *)fJets})
      fOutput->Add(o);
}

Bool_t Nano::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   fSum->SetVal(fSum->GetVal() + *fEvent);
   fRuns->SetVal(std::max<Long64_t>(fRuns->GetVal(), *fRun));
   for (std::size_t i = 0; i < fMuonPt.GetSize(); ++i)
      if (fTight[i])
         fMuons->Fill(fMuonPt[i]);
   for (std::size_t i = 0; i < fJetPt.GetSize(); ++i)
      fJets->Fill(fJetEta[i], fJetPt[i], *fMet);
   return kTRUE;
}
