// Styles sums up what each branch of the tree of MakeStyles.C holds, in a bin of "sums" each: with option "reader" by a
// TTreeReader, else by addresses, with the status of branches set, and objects of the user's own class.

#ifndef Styles_h
#define Styles_h

#include "StyleEvent.h"

#include <TH1D.h>
#include <TSelector.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>

#include <memory>

/// The branches as a TTreeReader gives them.
struct StyleReader {
   TTreeReader fReader;
   TTreeReaderValue<ULong64_t> event{fReader, "event"};
   TTreeReaderArray<Float_t> x{fReader, "x"};
   TTreeReaderArray<Double_t> arr{fReader, "arr"};
   TTreeReaderArray<Char_t> name{fReader, "name"};
   TTreeReaderArray<float> vf{fReader, "vf"};
   TTreeReaderValue<std::vector<std::vector<int>>> vvi{fReader, "vvi"};
   TTreeReaderValue<std::vector<bool>> vb{fReader, "vb"};
   TTreeReaderArray<std::string> vs{fReader, "vs"};
   TTreeReaderValue<std::string> str{fReader, "str"};
   TTreeReaderArray<TLorentzVector> vlv{fReader, "vlv"};
   TTreeReaderArray<Double32_t> hitsE{fReader, "hits.fE"};
   TTreeReaderValue<TLorentzVector> lv{fReader, "lv"};
   TTreeReaderValue<TLorentzVector> whole{fReader, "whole"};
   TTreeReaderArray<Double_t> tcaE{fReader, "tca.fE"};
   TTreeReaderArray<TVector3> tcaP{fReader, "tca.fP"};
   TTreeReaderValue<TClonesArray> wholeTca{fReader, "wholeTca"};
   TTreeReaderValue<Long64_t> evNumber{fReader, "ev.fNumber"};
   TTreeReaderArray<Int_t> evHitsId{fReader, "ev.fHits.fId"};
   TTreeReaderArray<Float_t> evMap{fReader, "ev.fMap.second"};
   TTreeReaderValue<std::string> evTag{fReader, "ev.fTag"};
   TTreeReaderValue<TLorentzVector> evP{fReader, "ev.fP"};
   TTreeReaderValue<StyleEvent> wholeEv{fReader, "wholeEv"};
};

class Styles : public TSelector {
public:
   std::unique_ptr<StyleReader> fStyle; //!
   TTree *fChain = nullptr;             //!
   TH1D *fSums = nullptr;               //!
   ULong64_t event = 0;                 //!
   Int_t n = 0;                         //!
   Float_t x[20];                       //!
   Double_t arr[3][2];                  //!
   Char_t name[32];                     //!
   std::vector<float> *vf = nullptr;    //!
   std::vector<std::vector<int>> *vvi = nullptr; //!
   std::vector<bool> *vb = nullptr;     //!
   std::vector<std::string> *vs = nullptr; //!
   std::string *str = nullptr;          //!
   std::vector<TLorentzVector> *vlv = nullptr; //!
   std::vector<StyleHit> *hits = nullptr; //!
   TLorentzVector *lv = nullptr, *whole = nullptr; //!
   TClonesArray *tca = nullptr, *wholeTca = nullptr; //!
   StyleEvent *ev = nullptr, *wholeEv = nullptr; //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override { fOutput->Add(fSums = new TH1D("sums", "", 40, 0, 40)); }
   void Init(TTree *tree) override;
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(Styles, 0);
};

#endif
