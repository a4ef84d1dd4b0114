// drawing: draws on the pool and in this process, by all calls that a session has for it, and compares: of chains with
// a friend and an alias, of sets and names, into new histograms, those that there are, lists and no name at all.
#include "TChain.h"
#include "TDSet.h"
#include "TEntryList.h"
#include "TEventList.h"
#include "TFile.h"
#include "TFileCollection.h"
#include "TGraph.h"
#include "TH1.h"
#include "TH2.h"
#include "TH3.h"
#include "TObjString.h"
#include "TParameter.h"
#include "TProfile.h"
#include "TProof.h"
#include "TCanvas.h"
#include "TF1.h"
#include "TROOT.h"
#include "TSelectorEntries.h"
#include <cmath>
#include <memory>

int same(const char *what, TH1 *a, Long64_t n, TH1 *b, Long64_t m) {
  for (TH1 *h : {a, b})
    if (h) h->BufferEmpty(1);
  bool good = a && b && a->IsA() == b->IsA() && n == m && a->GetNcells() == b->GetNcells() && n > 0 &&
              a->GetEntries() == b->GetEntries() && std::abs(a->GetMean() - b->GetMean()) < 1e-9 &&
              a->GetXaxis()->GetXmin() == b->GetXaxis()->GetXmin() &&
              a->GetXaxis()->GetXmax() == b->GetXaxis()->GetXmax() && !strcmp(a->GetTitle(), b->GetTitle()) &&
              a->GetSumw2N() == b->GetSumw2N() && a->GetLineColor() == b->GetLineColor() &&
              !strcmp(a->GetXaxis()->GetTitle(), b->GetXaxis()->GetTitle());
  for (int i = 0; good && i < a->GetNcells(); ++i)
    good = std::abs(a->GetBinContent(i) - b->GetBinContent(i)) < 1e-6 * (1 + std::abs(b->GetBinContent(i))) &&
           std::abs(a->GetBinError(i) - b->GetBinError(i)) < 1e-6 * (1 + std::abs(b->GetBinError(i)));
  if (!good)
    printf("DIFFERENT %s: %lld and %lld rows, %g and %g entries\n", what, n, m, a ? a->GetEntries() : -1.,
           b ? b->GetEntries() : -1.);
  return good;
}

TChain *chainOf(const char *dir) {
  auto *c = new TChain("ev");
  for (int i = 0; i < 3; ++i)
    c->Add(TString::Format("%s/m%d.root", dir, i));
  c->SetAlias("twice", "event*2");
  c->SetAlias("number", "Entry$");
  auto *f = new TChain("fr");
  f->Add(TString::Format("%s/fr.root", dir)); // in other files than the chain
  c->AddFriend(f);
  c->SetLineColor(kRed);
  return c;
}

// What trees have beside Draw(): counted on the pool, or by ROOT here, but equal.
int counted(TChain *pool, TChain *here) {
  int good = 0;
  for (const char *cut : {"sub==3", "", "number%7==0 && event>50", "fr.x>1e9"})
    good += pool->GetEntries(cut) == here->GetEntries(cut);
  TSelectorEntries a("sub<4"), b("sub<4");
  pool->Process(&a);
  here->Process(&b);
  good += a.GetSelectedRows() == b.GetSelectedRows() && a.GetSelectedRows() > 0;
  TF1 line("line", "[0]+[1]*x", 0, 4000), other(line);
  good += pool->Fit("line", "event>>fit1(20,0,4000)", "sub<4", "Q0", "goff") == 0 &&
          here->Fit("line", "event>>fit2(20,0,4000)", "sub<4", "Q0", "goff") == 0;
  auto *f1 = gDirectory->Get<TH1>("fit1"), *f2 = gDirectory->Get<TH1>("fit2");
  good += f1 && f2 && f1->GetFunction("line")->GetParameter(1) == f2->GetFunction("line")->GetParameter(1);
  TF1 p("p", "exp(-x/[0])/[0]", 0, 10), q("q", "exp(-x/[0])/[0]", 0, 10);
  p.SetParameter(0, 3);
  q.SetParameter(0, 3);
  good += pool->UnbinnedFit("p", "sub", "", "Q") == here->UnbinnedFit("q", "sub", "", "Q") &&
          p.GetParameter(0) == q.GetParameter(0) && p.GetParameter(0) != 3;
  TH1 *shown[2];
  for (TChain *c : {pool, here}) {
    new TCanvas;
    c->Draw("event", "sub<7");
    c->Draw("event*1.01", "sub<4", "same");
    shown[c == here] = static_cast<TH1 *>(c->GetHistogram()->Clone("kept")); // htemp is deleted by the next
  }
  good += same("same", shown[0], 1, shown[1], 1);
  good += pool->Draw("sub:event:run:event", "event<40") == here->Draw("sub:event:run:event", "event<40") &&
          pool->GetV1() && pool->GetV1()[9] == here->GetV1()[9];
  TGraph *graphs[2];
  for (TChain *c : {pool, here}) {
    new TCanvas;
    c->Draw("sub:event>>scatter(10,0,4000,10,0,10)", "event%3==0");
    graphs[c == here] = dynamic_cast<TGraph *>(gPad->GetListOfPrimitives()->FindObject("Graph"));
    new TCanvas;
    c->Draw("sub:event", "event<40");
    good += c->GetHistogram()->GetEntries() == 0 && gPad->GetListOfPrimitives()->FindObject("Graph");
  }
  bool equal = graphs[0] && graphs[1] && graphs[0]->GetN() == graphs[1]->GetN() && graphs[0]->GetN() > 1000;
  for (int i = 0; equal && i < graphs[0]->GetN(); ++i)
    equal = graphs[0]->GetX()[i] == graphs[1]->GetX()[i] && graphs[0]->GetY()[i] == graphs[1]->GetY()[i];
  good += equal;
  return good;
}

