#include "HZZ.h"

#include <Math/Vector4D.h>

#include <cmath>

void HZZ::SlaveBegin(TTree *)
{
   fMass = new TH1D("mass", "dimuon mass", 60, 60, 120);
   fMass->Sumw2();
   fShape = new TH3F("shape", "muons, jets, vertices", 5, 0, 5, 8, 0, 8, 15, 0, 30);
   fMetVertices = new TProfile("met", "MET against vertices", 15, 0, 30, "s");
   fOutput->Add(fMass);
   fOutput->Add(fShape);
   fOutput->Add(fMetVertices);
}

Bool_t HZZ::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   int good = 0;
   for (std::size_t j = 0; j < fJetBtag.GetSize(); ++j)
      good += fJetID[j] && fJetBtag[j] > -100;
   fShape->Fill(fMuonPx.GetSize(), good, *fVertices);
   fMetVertices->Fill(*fVertices, std::hypot(*fMetX, *fMetY), *fWeight);
   if (!*fTrigger || fMuonPx.GetSize() < 2 || fMuonCharge[0] * fMuonCharge[1] > 0)
      return kTRUE;
   const ROOT::Math::PxPyPzEVector a(fMuonPx[0], fMuonPy[0], fMuonPz[0], fMuonE[0]);
   const ROOT::Math::PxPyPzEVector b(fMuonPx[1], fMuonPy[1], fMuonPz[1], fMuonE[1]);
   fMass->Fill((a + b).M(), *fWeight);
   return kTRUE;
}
