// make_events writes one file of the demo's data set: a tree "Events" laid out like CMS NanoAOD (event
// numbers, jagged muons and jets, MET), with a Z peak in the dimuon mass over a falling continuum.
//
//   root -b -q 'make_events.C+("events_0.root", 0, 500000)'
//
// The content follows from the file's index and the number of events alone: one TRandom3 a file.

#include "Compression.h"
#include "TFile.h"
#include "TMath.h"
#include "TRandom3.h"
#include "TTree.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

constexpr int kMax = 32;                // room for objects of one kind in an event
constexpr Long64_t kCluster = 50000;    // entries in a cluster of the tree
constexpr float kMuonMass = 0.10566f;   // GeV

// reduce rounds x to the given number of mantissa bits, as NanoAOD does to compress well.
float reduce(double x, int bits)
{
   float f = x;
   unsigned u;
   std::memcpy(&u, &f, 4);
   u += 1u << (22 - bits);
   u &= ~0u << (23 - bits);
   std::memcpy(&f, &u, 4);
   return f;
}

struct Momentum {
   double pt, eta, phi;
   int charge;
};

struct Event {
   UInt_t run, luminosityBlock;
   ULong64_t event;
   Int_t npvs;
   Bool_t trigger;
   UInt_t nMuon;
   Float_t muonPt[kMax], muonEta[kMax], muonPhi[kMax], muonMass[kMax], muonIso[kMax];
   Int_t muonCharge[kMax];
   Bool_t muonTight[kMax];
   UInt_t nJet;
   Float_t jetPt[kMax], jetEta[kMax], jetPhi[kMax], jetMass[kMax], jetBtag[kMax];
   Int_t jetId[kMax];
   Float_t metPt, metPhi, metSumEt;
};

void book(TTree &t, Event &e)
{
   t.Branch("run", &e.run, "run/i");
   t.Branch("luminosityBlock", &e.luminosityBlock, "luminosityBlock/i");
   t.Branch("event", &e.event, "event/l");
   t.Branch("PV_npvs", &e.npvs, "PV_npvs/I");
   t.Branch("HLT_IsoMu24", &e.trigger, "HLT_IsoMu24/O");
   t.Branch("nMuon", &e.nMuon, "nMuon/i");
   t.Branch("Muon_pt", e.muonPt, "Muon_pt[nMuon]/F");
   t.Branch("Muon_eta", e.muonEta, "Muon_eta[nMuon]/F");
   t.Branch("Muon_phi", e.muonPhi, "Muon_phi[nMuon]/F");
   t.Branch("Muon_mass", e.muonMass, "Muon_mass[nMuon]/F");
   t.Branch("Muon_charge", e.muonCharge, "Muon_charge[nMuon]/I");
   t.Branch("Muon_pfRelIso04_all", e.muonIso, "Muon_pfRelIso04_all[nMuon]/F");
   t.Branch("Muon_tightId", e.muonTight, "Muon_tightId[nMuon]/O");
   t.Branch("nJet", &e.nJet, "nJet/i");
   t.Branch("Jet_pt", e.jetPt, "Jet_pt[nJet]/F");
   t.Branch("Jet_eta", e.jetEta, "Jet_eta[nJet]/F");
   t.Branch("Jet_phi", e.jetPhi, "Jet_phi[nJet]/F");
   t.Branch("Jet_mass", e.jetMass, "Jet_mass[nJet]/F");
   t.Branch("Jet_btagDeepFlavB", e.jetBtag, "Jet_btagDeepFlavB[nJet]/F");
   t.Branch("Jet_jetId", e.jetId, "Jet_jetId[nJet]/I");
   t.Branch("MET_pt", &e.metPt, "MET_pt/F");
   t.Branch("MET_phi", &e.metPhi, "MET_phi/F");
   t.Branch("MET_sumEt", &e.metSumEt, "MET_sumEt/F");
}

double wrap(double phi)
{
   return std::remainder(phi, TMath::TwoPi());
}

// decay adds the two muons of a resonance of the given mass, transverse momentum and rapidity.
void decay(TRandom3 &r, double mass, double pt, double y, std::vector<Momentum> &out)
{
   const double phi = r.Uniform(-TMath::Pi(), TMath::Pi());
   const double mt = std::hypot(mass, pt);
   const double px = pt * std::cos(phi), py = pt * std::sin(phi);
   const double pz = mt * std::sinh(y), energy = mt * std::cosh(y);
   const double bx = px / energy, by = py / energy, bz = pz / energy;
   const double gamma = energy / mass, c = gamma * gamma / (1 + gamma);

   const double cosTheta = r.Uniform(-1, 1), sinTheta = std::sqrt(1 - cosTheta * cosTheta);
   const double azimuth = r.Uniform(-TMath::Pi(), TMath::Pi());
   const double k = mass / 2; // the muon's own mass is nothing here
   const double qx = k * sinTheta * std::cos(azimuth), qy = k * sinTheta * std::sin(azimuth);
   const double qz = k * cosTheta;

   const int charge = r.Rndm() < 0.5 ? 1 : -1;
   for (int sign : {1, -1}) {
      const double bq = sign * (bx * qx + by * qy + bz * qz);
      const double x = sign * qx + c * bq * bx + gamma * k * bx;
      const double yy = sign * qy + c * bq * by + gamma * k * by;
      const double z = sign * qz + c * bq * bz + gamma * k * bz;
      const double p = std::hypot(x, yy);
      out.push_back({p * (1 + 0.012 * r.Gaus()), std::asinh(z / p), std::atan2(yy, x), sign * charge});
   }
}