void drawing(const char *dir) {
  if (!TProof::Open("")) return;
  TChain *pool = chainOf(dir), *here = chainOf(dir);
  pool->SetProof();
  const char *calls[][4] = {
    {"-sin(event)>>h1(50,-1,1)", "-run<-20", "", "h1"},
    {"sin(event)", "sub*0.5", "goff", ""},
    {"sub:sin(event)>>h3(20,-1,1,5,0,10)", "run%3", "colz", "h3"},
    {"cos(event):sub:sin(event)>>h5(5,-1,1,5,0,10,4,-1,1)", "", "goff", "h5"},
    {"event:sub>>p2(5,0,10)", "sub>2", "profs goff", "p2"},
    {"sin(event)>>e1(10,-1,1)", "", "e", "e1"},
    {"sin(event)>>booked", "sub<5", "goff", "booked"},
    {"cos(event)>>+booked", "", "", "booked"},
    {"cos(event)>>+added", "", "goff", "added"},
    {"sub:sin(event)>>booked2", "", "goff", "booked2"},
    {"event:sin(event)>>bookedp", "", "prof", "bookedp"},
    {"cos(event)>>h1(10,0,1)", "", "goff", "h1"},
    {"sub:cos(event)>>booked", "", "goff", "booked"},
    {"sub>>open", "event<900", "goff", "open"},
    {"twice+1>>al(40,0,8000)", "twice>10", "goff", "al"},
    {"fr.x-twice>>fr(40,-50,5000)", "fr.x>100", "goff", "fr"},
    {"Entry$>>n1", "Entry$%2==0 && number>1000", "goff", "n1"},
    {"Entries$-number>>n2(50,0,4000)", "", "goff", "n2"},
  };
  int all = 0, good = 0;
  auto *mine = new TDirectory("mine", "");
  auto *theirs = new TDirectory("theirs", "");
  for (TDirectory *d : {mine, theirs}) {
    d->cd();
    new TH1D("booked", "kept", 17, -1, 3);
    new TH2D("booked2", "kept", 7, -1, 3, 5, 0, 4);
    new TProfile("bookedp", "kept", 7, -1, 3, "s");
    new TH1F("open", "kept", 20, 0, 0);
    (new TH1D("added", "kept", 17, -1, 3))->Fill(1, 3);
  }
  for (auto &c : calls) {
    mine->cd();
    const Long64_t n = pool->Draw(c[0], c[1], c[2]);
    TH1 *a = c[3][0] ? mine->Get<TH1>(c[3]) : pool->GetHistogram();
    if (a) (a = static_cast<TH1 *>(a->Clone()))->SetDirectory(nullptr); // the next drawing may delete it
    theirs->cd();
    const Long64_t m = here->Draw(c[0], c[1], c[2]);
    TH1 *b = c[3][0] ? theirs->Get<TH1>(c[3]) : here->GetHistogram();
    ++all;
    good += same(c[0], a, n, b, m);
  }
  for (const char *option : {"", "entrylist"}) {
    mine->cd();
    TObject *a = nullptr, *b = nullptr;
    Long64_t n[2], m[2];
    for (int i = 0; i < 2; ++i) {
      const char *expression = i ? ">>+list" : ">>list", *cut = i ? "sub==3" : "event%11==2";
      mine->cd();
      n[i] = pool->Draw(expression, cut, option);
      theirs->cd();
      m[i] = here->Draw(expression, cut, option);
    }
    ++all;
    bool equal = n[0] == m[0] && n[1] == m[1];
    if (*option) {
      auto *l = mine->Get<TEntryList>("list"), *k = theirs->Get<TEntryList>("list");
      equal = equal && l && k && l->GetN() == k->GetN() && !strcmp(l->GetTitle(), k->GetTitle());
      pool->SetEntryList(l);
      here->SetEntryList(k);
    } else {
      auto *l = mine->Get<TEventList>("list"), *k = theirs->Get<TEventList>("list");
      equal = equal && l && k && l->GetN() == k->GetN() && !strcmp(l->GetTitle(), k->GetTitle());
      for (int i = 0; equal && i < l->GetN(); ++i)
        equal = l->GetEntry(i) == k->GetEntry(i);
      mine->cd();
      delete l;
      delete k;
    }
    if (!equal) printf("DIFFERENT list %s: %lld %lld, %lld %lld\n", option, n[0], m[0], n[1], m[1]);
    good += equal;
  }
  mine->cd();
  const Long64_t listed = pool->Draw("event>>listed(100,0,3277)", "", "goff");
  theirs->cd();
  const Long64_t listedHere = here->Draw("event>>listed(100,0,3277)", "", "goff");
  ++all;
  good += same("entry list", mine->Get<TH1>("listed"), listed, theirs->Get<TH1>("listed"), listedHere);
  printf("rows %d, values %d\n", pool->GetSelectedRows() == listed, pool->GetV1() != nullptr);
  TFile file("el.root", "RECREATE");
  theirs->Get("list")->Write();
  file.Close();
  theirs->cd();
  const Long64_t two = here->Draw("event>>two(50,0,3277)", "", "goff");
  TH1 *twoHere = theirs->Get<TH1>("two");
  twoHere->SetLineColor(602); // a set has no colours
  here->SetEntryList(nullptr);
  pool->SetEntryList(nullptr);
  printf("counted %d of 13, bad %lld\n", counted(pool, here), pool->GetEntries("nosuch>1"));

  auto *set = new TDSet("TTree", "ev");
  auto *files = new TFileCollection("evs");
  for (int i = 0; i < 3; ++i) {
    set->Add(TString::Format("%s/m%d.root", dir, i));
    files->Add(new TFileInfo(TString::Format("%s/m%d.root", dir, i)));
  }
  files->SetDefaultTreeName("/ev");
  gProof->RegisterDataSet("evs", files, "O");
  theirs->cd();
  const Long64_t m = here->Draw("sub:event%77>>set", "event>5", "goff");
  TH1 *b = theirs->Get<TH1>("set");
  b->SetLineColor(602); // a set has no colours
  mine->cd();
  Long64_t n = set->Draw("sub:event%77>>set", "event>5", "goff");
  good += same("TDSet::Draw", mine->Get<TH1>("set"), n, b, m);
  delete mine->Get("set");
  b->SetLineColor(602);
  n = gProof->DrawSelect(set, "sub:event%77>>set", "event>5", "goff");
  good += same("DrawSelect", mine->Get<TH1>("set"), n, b, m);
  n = gProof->DrawSelect("evs", "sub:event%77 >> set", "event>5", "goff");
  good += same("DrawSelect by name", mine->Get<TH1>("set"), n, b, m);
  for (int i = 0; i < 2; ++i) {
    TFileCollection some(i ? "evsb" : "evsa");
    for (int k = 2 * i; k < 2 + i; ++k)
      some.Add(new TFileInfo(TString::Format("%s/m%d.root", dir, k)));
    some.SetDefaultTreeName("/ev");
    gProof->RegisterDataSet(some.GetName(), &some);
  }
  n = gProof->DrawSelect("evsa<<el.root evsb?enl=el.root", "event>>two(50,0,3277)", "", "goff");
  good += same("two names with a list", mine->Get<TH1>("two"), n, twoHere, two);
  all += 4;
  printf("nothing %lld\n", pool->Draw("nosuch>>z", "", "goff"));
  printf("drawn %d, equal %d\n", all, good);
}

// Whether SETUP() has on the nodes what the list here has, and whether lists in the output come back.
void package(const char *par, const char *selector) {
  if (!TProof::Open("")) return;
  TList args;
  args.Add(new TNamed("Test.One", "2."));
  args.Add(new TNamed("Test.Equals", "a=b"));
  args.Add(new TObjString("x=y"));
  args.Add(new TParameter<double>("half", 0.5));
  gProof->UploadPackage(par);
  printf("enabled %d\n", gProof->EnablePackage("args", &args) == 0);
  gProof->Process(selector, 100LL);
  TList *out = gProof->GetOutputList();
  auto *seen = out ? dynamic_cast<TH1 *>(out->FindObject("seen")) : nullptr;
  auto *list = out ? dynamic_cast<TEntryList *>(out->FindObject("list")) : nullptr;
  auto *events = out ? dynamic_cast<TEventList *>(out->FindObject("events")) : nullptr;
  printf("seen %g, listed %lld and %d\n", seen ? seen->GetMean() : -1., list ? list->GetN() : -1,
         events ? events->GetN() : -1);
}
