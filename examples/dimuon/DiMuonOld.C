#define DiMuonOld_cxx
#include "DiMuonOld.h"

#include <Math/Vector4D.h>
#include <TAxis.h>
#include <TVector2.h>

#include <cmath>

void DiMuonOld::Begin(TTree *)
{
   Info("Begin", "option \"%s\"", GetOption());
}

void DiMuonOld::SlaveBegin(TTree *)
{
   fSign = TString(GetOption()).Contains("samesign") ? 1 : -1;
   if (auto *cut = fInput ? fInput->FindObject("ptcut") : nullptr)
      fPtCut = TString(cut->GetTitle()).Atof();

   fMass = new TH1F("mass", "Dimuon mass;m_{#mu#mu} [GeV];pairs", 300, 0, 150);
   fMass->Sumw2();
   fMassPt = new TH2F("mass_pt", "Pair pt;m_{#mu#mu} [GeV];p_{T} [GeV]", 75, 0, 150, 40, 0, 80);
   fMassMet = new TProfile("mass_met", "Mean MET;m_{#mu#mu} [GeV];MET [GeV]", 75, 0, 150);
   fEvents = new TParameter<Long64_t>("events", 0, '+'); // '+': merges by adding
   fPairs = new TParameter<Long64_t>("pairs", 0, '+');
   fOutput->Add(fMass);
   fOutput->Add(fMassPt);
   fOutput->Add(fMassMet);
   fOutput->Add(fEvents);
   fOutput->Add(fPairs);

   auto *jets = new TList;
   jets->SetName("jets");
   jets->SetOwner();
   fNJet = new TH1F("njet", "Jets above 30 GeV;jets;events", 12, -0.5, 11.5);
   fHt = new TH1F("ht", "Scalar sum of jet p_{T};H_{T} [GeV];events", 100, 0, 1000);
   fNJet->SetDirectory(nullptr); // fOutput sees to this for objects that it holds itself
   fHt->SetDirectory(nullptr);
   jets->Add(fNJet);
   jets->Add(fHt);
   fOutput->Add(jets);
}

Bool_t DiMuonOld::Process(Long64_t entry)
{
   fEvents->SetVal(fEvents->GetVal() + 1);
   for (TBranch *b : {b_nMuon, b_Muon_pt, b_Muon_eta, b_Muon_phi, b_Muon_mass, b_Muon_charge,
                      b_Muon_pfRelIso04_all, b_Muon_tightId, b_nJet, b_Jet_pt, b_Jet_eta, b_Jet_phi})
      b->GetEntry(entry);

   fNGood = 0;
   for (UInt_t i = 0; i < nMuon; ++i)
      if (Muon_pt[i] > fPtCut && Muon_tightId[i] && Muon_pfRelIso04_all[i] < 0.25)
         fGood[fNGood++] = i;
   FillJets();
   if (fNGood > 1)
      b_MET_pt->GetEntry(entry);
   for (Int_t i = 0; i < fNGood; ++i)
      for (Int_t j = i + 1; j < fNGood; ++j)
         if (Muon_charge[fGood[i]] * Muon_charge[fGood[j]] == fSign)
            FillPair(fGood[i], fGood[j]);
   return kTRUE;
}

// GoodJet: hard, central, and no good muon within 0.4.
bool DiMuonOld::GoodJet(UInt_t j) const
{
   if (Jet_pt[j] < 30 || std::abs(Jet_eta[j]) > 2.5)
      return false;
   for (Int_t i = 0; i < fNGood; ++i) {
      const double eta = Muon_eta[fGood[i]] - Jet_eta[j];
      const double phi = TVector2::Phi_mpi_pi(Muon_phi[fGood[i]] - Jet_phi[j]);
      if (eta * eta + phi * phi < 0.4 * 0.4)
         return false;
   }
   return true;
}

void DiMuonOld::FillJets()
{
   int n = 0;
   double ht = 0;
   for (UInt_t j = 0; j < nJet; ++j) {
      if (GoodJet(j)) {
         ++n;
         ht += Jet_pt[j];
      }
   }
   fNJet->Fill(n);
   fHt->Fill(ht);
}

void DiMuonOld::FillPair(Int_t i, Int_t j)
{
   const ROOT::Math::PtEtaPhiMVector a(Muon_pt[i], Muon_eta[i], Muon_phi[i], Muon_mass[i]);
   const ROOT::Math::PtEtaPhiMVector b(Muon_pt[j], Muon_eta[j], Muon_phi[j], Muon_mass[j]);
   const auto pair = a + b;
   const double mass = pair.M();

   fMass->Fill(mass);
   fMassPt->Fill(mass, pair.Pt());
   fMassMet->Fill(mass, MET_pt);
   fPairs->SetVal(fPairs->GetVal() + 1);
}

void DiMuonOld::Terminate()
{
   fMass = dynamic_cast<TH1F *>(fOutput->FindObject("mass"));
   fEvents = dynamic_cast<TParameter<Long64_t> *>(fOutput->FindObject("events"));
   fPairs = dynamic_cast<TParameter<Long64_t> *>(fOutput->FindObject("pairs"));
   if (!fMass || !fEvents || !fPairs) {
      Error("Terminate", "outputs are missing");
      return;
   }
   fMass->GetXaxis()->SetRangeUser(70, 110);
   const Double_t peak = fMass->GetBinCenter(fMass->GetMaximumBin());
   fMass->GetXaxis()->SetRange(0, 0);
   Printf("%lld pairs in %lld events, Z peak at %.2f GeV", fPairs->GetVal(), fEvents->GetVal(), peak);
}
