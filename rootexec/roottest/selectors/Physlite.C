#include "Physlite.h"

void Physlite::SlaveBegin(TTree *)
{
   fJets = new TH1D("jet_pt", "jets;p_{T} [MeV]", 100, 0, 500e3);
   fElectrons = new TH1D("electron_pt", "electrons;p_{T} [MeV]", 100, 0, 200e3);
   fPtEta = new TProfile("pt_eta", "mean jet pt", 20, -5, 5);
   fOutput->Add(fJets);
   fOutput->Add(fElectrons);
   fOutput->Add(fPtEta);
}

Bool_t Physlite::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   for (std::size_t i = 0; i < fPt->size(); ++i) {
      fJets->Fill((*fPt)[i]);
      fPtEta->Fill(fEta[i], (*fPt)[i]);
   }
   for (float pt : fElectronPt)
      fElectrons->Fill(pt);
   return kTRUE;
}
