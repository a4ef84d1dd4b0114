// Autos has histograms whose axes change while they are filled: those that find their limits, those that extend them,
// those that get labels.

#include <TH1.h>
#include <TH2.h>
#include <TH3.h>
#include <TList.h>
#include <TMath.h>
#include <TProfile.h>
#include <TProfile2D.h>
#include <TProfile3D.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

class Autos : public TSelector {
 public:
   TTreeReader fReader;                                     //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"}; //!

   // found
   TH1 *fFloat, *fDouble, *fWeighted, *fRare, *fMid, *fNever, *fLate, *fBig; //!
   TH2 *fFlat;                                                               //!
   TH3 *fCube;                                                               //!
   TProfile *fProfile;                                                       //!
   TProfile2D *fProfile2;                                                    //!
   TProfile3D *fProfile3;                                                    //!
   // extended
   TH1 *fRight, *fWide;      //!
   TH2 *fPlane;              //!
   TProfile *fLong;          //!
   // with labels
   TH1 *fLabels, *fDeflated; //!
   TH2 *fTable;              //!
   TH3 *fBoxes;              //!
   TProfile *fMeans, *fHeavy; //!
   TList *fNest;             //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void SlaveTerminate() override { fDeflated->LabelsDeflate(); }
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;

   template <class H>
   H *out(H *h, bool extend = false)
   {
      if (extend)
         h->SetCanExtend(TH1::kAllAxes);
      fOutput->Add(h);
      return h;
   }
   ClassDefOverride(Autos, 0);
};

void Autos::SlaveBegin(TTree *)
{
   fFloat = out(new TH1F("float", "", 100, 0, 0));
   fDouble = out(new TH1D("double", "", 50, 1, 0));
   fWeighted = out(new TH1D("weighted", "", 50, 0, 0));
   fRare = out(new TH1D("rare", "", 50, 0, 0));
   fMid = out(new TH1D("mid", "", 50, 0, 0));
   fNever = out(new TH1D("never", "", 50, 0, 0));
   fLate = out(new TH1D("late", "", 50, 0, 0));
   fBig = out(new TH1D("big", "both", 100, 0, 0), true);
   fFlat = out(new TH2D("flat", "", 20, 0, 0, 30, 0, 0));
   fCube = out(new TH3D("cube", "", 5, 0, 0, 6, 0, 0, 7, 0, 0));
   fProfile = out(new TProfile("profile", "", 20, 0., 0.));
   fProfile2 = out(new TProfile2D("profile2", "", 10, 0., 0., 10, 0., 0.));
   fProfile3 = out(new TProfile3D("profile3", "", 5, 0., 0., 6, 0., 0., 7, 0., 0.));
   fRight = out(new TH1D("right", "", 64, 0, 1), true);
   fWide = out(new TH1D("wide", "", 64, 0, 1), true);
   fPlane = out(new TH2D("plane", "", 16, 0, 1, 16, 0, 1), true);
   fLong = out(new TProfile("long", "", 64, 0, 1), true);
   fLabels = out(new TH1D("labels", "", 3, 0, 3), true);
   fDeflated = out(new TH1D("deflated", "", 3, 0, 3), true);
   fTable = out(new TH2D("table", "", 2, 0, 2, 3, 0, 3), true);
   fBoxes = out(new TH3D("boxes", "", 2, 0, 2, 2, 0, 2, 2, 0, 2), true);
   fMeans = out(new TProfile("means", "", 2, 0, 2), true);
   fHeavy = out(new TProfile("heavy", "", 2, 0, 2), true);
   fNest = new TList;
   fNest->SetName("nest");
   fNest->Add(new TH1F("inner", "", 40, 0, 0));
   fOutput->Add(fNest);
}

Bool_t Autos::Process(Long64_t entry)
{
   if (fInput && fInput->FindObject("slow")) gSystem->Sleep(200); // milliseconds
   fReader.SetLocalEntry(entry);
   const Long64_t id = *fEvent, n = id % 10000000;
   // Quantiles of well-spread numbers: two sides, and one.
   const double u = (double((id * 7919) % 20011) + 0.5) / 20011, v = (double((id * 104729) % 20021) + 0.5) / 20021;
   const double gaus = TMath::NormQuantile(u), other = TMath::NormQuantile(v), expo = -TMath::Log(v);
   fFloat->Fill(gaus);
   fDouble->Fill(expo);
   fWeighted->Fill(other, 0.5 + id % 3);
   fBig->Fill(3 * gaus);
   if (n % 100 == 0)
      fRare->Fill(gaus);
   if (n % 3 == 0)
      fMid->Fill(other);
   if (id > 20000000)
      fLate->Fill(gaus * (n % 2 ? 1 : 50));
   fFlat->Fill(gaus, expo);
   fCube->Fill(gaus, other, expo);
   fProfile->Fill(gaus, other);
   fProfile2->Fill(gaus, expo, other, 0.5 + id % 3);
   fProfile3->Fill(gaus, other, expo, u);
   fRight->Fill(expo);
   fWide->Fill(gaus);
   fPlane->Fill(expo, 2 * expo * v);
   fLong->Fill(expo, gaus, 0.5 + id % 3);
   const char *names[] = {"muon", "electron", "tau", "photon", "jet", "none", "other"};
   const char *a = names[(id * 31) % 7], *b = names[(id * 17) % 5], *c = names[(id * 13) % 3];
   fLabels->Fill(a, 1);
   fDeflated->Fill(b, 2);
   fTable->Fill(a, b, 1);
   fBoxes->Fill(a, b, c, 1);
   fMeans->Fill(a, gaus);
   fHeavy->Fill(a, gaus, 0.5 + id % 3);
   static_cast<TH1 *>(fNest->FindObject("inner"))->Fill(gaus);
   return kTRUE;
}