void single(TRandom3 &r, double scale, std::vector<Momentum> &out)
{
   out.push_back({3 + r.Exp(scale), r.Uniform(-2.4, 2.4), r.Uniform(-TMath::Pi(), TMath::Pi()),
                  r.Rndm() < 0.5 ? 1 : -1});
}

double zMass(TRandom3 &r)
{
   double m;
   do
      m = r.BreitWigner(91.1876, 2.4952);
   while (m < 50 || m > 150);
   return m;
}

// muons draws the event's muons: Z, falling continuum, W-like, soft, or none.
void muons(TRandom3 &r, std::vector<Momentum> &out)
{
   out.clear();
   const double kind = r.Rndm();
   if (kind < 0.18)
      decay(r, zMass(r), r.Exp(14), r.Uniform(-2.2, 2.2), out);
   else if (kind < 0.58)
      decay(r, std::min(14 * std::pow(1 - r.Rndm(), -0.6), 900.), r.Exp(9), r.Uniform(-2.3, 2.3), out);
   else if (kind < 0.82)
      single(r, 25, out);
   for (auto extra = r.Poisson(0.5); extra > 0; --extra)
      single(r, 5, out);
   out.erase(std::remove_if(out.begin(), out.end(),
                            [](const Momentum &m) { return m.pt < 3 || std::abs(m.eta) > 2.4; }),
             out.end());
   if (out.size() > kMax)
      out.resize(kMax);
   std::sort(out.begin(), out.end(), [](const Momentum &a, const Momentum &b) { return a.pt > b.pt; });
}

void fillMuons(TRandom3 &r, const std::vector<Momentum> &in, Event &e)
{
   e.nMuon = in.size();
   e.trigger = false;
   for (UInt_t i = 0; i < e.nMuon; ++i) {
      e.muonPt[i] = reduce(in[i].pt, 12);
      e.muonEta[i] = reduce(in[i].eta, 12);
      e.muonPhi[i] = reduce(wrap(in[i].phi), 12);
      e.muonMass[i] = kMuonMass;
      e.muonCharge[i] = in[i].charge;
      e.muonIso[i] = reduce(r.Exp(0.06), 8);
      e.muonTight[i] = r.Rndm() < 0.93;
      e.trigger |= in[i].pt > 24 && e.muonIso[i] < 0.15;
   }
}

void fillJets(TRandom3 &r, Event &e)
{
   double pt[kMax];
   e.nJet = std::min<ULong64_t>(r.Poisson(4.5), kMax);
   for (UInt_t i = 0; i < e.nJet; ++i)
      pt[i] = std::min(15 * std::pow(1 - r.Rndm(), -0.45), 3000.);
   std::sort(pt, pt + e.nJet, [](double a, double b) { return a > b; });
   e.metSumEt = 0;
   for (UInt_t i = 0; i < e.nJet; ++i) {
      e.jetPt[i] = reduce(pt[i], 10);
      e.jetEta[i] = reduce(std::max(-4.7, std::min(4.7, r.Gaus(0, 1.9))), 10);
      e.jetPhi[i] = reduce(r.Uniform(-TMath::Pi(), TMath::Pi()), 10);
      e.jetMass[i] = reduce(pt[i] * (0.08 + r.Exp(0.05)), 10);
      e.jetBtag[i] = reduce(r.Rndm() < 0.1 ? 1 - r.Exp(0.1) : r.Exp(0.05), 8);
      e.jetId[i] = r.Rndm() < 0.95 ? 6 : 0;
      e.metSumEt += e.jetPt[i];
   }
   e.metSumEt = reduce(e.metSumEt + r.Exp(300), 10);
   e.metPt = reduce(std::hypot(r.Gaus(0, 18), r.Gaus(0, 18)), 10);
   e.metPhi = reduce(r.Uniform(-TMath::Pi(), TMath::Pi()), 10);
}

} // namespace

// make_events returns 0 when the file is complete. It says "events N" on its way, for progress.
int make_events(const char *path, int index, Long64_t events)
{
   TFile file(path, "RECREATE", "demo events");
   if (file.IsZombie())
      return 1;
   file.SetCompressionSettings(ROOT::CompressionSettings(ROOT::RCompressionSetting::EAlgorithm::kZSTD, 3));

   Event e;
   TTree tree("Events", "Events");
   tree.SetAutoFlush(kCluster);
   tree.SetAutoSave(0);
   book(tree, e);

   TRandom3 r(4357 + index); // 0 would seed from the clock
   std::vector<Momentum> found;
   for (Long64_t i = 0; i < events; ++i) {
      e.run = 362000 + index;
      e.luminosityBlock = 1 + i / 1000;
      e.event = ULong64_t(index) * events + i + 1;
      e.npvs = 1 + r.Poisson(32);
      muons(r, found);
      fillMuons(r, found, e);
      fillJets(r, e);
      if (tree.Fill() < 0)
         return 1;
      if ((i + 1) % kCluster == 0) {
         std::printf("events %lld\n", i + 1);
         std::fflush(stdout);
      }
   }
   tree.Write("", TObject::kOverwrite);
   const bool bad = file.TestBit(TFile::kWriteError);
   tree.SetDirectory(nullptr);
   file.Close();
   return bad ? 1 : 0;
}
