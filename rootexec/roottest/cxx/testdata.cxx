// testdata makes small ROOT files for tests. Commands come on standard input, a line each:
//
//   events PATH TREE INDEX ENTRIES CLUSTER CLUSTER2  muons, jets and MET like the demo's events; TREE may
//                                                    lie in directories (a/b/Events). CLUSTER2 is the
//                                                    cluster size in the second half.
//   h42 PATH INDEX ENTRIES                           what ROOT's h1analysis tutorials read
//   baskets PATH TREE BRANCH                         prints "FIRST LAST SEEK BYTES" for each basket
//
// Branch "event" of events counts from INDEX * 10,000,000, so that no two entries of a chain are equal.

#include <TBranch.h>
#include <TDirectory.h>
#include <TFile.h>
#include <TKey.h>
#include <TRandom3.h>
#include <TTree.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

namespace {

constexpr int kMax = 16;

struct Event {
   ULong64_t event;
   UInt_t nMuon, nJet;
   Float_t pt[kMax], eta[kMax], phi[kMax], mass[kMax], iso[kMax];
   Int_t charge[kMax];
   Bool_t tight[kMax];
   Float_t jetPt[kMax], jetEta[kMax], jetPhi[kMax];
   Float_t met, metPhi, metSumEt;
   UInt_t run, block;
   Int_t vertices, jetId[kMax];
   Bool_t trigger;
   Float_t jetMass[kMax], jetBtag[kMax];
};

void book(TTree &t, Event &e)
{
   t.Branch("event", &e.event, "event/l");
   t.Branch("nMuon", &e.nMuon, "nMuon/i");
   t.Branch("Muon_pt", e.pt, "Muon_pt[nMuon]/F");
   t.Branch("Muon_eta", e.eta, "Muon_eta[nMuon]/F");
   t.Branch("Muon_phi", e.phi, "Muon_phi[nMuon]/F");
   t.Branch("Muon_mass", e.mass, "Muon_mass[nMuon]/F");
   t.Branch("Muon_charge", e.charge, "Muon_charge[nMuon]/I");
   t.Branch("Muon_pfRelIso04_all", e.iso, "Muon_pfRelIso04_all[nMuon]/F");
   t.Branch("Muon_tightId", e.tight, "Muon_tightId[nMuon]/O");
   t.Branch("nJet", &e.nJet, "nJet/i");
   t.Branch("Jet_pt", e.jetPt, "Jet_pt[nJet]/F");
   t.Branch("Jet_eta", e.jetEta, "Jet_eta[nJet]/F");
   t.Branch("Jet_phi", e.jetPhi, "Jet_phi[nJet]/F");
   t.Branch("MET_pt", &e.met, "MET_pt/F");
   // no selector here looks at these, but one with SetBranchAddress wants to find them
   t.Branch("run", &e.run, "run/i");
   t.Branch("luminosityBlock", &e.block, "luminosityBlock/i");
   t.Branch("PV_npvs", &e.vertices, "PV_npvs/I");
   t.Branch("HLT_IsoMu24", &e.trigger, "HLT_IsoMu24/O");
   t.Branch("Jet_mass", e.jetMass, "Jet_mass[nJet]/F");
   t.Branch("Jet_btagDeepFlavB", e.jetBtag, "Jet_btagDeepFlavB[nJet]/F");
   t.Branch("Jet_jetId", e.jetId, "Jet_jetId[nJet]/I");
   t.Branch("MET_phi", &e.metPhi, "MET_phi/F");
   t.Branch("MET_sumEt", &e.metSumEt, "MET_sumEt/F");
}

void draw(TRandom3 &r, Event &e)
{
   e.nMuon = std::min<int>(r.Poisson(1.6), kMax);
   for (UInt_t i = 0; i < e.nMuon; ++i) {
      e.pt[i] = 5 + r.Exp(25);
      e.eta[i] = r.Uniform(-2.4, 2.4);
      e.phi[i] = r.Uniform(-3.14159, 3.14159);
      e.mass[i] = 0.10566;
      e.charge[i] = r.Rndm() < 0.5 ? 1 : -1;
      e.iso[i] = r.Exp(0.1);
      e.tight[i] = r.Rndm() < 0.9;
   }
   e.nJet = std::min<int>(r.Poisson(3), kMax);
   for (UInt_t i = 0; i < e.nJet; ++i) {
      e.jetPt[i] = 15 + r.Exp(30);
      e.jetEta[i] = r.Gaus(0, 2);
      e.jetPhi[i] = r.Uniform(-3.14159, 3.14159);
   }
   e.met = r.Exp(20);
}

// place makes the directories of a/b/Events, goes there, and returns Events.
std::string place(TFile &f, const std::string &path)
{
   const auto slash = path.find_last_of('/');
   if (slash == std::string::npos)
      return path;
   f.mkdir(path.substr(0, slash).c_str());
   f.cd(path.substr(0, slash).c_str());
   return path.substr(slash + 1);
}

bool events(std::istream &args)
{
   std::string path, treePath;
   int index = 0;
   Long64_t entries = 0, cluster = 0, cluster2 = 0;
   if (!(args >> path >> treePath >> index >> entries >> cluster >> cluster2))
      return false;
   TFile f(path.c_str(), "RECREATE");
   if (f.IsZombie())
      return false;
   const std::string name = place(f, treePath);
   auto *tree = new TTree(name.c_str(), "test events"); // the file owns it
   tree->SetAutoFlush(cluster);
   Event e{};
   book(*tree, e);
   TRandom3 r(1000 + index);
   for (Long64_t i = 0; i < entries; ++i) {
      if (i == entries / 2 && cluster2 != cluster) {
         tree->FlushBaskets();
         tree->SetAutoFlush(cluster2);
      }
      e.event = ULong64_t(index) * 10000000 + i;
      draw(r, e);
      tree->Fill();
   }
   tree->Write();
   f.Close();
   return true;
}

struct H42 {
   Float_t ptds, etads, dm, ptd0, md0, rpd0;
   Int_t ik, ipi, ipis, ntracks, njets;
   Int_t nhitrp[200];
   Float_t rstart[200], rend[200], nlhk[200], nlhpi[200];
};

void book(TTree &t, H42 &h)
{
   t.Branch("ptds_d", &h.ptds, "ptds_d/F");
   t.Branch("etads_d", &h.etads, "etads_d/F");
   t.Branch("dm_d", &h.dm, "dm_d/F");
   t.Branch("ik", &h.ik, "ik/I");
   t.Branch("ipi", &h.ipi, "ipi/I");
   t.Branch("ipis", &h.ipis, "ipis/I");
   t.Branch("ptd0_d", &h.ptd0, "ptd0_d/F");
   t.Branch("md0_d", &h.md0, "md0_d/F");
   t.Branch("rpd0_t", &h.rpd0, "rpd0_t/F");
   t.Branch("ntracks", &h.ntracks, "ntracks/I");
   t.Branch("nhitrp", h.nhitrp, "nhitrp[ntracks]/I");
   t.Branch("rstart", h.rstart, "rstart[ntracks]/F");
   t.Branch("rend", h.rend, "rend[ntracks]/F");
   t.Branch("nlhk", h.nlhk, "nlhk[ntracks]/F");
   t.Branch("nlhpi", h.nlhpi, "nlhpi[ntracks]/F");
   t.Branch("njets", &h.njets, "njets/I");
}

// draw fills one entry so that a few in a hundred pass the tutorial's cuts, with a D* peak in dm_d.
void draw(TRandom3 &r, H42 &h)
{
   h.md0 = r.Gaus(1.8646, 0.06);
   h.ptds = 1.5 + r.Exp(2);
   h.etads = r.Uniform(-2.5, 2.5);
   h.dm = r.Rndm() < 0.4 ? r.Gaus(0.1454, 0.0012) : 0.1396 + 0.0304 * std::sqrt(r.Rndm());
   h.ptd0 = 2 + r.Exp(3);
   h.rpd0 = r.Exp(0.01);
   h.ntracks = 3 + std::min<int>(r.Poisson(9), 190);
   h.ik = 1 + r.Integer(h.ntracks); // counted from 1, as in Fortran
   h.ipi = 1 + r.Integer(h.ntracks);
   h.ipis = 1 + r.Integer(h.ntracks);
   for (int i = 0; i < h.ntracks; ++i) {
      h.nhitrp[i] = r.Integer(20);
      h.rstart[i] = r.Uniform(20, 30);
      h.rend[i] = h.rstart[i] + r.Uniform(10, 60);
      h.nlhk[i] = r.Rndm();
      h.nlhpi[i] = r.Rndm();
   }
   h.njets = r.Poisson(1);
}

bool h42(std::istream &args)
{
   std::string path;
   int index = 0;
   Long64_t entries = 0;
   if (!(args >> path >> index >> entries))
      return false;
   TFile f(path.c_str(), "RECREATE");
   if (f.IsZombie())
      return false;
   auto *tree = new TTree("h42", "H1-like test data");
   tree->SetAutoFlush(20000);
   H42 h;
   book(*tree, h);
   TRandom3 r(42 + index);
   for (Long64_t i = 0; i < entries; ++i) {
      draw(r, h);
      tree->Fill();
   }
   tree->Write();
   f.Close();
   return true;
}

bool baskets(std::istream &args)
{
   std::string path, tree, branch;
   if (!(args >> path >> tree >> branch))
      return false;
   std::unique_ptr<TFile> f(TFile::Open(path.c_str()));
   auto *t = f ? f->Get<TTree>(tree.c_str()) : nullptr;
   auto *b = t ? t->GetBranch(branch.c_str()) : nullptr;
   if (!b)
      return false;
   const int n = b->GetWriteBasket();
   for (int i = 0; i < n; ++i) {
      const Long64_t last = i + 1 < n ? b->GetBasketEntry()[i + 1] : t->GetEntries();
      std::printf("%lld %lld %lld %d\n", b->GetBasketEntry()[i], last, b->GetBasketSeek(i), b->GetBasketBytes()[i]);
   }
   return true;
}

} // namespace

int main()
{
   std::string line;
   while (std::getline(std::cin, line)) {
      std::istringstream args(line);
      std::string command;
      args >> command;
      const bool done = command == "events" ? events(args)
                        : command == "h42"  ? h42(args)
                                            : command == "baskets" && baskets(args);
      if (!done) {
         std::fprintf(stderr, "testdata: could not do: %s\n", line.c_str());
         return 1;
      }
   }
   return 0;
}
