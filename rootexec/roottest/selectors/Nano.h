// Nano reads a few branches of NanoAOD, flat, jagged and boolean.

#ifndef Nano_h
#define Nano_h

#include <TH1F.h>
#include <TH2D.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>

#include <algorithm>

class Nano : public TSelector {
public:
   TTreeReader fReader;                                             //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"};         //!
   TTreeReaderValue<UInt_t> fRun = {fReader, "run"};                //!
   TTreeReaderArray<Float_t> fMuonPt = {fReader, "Muon_pt"};        //!
   TTreeReaderArray<Bool_t> fTight = {fReader, "Muon_tightId"};     //!
   TTreeReaderArray<Float_t> fJetPt = {fReader, "Jet_pt"};          //!
   TTreeReaderArray<Float_t> fJetEta = {fReader, "Jet_eta"};        //!
   TTreeReaderValue<Float_t> fMet = {fReader, "MET_pt"};            //!
   TParameter<Long64_t> *fSum = nullptr;                            //!
   TParameter<Long64_t> *fRuns = nullptr;                           //!
   TH1F *fMuons = nullptr;                                          //!
   TH2D *fJets = nullptr;                                           //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(Nano, 0);
};

#endif
