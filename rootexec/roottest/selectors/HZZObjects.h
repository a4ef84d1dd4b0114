// HZZObjects reads the HZZ sample with TLorentzVector and TVector2 objects.

#ifndef HZZObjects_h
#define HZZObjects_h

#include <TH1D.h>
#include <TH2F.h>
#include <TLorentzVector.h>
#include <TSelector.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>
#include <TVector2.h>

class HZZObjects : public TSelector {
public:
   TTreeReader fReader;                                              //!
   TTreeReaderArray<TLorentzVector> fMuons = {fReader, "muonp4"};    //!
   TTreeReaderArray<Int_t> fCharge = {fReader, "muonq"};             //!
   TTreeReaderArray<TLorentzVector> fJets = {fReader, "jetp4"};      //!
   TTreeReaderValue<TVector2> fMet = {fReader, "MET"};               //!
   TTreeReaderValue<Float_t> fWeight = {fReader, "eventweight"};     //!
   TH1D *fMass = nullptr;                                            //!
   TH2F *fMetHt = nullptr;                                           //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(HZZObjects, 0);
};

#endif
