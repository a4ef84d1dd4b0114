// MakeStyles writes a file with the tree "deep/styles": a branch of each kind that selectors read.

#include "StyleEvent.h"

#include <TFile.h>
#include <TRandom3.h>
#include <TTree.h>

#include <algorithm>
#include <cstdio>

namespace {

struct StyleRow {
   ULong64_t event = 0;
   Int_t n = 0;
   Float_t x[20] = {};
   Double_t arr[3][2] = {};
   Char_t name[32] = {};
   std::vector<float> vf;
   std::vector<std::vector<int>> vvi;
   std::vector<bool> vb;
   std::vector<std::string> vs;
   std::string str;
   std::vector<TLorentzVector> vlv;
   std::vector<StyleHit> hits;
   TLorentzVector *lv = new TLorentzVector, *whole = new TLorentzVector;
   TClonesArray *tca = new TClonesArray("TLorentzVector"), *wholeTca = new TClonesArray("TLorentzVector");
   StyleEvent *ev = new StyleEvent, *wholeEv = new StyleEvent;
};

void book(TTree &t, StyleRow &r)
{
   t.Branch("event", &r.event, "event/l");
   t.Branch("n", &r.n, "n/I");
   t.Branch("x", r.x, "x[n]/F");
   t.Branch("arr", r.arr, "arr[3][2]/D");
   t.Branch("name", r.name, "name/C");
   t.Branch("vf", &r.vf);
   t.Branch("vvi", &r.vvi);
   t.Branch("vb", &r.vb);
   t.Branch("vs", &r.vs);
   t.Branch("str", &r.str);
   t.Branch("vlv", &r.vlv);
   t.Branch("hits", &r.hits);
   t.Branch("lv", &r.lv);
   t.Branch("whole", &r.whole, 32000, 0);
   t.Branch("tca", &r.tca);
   t.Branch("wholeTca", &r.wholeTca, 32000, 0);
   t.Branch("ev.", &r.ev);
   t.Branch("wholeEv", &r.wholeEv, 32000, 0);
}

void draw(TRandom3 &g, TClonesArray &a, int n)
{
   a.Clear();
   for (int i = 0; i < n; ++i)
      new (a[i]) TLorentzVector(g.Gaus(), g.Gaus(), g.Gaus(), 9);
}

void draw(TRandom3 &g, const StyleRow &r, StyleEvent &e)
{
   e.fNumber = r.event;
   e.fN = g.Poisson(2);
   delete[] e.fW;
   e.fW = new Float_t[e.fN + 1];
   for (int i = 0; i < e.fN; ++i)
      e.fW[i] = g.Rndm();
   e.fHits = r.hits;
   e.fNested.assign(g.Poisson(2), {});
   for (auto &v : e.fNested)
      v.assign(g.Poisson(1), g.Rndm());
   e.fMap.clear();
   for (int i = 0; i < 3; ++i)
      e.fMap[g.Integer(10)] = g.Rndm();
   e.fTag = std::string(g.Integer(12), 'q');
   e.fP = *r.lv;
   draw(g, *e.fTracks, r.n % 4);
   for (auto &flag : e.fFlags)
      flag = g.Rndm() < 0.5;
}

void draw(TRandom3 &g, StyleRow &r)
{
   r.n = std::min<int>(g.Poisson(4), 20);
   for (int i = 0; i < r.n; ++i)
      r.x[i] = g.Gaus();
   for (auto &row : r.arr)
      for (auto &v : row)
         v = g.Rndm();
   std::snprintf(r.name, sizeof r.name, "name%d", static_cast<int>(g.Integer(1000)));
   r.vf.assign(g.Poisson(3), g.Rndm());
   r.vvi.assign(g.Poisson(2), {});
   for (auto &v : r.vvi)
      v.assign(g.Poisson(2), g.Integer(100));
   r.vb.assign(g.Poisson(5), false);
   for (size_t i = 0; i < r.vb.size(); ++i)
      r.vb[i] = g.Rndm() < 0.3;
   r.vs.assign(g.Poisson(2), std::string(g.Integer(5), 's'));
   r.str = std::string(g.Integer(9), 't');
   r.lv->SetPtEtaPhiM(g.Exp(20), g.Gaus(), g.Uniform(-3, 3), 0.1);
   *r.whole = *r.lv;
   *r.whole *= 2;
   r.vlv.assign(r.n % 3, *r.lv);
   draw(g, *r.tca, r.n % 5);
   draw(g, *r.wholeTca, r.n % 5);
   r.hits.assign(r.n % 3, {});
   for (auto &h : r.hits) {
      h.fId = g.Integer(9);
      for (auto &v : h.fX)
         v = g.Rndm();
      h.fE = 1000 * g.Rndm();
      h.fAdc.assign(g.Poisson(2), g.Integer(50));
   }
   draw(g, r, *r.ev);
   draw(g, r, *r.wholeEv);
}

} // namespace

void MakeStyles(const char *path, int index, int entries, int cluster)
{
   TFile f(path, "RECREATE");
   f.mkdir("deep")->cd();
   auto *tree = new TTree("styles", ""); // the file owns it
   tree->SetAutoFlush(cluster);
   static StyleRow row;
   book(*tree, row);
   TRandom3 g(100 + index);
   for (int i = 0; i < entries; ++i) {
      row.event = index * 10000000ULL + i;
      draw(g, row);
      tree->Fill();
   }
   tree->Write();
   f.Close();
}
