// Merges has one object of every class of ROOT's that merges in its output, and some that do not, each filled by
// a function of the branch "event". The option "only NAME NAME..." makes those objects alone.

#include <TBits.h>
#include <TChain.h>
#include <TClonesArray.h>
#include <TCutG.h>
#include <TEfficiency.h>
#include <TEntryList.h>
#include <TEventList.h>
#include <TExMap.h>
#include <TFileCollection.h>
#include <TFileInfo.h>
#include <TFolder.h>
#include <TGraph2D.h>
#include <TGraphAsymmErrors.h>
#include <TGraphBentErrors.h>
#include <TGraphErrors.h>
#include <TGraphPolar.h>
#include <TH2.h>
#include <TH2Poly.h>
#include <TH3.h>
#include <THashList.h>
#include <THashTable.h>
#include <THn.h>
#include <THnSparse.h>
#include <THStack.h>
#include <TLinearFitter.h>
#include <TList.h>
#include <TLorentzVector.h>
#include <TMacro.h>
#include <TMap.h>
#include <TMatrixD.h>
#include <TMultiGraph.h>
#include <TNtuple.h>
#include <TNtupleD.h>
#include <TObjArray.h>
#include <TObjString.h>
#include <TOrdCollection.h>
#include <TParameter.h>
#include <TPolyLine.h>
#include <TPolyLine3D.h>
#include <TPolyMarker.h>
#include <TPolyMarker3D.h>
#include <TProfile.h>
#include <TProfile2D.h>
#include <TProfile2Poly.h>
#include <TProfile3D.h>
#include <TROOT.h>
#include <TRefArray.h>
#include <TSelector.h>
#include <TSelectorScalar.h>
#include <TSortedList.h>
#include <TStatistic.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>
#include <TVectorD.h>

#include <functional>
#include <string>
#include <vector>

class Merges : public TSelector {
 public:
   using Fill = std::function<void(double x, Long64_t id)>; // x is in [-1, 1)

   TTreeReader fReader;                                     //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"}; //!
   std::vector<Fill> fFills;                                //!
   TString fOnly;                                           //!
   TEntryList *fEntries = nullptr;                          //!
   TTree *fTree = nullptr;                                  //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override
   {
      fTree = tree;
      fReader.SetTree(tree);
   }
   Bool_t Notify() override
   {
      if (fEntries)
         fEntries->SetTree(fTree->GetTree());
      return kTRUE;
   }
   Bool_t Process(Long64_t entry) override;

 private:
   // add puts the object into the output, to be filled by f, if the option does not leave its name out.
   template <class T>
   void add(T *o, std::function<void(T &, double, Long64_t)> f)
   {
      if (fOnly != "" && !(" " + fOnly + " ").Contains(TString(" ") + o->GetName() + " ")) {
         delete o;
         return;
      }
      fOutput->Add(o);
      fFills.push_back([o, f](double x, Long64_t id) { f(*o, x, id); });
   }
   template <class T>
   T *named(T *o, const char *name)
   {
      o->SetName(name);
      return o;
   }
   void histograms();
   void sparse();
   void graphs();
   void collections();
   void lists();
   void others();
   void unmergeable();

   ClassDefOverride(Merges, 0);
};

#define ADD(T, make, ...) \
   add<T>(make, [](T & o, double x, Long64_t id) { (void)o; (void)x; (void)id; __VA_ARGS__; })

void Merges::SlaveBegin(TTree *)
{
   const TString option = GetOption();
   if (option.BeginsWith("only "))
      fOnly = option(5, option.Length());
   histograms();
   sparse();
   graphs();
   collections();
   lists();
   others();
   unmergeable();
}

