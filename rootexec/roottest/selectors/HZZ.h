// HZZ reads the flat and jagged branches of the HZZ sample, with weights.

#ifndef HZZ_h
#define HZZ_h

#include <TH1D.h>
#include <TH3F.h>
#include <TProfile.h>
#include <TSelector.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>

class HZZ : public TSelector {
public:
   TTreeReader fReader;                                                  //!
   TTreeReaderArray<Float_t> fMuonPx = {fReader, "Muon_Px"};             //!
   TTreeReaderArray<Float_t> fMuonPy = {fReader, "Muon_Py"};             //!
   TTreeReaderArray<Float_t> fMuonPz = {fReader, "Muon_Pz"};             //!
   TTreeReaderArray<Float_t> fMuonE = {fReader, "Muon_E"};               //!
   TTreeReaderArray<Int_t> fMuonCharge = {fReader, "Muon_Charge"};       //!
   TTreeReaderArray<Float_t> fJetBtag = {fReader, "Jet_btag"};           //!
   TTreeReaderArray<Bool_t> fJetID = {fReader, "Jet_ID"};                //!
   TTreeReaderValue<Float_t> fMetX = {fReader, "MET_px"};                //!
   TTreeReaderValue<Float_t> fMetY = {fReader, "MET_py"};                //!
   TTreeReaderValue<Int_t> fVertices = {fReader, "NPrimaryVertices"};    //!
   TTreeReaderValue<Bool_t> fTrigger = {fReader, "triggerIsoMu24"};      //!
   TTreeReaderValue<Float_t> fWeight = {fReader, "EventWeight"};         //!
   TH1D *fMass = nullptr;                                                //!
   TH3F *fShape = nullptr;                                               //!
   TProfile *fMetVertices = nullptr;                                     //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(HZZ, 0);
};

#endif
