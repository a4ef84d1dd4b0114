// DiMuon: the dimuon mass spectrum of NanoAOD-like events, as a TSelector over TTreeReader.
//
// Option "samesign" pairs muons of equal charge, anything else of opposite charge.
// Input "ptcut" (TNamed, title in GeV): lowest pt of both muons, default 10.

#ifndef DiMuon_h
#define DiMuon_h

#include <TH1F.h>
#include <TH2F.h>
#include <TList.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TSelector.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>

#include <vector>

class DiMuon : public TSelector {
public:
   TTreeReader fReader; //!

   TTreeReaderArray<Float_t> fPt = {fReader, "Muon_pt"};              //!
   TTreeReaderArray<Float_t> fEta = {fReader, "Muon_eta"};            //!
   TTreeReaderArray<Float_t> fPhi = {fReader, "Muon_phi"};            //!
   TTreeReaderArray<Float_t> fM = {fReader, "Muon_mass"};             //!
   TTreeReaderArray<Int_t> fCharge = {fReader, "Muon_charge"};        //!
   TTreeReaderArray<Float_t> fIso = {fReader, "Muon_pfRelIso04_all"}; //!
   TTreeReaderArray<Bool_t> fTight = {fReader, "Muon_tightId"};       //!
   TTreeReaderArray<Float_t> fJetPt = {fReader, "Jet_pt"};            //!
   TTreeReaderArray<Float_t> fJetEta = {fReader, "Jet_eta"};          //!
   TTreeReaderArray<Float_t> fJetPhi = {fReader, "Jet_phi"};          //!
   TTreeReaderValue<Float_t> fMet = {fReader, "MET_pt"};              //!

   TH1F *fMass = nullptr;                   //! dimuon mass
   TH2F *fMassPt = nullptr;                 //! pt of the pair against its mass
   TProfile *fMassMet = nullptr;            //! mean MET against the mass
   TParameter<Long64_t> *fEvents = nullptr; //! events seen
   TParameter<Long64_t> *fPairs = nullptr;  //! pairs found
   TH1F *fNJet = nullptr;                   //! in the list "jets"
   TH1F *fHt = nullptr;                     //! in the list "jets"

   std::vector<std::size_t> fGood; //! indices of the event's good muons
   Double_t fPtCut = 10;
   Int_t fSign = -1; // wanted product of the charges

   DiMuon(TTree * = nullptr) {}
   Int_t Version() const override { return 2; }
   void Begin(TTree *tree) override;
   void SlaveBegin(TTree *tree) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Notify() override { return kTRUE; }
   Bool_t Process(Long64_t entry) override;
   void SlaveTerminate() override {}
   void Terminate() override;

   bool GoodMuon(std::size_t i) { return fPt[i] > fPtCut && fTight[i] && fIso[i] < 0.25; }
   bool GoodJet(std::size_t j);
   void FillJets();
   void FillPair(std::size_t i, std::size_t j);

   ClassDefOverride(DiMuon, 0);
};

#endif
