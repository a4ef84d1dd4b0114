#include "HZZObjects.h"

void HZZObjects::SlaveBegin(TTree *)
{
   fMass = new TH1D("mass", "dimuon mass", 60, 60, 120);
   fMass->Sumw2();
   fMetHt = new TH2F("met_ht", "MET against HT", 40, 0, 400, 40, 0, 200);
   fOutput->Add(fMass);
   fOutput->Add(fMetHt);
}

Bool_t HZZObjects::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   double ht = 0;
   for (const TLorentzVector &jet : fJets)
      ht += jet.Pt();
   fMetHt->Fill(ht, fMet->Mod());
   if (fMuons.GetSize() > 1 && fCharge[0] * fCharge[1] < 0)
      fMass->Fill((fMuons[0] + fMuons[1]).M(), *fWeight);
   return kTRUE;
}
