#include "DiMuon.h"

#include <Math/Vector4D.h>
#include <TAxis.h>
#include <TVector2.h>

#include <cmath>

void DiMuon::Begin(TTree *)
{
   Info("Begin", "option \"%s\"", GetOption());
}

void DiMuon::SlaveBegin(TTree *)
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

Bool_t DiMuon::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   fEvents->SetVal(fEvents->GetVal() + 1);

   fGood.clear();
   for (std::size_t i = 0; i < fPt.GetSize(); ++i)
      if (GoodMuon(i))
         fGood.push_back(i);
   FillJets();
   for (std::size_t i = 0; i < fGood.size(); ++i)
      for (std::size_t j = i + 1; j < fGood.size(); ++j)
         if (fCharge[fGood[i]] * fCharge[fGood[j]] == fSign)
            FillPair(fGood[i], fGood[j]);
   return kTRUE;
}

// GoodJet: hard, central, and no good muon within 0.4.
bool DiMuon::GoodJet(std::size_t j)
{
   if (fJetPt[j] < 30 || std::abs(fJetEta[j]) > 2.5)
      return false;
   for (std::size_t i : fGood) {
      const double eta = fEta[i] - fJetEta[j];
      const double phi = TVector2::Phi_mpi_pi(fPhi[i] - fJetPhi[j]);
      if (eta * eta + phi * phi < 0.4 * 0.4)
         return false;
   }
   return true;
}

void DiMuon::FillJets()
{
   int n = 0;
   double ht = 0;
   for (std::size_t j = 0; j < fJetPt.GetSize(); ++j) {
      if (GoodJet(j)) {
         ++n;
         ht += fJetPt[j];
      }
   }
   fNJet->Fill(n);
   fHt->Fill(ht);
}

void DiMuon::FillPair(std::size_t i, std::size_t j)
{
   const ROOT::Math::PtEtaPhiMVector a(fPt[i], fEta[i], fPhi[i], fM[i]);
   const ROOT::Math::PtEtaPhiMVector b(fPt[j], fEta[j], fPhi[j], fM[j]);
   const auto pair = a + b;
   const double mass = pair.M();

   fMass->Fill(mass);
   fMassPt->Fill(mass, pair.Pt());
   fMassMet->Fill(mass, *fMet);
   fPairs->SetVal(fPairs->GetVal() + 1);
}

void DiMuon::Terminate()
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
