#include "Styles.h"

#include <cstdlib>

namespace {

/// Fills the sum of each branch into a bin of its own.
struct StyleSums {
   TH1D &fHist;
   int fBin = 0;

   void one(double v) { fHist.Fill(fBin++ + 0.5, v); }
   template <class F>
   void some(F fill)
   {
      fill([this](double v) { fHist.Fill(fBin + 0.5, v); });
      ++fBin;
   }
   template <class Array>
   void all(const Array &values)
   {
      some([&](auto add) {
         for (const auto v : values)
            add(v);
      });
   }
   void vectors(const TClonesArray &a)
   {
      some([&](auto add) {
         for (int i = 0; i < a.GetEntriesFast(); ++i)
            add(static_cast<TLorentzVector *>(a.At(i))->X());
      });
   }
   void event(const StyleEvent &e)
   {
      one(e.fNumber % 1000);
      some([&](auto add) {
         for (int i = 0; i < e.fN; ++i)
            add(e.fW[i]);
      });
      hits(e.fHits);
      nested(e.fNested);
      some([&](auto add) {
         for (const auto &[key, value] : e.fMap)
            add(key * value);
      });
      one(e.fTag.size());
      one(e.fP.Pt());
      vectors(*e.fTracks);
      all(e.fFlags);
   }
   void hits(const std::vector<StyleHit> &list)
   {
      some([&](auto add) {
         for (const auto &h : list) {
            add(h.fId + h.fX[0] + h.fX[2] + h.fE);
            for (const auto a : h.fAdc)
               add(a);
         }
      });
   }
   template <class T>
   void nested(const std::vector<std::vector<T>> &list)
   {
      some([&](auto add) {
         for (const auto &inner : list)
            for (const auto v : inner)
               add(v);
      });
   }
};

} // namespace

void Styles::Init(TTree *tree)
{
   fChain = tree;
   if (fOption == "reader") {
      if (!fStyle)
         fStyle = std::make_unique<StyleReader>();
      fStyle->fReader.SetTree(tree);
      return;
   }
   tree->SetBranchStatus("*", false);
   for (const char *used : {"event", "n", "x", "arr", "name", "v*", "str", "hits*", "lv*", "whole*", "tca*", "ev.*"})
      tree->SetBranchStatus(used, true);
   tree->SetBranchAddress("event", &event);
   tree->SetBranchAddress("n", &n);
   tree->SetBranchAddress("x", x);
   tree->SetBranchAddress("arr", arr);
   tree->SetBranchAddress("name", name);
   tree->SetBranchAddress("vf", &vf);
   tree->SetBranchAddress("vvi", &vvi);
   tree->SetBranchAddress("vb", &vb);
   tree->SetBranchAddress("vs", &vs);
   tree->SetBranchAddress("str", &str);
   tree->SetBranchAddress("vlv", &vlv);
   tree->SetBranchAddress("hits", &hits);
   tree->SetBranchAddress("lv", &lv);
   tree->SetBranchAddress("whole", &whole);
   tree->SetBranchAddress("tca", &tca);
   tree->SetBranchAddress("wholeTca", &wholeTca);
   tree->SetBranchAddress("ev.", &ev);
   tree->SetBranchAddress("wholeEv", &wholeEv);
}

Bool_t Styles::Process(Long64_t entry)
{
   StyleSums sums{*fSums};
   if (fOption == "reader") {
      StyleReader &r = *fStyle;
      r.fReader.SetLocalEntry(entry);
      sums.one(*r.event % 1000);
      sums.all(r.x);
      sums.all(r.arr);
      sums.some([&](auto add) { // up to its end: behind that lies what is left of earlier entries, if they were read
         for (const char c : r.name) {
            if (!c) break;
            add(c);
         }
      });
      sums.all(r.vf);
      sums.nested(*r.vvi);
      sums.all(*r.vb);
      sums.one(r.vs.GetSize());
      sums.one(r.str->size());
      sums.some([&](auto add) {
         for (const auto &v : r.vlv)
            add(v.Pt());
      });
      sums.all(r.hitsE);
      sums.one(r.lv->Pt());
      sums.one(r.whole->Pt());
      sums.all(r.tcaE);
      sums.some([&](auto add) {
         for (const auto &v : r.tcaP)
            add(v.X());
      });
      sums.vectors(*r.wholeTca);
      sums.one(*r.evNumber % 1000);
      sums.all(r.evHitsId);
      sums.all(r.evMap);
      sums.one(r.evTag->size());
      sums.one(r.evP->Pt());
      sums.event(*r.wholeEv);
      return kTRUE;
   }
   fChain->GetTree()->GetEntry(entry);
   sums.one(event % 1000);
   sums.some([&](auto add) {
      for (int i = 0; i < n; ++i)
         add(x[i]);
   });
   sums.one(arr[0][1] + arr[2][0]);
   sums.one(std::atoi(name + 4));
   sums.all(*vf);
   sums.nested(*vvi);
   sums.all(*vb);
   sums.one(vs->size());
   sums.one(str->size());
   sums.some([&](auto add) {
      for (const auto &v : *vlv)
         add(v.Pt());
   });
   sums.hits(*hits);
   sums.one(lv->Pt());
   sums.one(whole->Pt());
   sums.vectors(*tca);
   sums.vectors(*wholeTca);
   sums.event(*ev);
   sums.event(*wholeEv);
   return kTRUE;
}
