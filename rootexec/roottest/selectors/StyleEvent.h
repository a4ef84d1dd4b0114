// Classes of the user's own, which MakeStyles.C writes as branches, split and unsplit, beside STL and ROOT's classes.

#ifndef StyleEvent_h
#define StyleEvent_h

#include <TClonesArray.h>
#include <TLorentzVector.h>
#include <TObject.h>

#include <map>
#include <string>
#include <vector>

class StyleHit : public TObject {
public:
   Int_t fId = 0;
   Float_t fX[3] = {};
   Double32_t fE = 0; //[0,1000,16]
   std::vector<short> fAdc;

   ClassDefOverride(StyleHit, 1);
};

class StyleEvent : public TObject {
public:
   Long64_t fNumber = 0;
   Int_t fN = 0;
   Float_t *fW = nullptr; //[fN]
   std::vector<StyleHit> fHits;
   std::vector<std::vector<double>> fNested;
   std::map<int, float> fMap;
   std::string fTag;
   TLorentzVector fP;
   TClonesArray *fTracks; //->
   Bool_t fFlags[4] = {};

   StyleEvent() : fTracks(new TClonesArray("TLorentzVector")) {}
   StyleEvent(const StyleEvent &) = delete;
   StyleEvent &operator=(const StyleEvent &) = delete;
   ~StyleEvent() override
   {
      delete[] fW;
      delete fTracks;
   }

   ClassDefOverride(StyleEvent, 1);
};

#ifdef __ROOTCLING__
#pragma link C++ class StyleHit + ;
#pragma link C++ class StyleEvent + ;
#pragma link C++ class std::vector < StyleHit> + ;
#pragma link C++ class std::vector < std::vector < int>> + ;
#pragma link C++ class std::vector < std::vector < double>> + ;
#pragma link C++ class std::vector < TLorentzVector> + ;
#pragma link C++ class std::map < int, float> + ;
#endif

#endif