void Merges::histograms()
{
#define HISTOGRAMS(X)                                                                              \
   ADD(TH1##X, new TH1##X("h1" #X, "", 40, -1, 1), o.Fill(x));                                     \
   ADD(TH2##X, new TH2##X("h2" #X, "", 10, -1, 1, 7, 0, 7), o.Fill(x, id % 7));                    \
   ADD(TH3##X, new TH3##X("h3" #X, "", 4, -1, 1, 7, 0, 7, 5, 0, 5), o.Fill(x, id % 7, id % 5))
   HISTOGRAMS(C);
   HISTOGRAMS(S);
   HISTOGRAMS(I);
   HISTOGRAMS(F);
   HISTOGRAMS(D);
   HISTOGRAMS(L);
   ADD(TH1D, new TH1D("h1w", "weighted", 40, -0.5, 1), o.Fill(x, id % 3));
   ADD(TH1D, new TH1D("h1zero", "no weight at all", 40, -1, 1), o.Fill(x, 0));
   ADD(TH1D, new TH1D("h1rare", "", 40, -1, 1), if (id % 977 == 0) o.Fill(x));
   ADD(TProfile, new TProfile("p1", "", 20, -1, 1), o.Fill(x, id % 11));
   ADD(TProfile, new TProfile("p1s", "", 20, -1, 1, "s"), o.Fill(x, id % 11, id % 3));
   ADD(TProfile2D, new TProfile2D("p2", "", 10, -1, 1, 7, 0, 7), o.Fill(x, id % 7, id % 11));
   ADD(TProfile3D, new TProfile3D("p3", "", 4, -1, 1, 7, 0, 7, 5, 0, 5), o.Fill(x, id % 7, id % 5, id % 11));
   ADD(TEfficiency, new TEfficiency("eff", "", 20, -1, 1), o.Fill(id % 3 == 0, x));
   ADD(TEfficiency, new TEfficiency("eff2", "", 10, -1, 1, 7, 0, 7), o.Fill(id % 3 == 0, x, id % 7));
   auto *poly = new TH2Poly("poly", "", -1, 1, 0, 7);
   poly->AddBin(-1, 0, 0, 7);
   poly->AddBin(0, 0, 0.75, 7);
   ADD(TH2Poly, poly, o.Fill(x, id % 7));
   auto *profile = new TProfile2Poly("profpoly", "", -1, 1, 0, 7);
   profile->AddBin(-1, 0, 0, 7);
   profile->AddBin(0, 0, 0.75, 7);
   ADD(TProfile2Poly, profile, o.Fill(x, id % 7, id % 11));
}

void Merges::sparse()
{
   const Int_t bins[] = {10, 7, 5};
   const Double_t low[] = {-1, 0, 0}, high[] = {1, 7, 5};
#define SPARSE(T, name) \
   ADD(T, new T(name, "", 3, bins, low, high), const double at[] = {x, double(id % 7), double(id % 5)}; o.Fill(at))
   SPARSE(THnSparseC, "sparseC");
   SPARSE(THnSparseS, "sparseS");
   SPARSE(THnSparseI, "sparseI");
   SPARSE(THnSparseL, "sparseL");
   SPARSE(THnSparseF, "sparseF");
   SPARSE(THnSparseD, "sparseD");
   SPARSE(THnC, "hnC");
   SPARSE(THnS, "hnS");
   SPARSE(THnI, "hnI");
   SPARSE(THnL, "hnL");
   SPARSE(THnF, "hnF");
   SPARSE(THnD, "hnD");
}

void Merges::graphs()
{
   ADD(TGraph, named(new TGraph, "graph"), o.SetPoint(o.GetN(), x, id));
   ADD(TGraphErrors, named(new TGraphErrors, "graphE"), const int n = o.GetN(); o.SetPoint(n, x, id);
       o.SetPointError(n, 0.1 * x, id % 5));
   ADD(TGraphAsymmErrors, named(new TGraphAsymmErrors, "graphA"), const int n = o.GetN(); o.SetPoint(n, x, id);
       o.SetPointError(n, 0.1, 0.2, x, id % 5));
   ADD(TGraphBentErrors, named(new TGraphBentErrors, "graphB"), const int n = o.GetN(); o.SetPoint(n, x, id);
       o.SetPointError(n, 0.1, 0.2, x, id % 5, 1, 2, 3, x));
   ADD(TGraph2D, named(new TGraph2D, "graph2d"), if (id % 9 == 0) o.SetPoint(o.GetN(), x, id, 1));
   auto *multi = new TMultiGraph("multi", "");
   multi->Add(named(new TGraph, "even"));
   multi->Add(named(new TGraphErrors, "odd"), "P");
   ADD(TMultiGraph, multi, auto *g = static_cast<TGraph *>(o.GetListOfGraphs()->At(id % 2));
       g->SetPoint(g->GetN(), x, id));
   auto *stack = new THStack("stack", "");
   for (const char *name : {"s0", "s1", "s2"})
      stack->Add(new TH1F(name, "", 20, -1, 1));
   ADD(THStack, stack, static_cast<TH1 *>(o.GetHists()->At(id % 3))->Fill(x));
   ADD(TPolyMarker, new TPolyMarker, o.SetNextPoint(x, id));
   ADD(TPolyMarker3D, named(new TPolyMarker3D, "marks3"), o.SetNextPoint(x, id, id % 5));
   ADD(TPolyLine, new TPolyLine, o.SetNextPoint(x, id));
   ADD(TPolyLine3D, new TPolyLine3D, o.SetNextPoint(x, id, id % 5));
}

void Merges::collections()
{
   ADD(TClonesArray, named(new TClonesArray("TLorentzVector"), "clones"),
       if (id % 3 == 0) new (o[o.GetEntriesFast()]) TLorentzVector(x, id, 0, 1));
   ADD(TClonesArray, named(new TClonesArray("TObjString"), "strings"),
       if (id % 50 == 0) new (o[o.GetEntriesFast()]) TObjString(TString::Format("event %lld", id)));
   auto *holes = named(new TObjArray(10), "holes");
   holes->SetOwner();
   ADD(TObjArray, holes, const int at = int(id % 10);
       if (!o.At(at)) o.AddAt(new TH1I(TString::Format("slot%d", at), "", 20, -1, 1), at);
       static_cast<TH1 *>(o.At(at))->Fill(x));
   auto *tree = named(new TList, "nest");
   auto *inner = named(new THashList, "inner");
   auto *array = named(new TClonesArray("TLorentzVector"), "deep");
   inner->Add(array);
   inner->Add(new TH1F("hdeep", "", 20, -1, 1));
   tree->Add(inner);
   tree->Add(new TParameter<Long64_t>("n", 0));
   ADD(TList, tree, auto *in = static_cast<TList *>(o.FindObject("inner"));
       auto &a = *static_cast<TClonesArray *>(in->FindObject("deep"));
       if (id % 7 == 0) new (a[a.GetEntriesFast()]) TLorentzVector(id, 0, x, 1);
       static_cast<TH1 *>(in->FindObject("hdeep"))->Fill(x);
       auto *n = static_cast<TParameter<Long64_t> *>(o.FindObject("n")); n->SetVal(n->GetVal() + 1));
   auto *map = named(new TMap, "map");
   map->Add(new TObjString("x"), new TH1F("hmap", "", 20, -1, 1));
   map->Add(new TObjString("unit"), new TObjString("GeV"));
   ADD(TMap, map, static_cast<TH1 *>(o.GetValue("x"))->Fill(x));
}

void Merges::lists()
{
#define LISTS(T, name)                                                                                     \
   {                                                                                                       \
      auto *list = named(new T, name);                                                                     \
      list->Add(new TH1F(name "0", "", 20, -1, 1));                                                        \
      list->Add(new TH1F(name "1", "", 20, -1, 1));                                                        \
      ADD(T, list, static_cast<TH1 *>(o.FindObject(id % 2 ? name "1" : name "0"))->Fill(x));               \
   }
   LISTS(TList, "list");
   LISTS(THashList, "hashlist");
   LISTS(TSortedList, "sorted");
   LISTS(TObjArray, "array");
   LISTS(TOrdCollection, "ordered");
   LISTS(THashTable, "table");
   auto *folder = new TFolder("folder", "");
   folder->AddFolder("inner", "")->Add(new TH1F("hfolder", "", 20, -1, 1));
   folder->Add(new TH1F("hbeside", "", 20, -1, 1));
   ADD(TFolder, folder, static_cast<TH1 *>(o.FindObject(id % 2 ? "inner/hfolder" : "hbeside"))->Fill(x));
}

void Merges::others()
{
   ADD(TNamed, new TNamed("named", "the same everywhere"), );
   ADD(TObjString, new TObjString("string"), );
   ADD(TNtuple, new TNtuple("ntuple", "", "x:y"), if (id % 5 == 0) o.Fill(x, id % 100));
   ADD(TNtupleD, new TNtupleD("ntupled", "", "x:y"), if (id % 5 == 0) o.Fill(x, id));
   ADD(TParameter<Long64_t>, new TParameter<Long64_t>("sumL", 0), o.SetVal(o.GetVal() + id));
   ADD(TParameter<int>, new TParameter<int>("sumI", 0, '+'), o.SetVal(o.GetVal() + 1));
   ADD(TParameter<double>, new TParameter<double>("sumD", 0, '+'), o.SetVal(o.GetVal() + x));
   ADD(TParameter<float>, new TParameter<float>("sumF", 0, '+'), o.SetVal(o.GetVal() + 1));
   ADD(TParameter<double>, new TParameter<double>("smallest", 9, 'm'), o.SetVal(TMath::Min(o.GetVal(), x)));
   ADD(TParameter<double>, new TParameter<double>("largest", -9, 'M'), o.SetVal(TMath::Max(o.GetVal(), x)));
   ADD(TParameter<int>, new TParameter<int>("product", 1, '*'), );
   ADD(TParameter<int>, new TParameter<int>("first", 7, 'f'), );
   ADD(TParameter<int>, new TParameter<int>("last", 7, 'l'), );
   ADD(TParameter<bool>, new TParameter<bool>("any", false, '+'), if (id % 977 == 0) o.SetVal(true));
   ADD(TSelectorScalar, new TSelectorScalar("scalar", 0), o.Inc());
   ADD(TStatistic, new TStatistic("statistic"), o.Fill(x, 1 + id % 3));
   ADD(TEventList, new TEventList("events"), if (id % 9 == 0) o.Enter(id));
   if (fOnly == "" || fOnly.Contains("entries")) {
      fEntries = new TEntryList("entries", "");
      fOutput->Add(fEntries);
   }
   ADD(TFileCollection, new TFileCollection("files"),
       if (id % 400 == 0) o.Add(new TFileInfo(TString::Format("file:///data/%lld.root", id))));
   ADD(TChain, new TChain("Events"),
       if (o.GetNtrees() == 0) { o.AddFile("one.root", 100); o.AddFile("two.root", 50); });
}

void Merges::unmergeable()
{
   ADD(TNamed, new TNamed("texts", TString::Format("of process %d", gSystem->GetPid()).Data()), );
   ADD(TMacro, new TMacro("macro"), );
   ADD(TVectorD, new TVectorD(2), o[0] += x);
   ADD(TMatrixD, new TMatrixD(2, 2), o(0, 1) += x);
   ADD(TGraphPolar, named(new TGraphPolar, "polar"), o.SetPoint(o.GetN(), x, id));
   ADD(TExMap, new TExMap, o.Add(id, id));
   ADD(TBits, new TBits, o.SetBitNumber(id % 100));
   ADD(TRefArray, named(new TRefArray, "refs"), if (o.GetEntries() == 0) o.Add(gROOT->GetListOfCleanups()));
}

Bool_t Merges::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   const Long64_t id = *fEvent;
   const double x = double((id * 7919) % 2000) / 1000 - 1;
   for (const Fill &fill : fFills)
      fill(x, id);
   if (fEntries && id % 9 == 0)
      fEntries->Enter(entry);
   return kTRUE;
}
