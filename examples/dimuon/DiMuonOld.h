// DiMuonOld: the analysis of DiMuon, laid out the way TTree::MakeSelector writes a selector for a tree of
// plain branches: fixed-size arrays, SetBranchAddress, one TBranch pointer a branch. Same outputs, same
// option and input.

#ifndef DiMuonOld_h
#define DiMuonOld_h

#include <TBranch.h>
#include <TH1F.h>
#include <TH2F.h>
#include <TList.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TSelector.h>
#include <TTree.h>

class DiMuonOld : public TSelector {
public:
   TTree *fChain = nullptr; //! pointer to the analysed tree or chain

   // leaves
   UInt_t run;
   UInt_t luminosityBlock;
   ULong64_t event;
   Int_t PV_npvs;
   Bool_t HLT_IsoMu24;
   UInt_t nMuon;
   Float_t Muon_pt[32]; //[nMuon]
   Float_t Muon_eta[32]; //[nMuon]
   Float_t Muon_phi[32]; //[nMuon]
   Float_t Muon_mass[32]; //[nMuon]
   Int_t Muon_charge[32]; //[nMuon]
   Float_t Muon_pfRelIso04_all[32]; //[nMuon]
   Bool_t Muon_tightId[32]; //[nMuon]
   UInt_t nJet;
   Float_t Jet_pt[32]; //[nJet]
   Float_t Jet_eta[32]; //[nJet]
   Float_t Jet_phi[32]; //[nJet]
   Float_t Jet_mass[32]; //[nJet]
   Float_t Jet_btagDeepFlavB[32]; //[nJet]
   Int_t Jet_jetId[32]; //[nJet]
   Float_t MET_pt;
   Float_t MET_phi;
   Float_t MET_sumEt;

   // branches
   TBranch *b_run; //!
   TBranch *b_luminosityBlock; //!
   TBranch *b_event; //!
   TBranch *b_PV_npvs; //!
   TBranch *b_HLT_IsoMu24; //!
   TBranch *b_nMuon; //!
   TBranch *b_Muon_pt; //!
   TBranch *b_Muon_eta; //!
   TBranch *b_Muon_phi; //!
   TBranch *b_Muon_mass; //!
   TBranch *b_Muon_charge; //!
   TBranch *b_Muon_pfRelIso04_all; //!
   TBranch *b_Muon_tightId; //!
   TBranch *b_nJet; //!
   TBranch *b_Jet_pt; //!
   TBranch *b_Jet_eta; //!
   TBranch *b_Jet_phi; //!
   TBranch *b_Jet_mass; //!
   TBranch *b_Jet_btagDeepFlavB; //!
   TBranch *b_Jet_jetId; //!
   TBranch *b_MET_pt; //!
   TBranch *b_MET_phi; //!
   TBranch *b_MET_sumEt; //!

   TH1F *fMass = nullptr;                   //!
   TH2F *fMassPt = nullptr;                 //!
   TProfile *fMassMet = nullptr;            //!
   TParameter<Long64_t> *fEvents = nullptr; //!
   TParameter<Long64_t> *fPairs = nullptr;  //!
   TH1F *fNJet = nullptr;                   //!
   TH1F *fHt = nullptr;                     //!

   Double_t fPtCut = 10;
   Int_t fSign = -1; // wanted product of the charges
   Int_t fNGood = 0;
   Int_t fGood[32]; // indices of the event's good muons

   DiMuonOld(TTree * = nullptr) {}
   Int_t Version() const override { return 2; }
   void Begin(TTree *tree) override;
   void SlaveBegin(TTree *tree) override;
   void Init(TTree *tree) override;
   Bool_t Notify() override { return kTRUE; }
   Bool_t Process(Long64_t entry) override;
   Int_t GetEntry(Long64_t entry, Int_t getall = 0) override
   {
      return fChain ? fChain->GetTree()->GetEntry(entry, getall) : 0;
   }
   void SetOption(const char *option) override { fOption = option; }
   void SetObject(TObject *obj) override { fObject = obj; }
   void SetInputList(TList *input) override { fInput = input; }
   TList *GetOutputList() const override { return fOutput; }
   void SlaveTerminate() override {}
   void Terminate() override;

   bool GoodJet(UInt_t j) const;
   void FillJets();
   void FillPair(Int_t i, Int_t j);

   ClassDefOverride(DiMuonOld, 0);
};

#endif

#ifdef DiMuonOld_cxx
void DiMuonOld::Init(TTree *tree)
{
   // Called for every tree or chain that is attached.
   if (!tree)
      return;
   fChain = tree;
   fChain->SetMakeClass(1);

   fChain->SetBranchAddress("run", &run, &b_run);
   fChain->SetBranchAddress("luminosityBlock", &luminosityBlock, &b_luminosityBlock);
   fChain->SetBranchAddress("event", &event, &b_event);
   fChain->SetBranchAddress("PV_npvs", &PV_npvs, &b_PV_npvs);
   fChain->SetBranchAddress("HLT_IsoMu24", &HLT_IsoMu24, &b_HLT_IsoMu24);
   fChain->SetBranchAddress("nMuon", &nMuon, &b_nMuon);
   fChain->SetBranchAddress("Muon_pt", Muon_pt, &b_Muon_pt);
   fChain->SetBranchAddress("Muon_eta", Muon_eta, &b_Muon_eta);
   fChain->SetBranchAddress("Muon_phi", Muon_phi, &b_Muon_phi);
   fChain->SetBranchAddress("Muon_mass", Muon_mass, &b_Muon_mass);
   fChain->SetBranchAddress("Muon_charge", Muon_charge, &b_Muon_charge);
   fChain->SetBranchAddress("Muon_pfRelIso04_all", Muon_pfRelIso04_all, &b_Muon_pfRelIso04_all);
   fChain->SetBranchAddress("Muon_tightId", Muon_tightId, &b_Muon_tightId);
   fChain->SetBranchAddress("nJet", &nJet, &b_nJet);
   fChain->SetBranchAddress("Jet_pt", Jet_pt, &b_Jet_pt);
   fChain->SetBranchAddress("Jet_eta", Jet_eta, &b_Jet_eta);
   fChain->SetBranchAddress("Jet_phi", Jet_phi, &b_Jet_phi);
   fChain->SetBranchAddress("Jet_mass", Jet_mass, &b_Jet_mass);
   fChain->SetBranchAddress("Jet_btagDeepFlavB", Jet_btagDeepFlavB, &b_Jet_btagDeepFlavB);
   fChain->SetBranchAddress("Jet_jetId", Jet_jetId, &b_Jet_jetId);
   fChain->SetBranchAddress("MET_pt", &MET_pt, &b_MET_pt);
   fChain->SetBranchAddress("MET_phi", &MET_phi, &b_MET_phi);
   fChain->SetBranchAddress("MET_sumEt", &MET_sumEt, &b_MET_sumEt);
}
#endif
