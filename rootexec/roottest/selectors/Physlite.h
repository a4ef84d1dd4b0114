// Physlite reads vector<float> branches of an ATLAS PHYSLITE file.

#ifndef Physlite_h
#define Physlite_h

#include <TH1D.h>
#include <TProfile.h>
#include <TSelector.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>

#include <vector>

class Physlite : public TSelector {
public:
   TTreeReader fReader;                                                                  //!
   TTreeReaderValue<std::vector<float>> fPt = {fReader, "AnalysisJetsAuxDyn.pt"};        //!
   TTreeReaderArray<float> fEta = {fReader, "AnalysisJetsAuxDyn.eta"};                   //!
   TTreeReaderArray<float> fElectronPt = {fReader, "AnalysisElectronsAuxDyn.pt"};        //!
   TH1D *fJets = nullptr;                                                                //!
   TH1D *fElectrons = nullptr;                                                           //!
   TProfile *fPtEta = nullptr;                                                           //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(Physlite, 0);
};

#endif
