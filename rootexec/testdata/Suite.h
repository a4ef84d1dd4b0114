// Selectors of the tests. Each class is one; Suite.C holds what is not inline.
#pragma once

#include <TBranch.h>
#include <TChain.h>
#include <TEntryList.h>
#include <TFile.h>
#include <TH1F.h>
#include <TH2F.h>
#include <TKey.h>
#include <TList.h>
#include <TMacro.h>
#include <TNamed.h>
#include <TObjArray.h>
#include <TObjString.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TRandom3.h>
#include <TSelector.h>
#include <TString.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

// Parameters reach selectors as TNamed objects in fInput.
inline TString param(TList *input, const char *name, const char *otherwise = "") {
  TObject *o = input ? input->FindObject(name) : nullptr;
  return o ? o->GetTitle() : otherwise;
}

// Writes the trees of the tests in Begin.
class MakeData : public TSelector {
 public:
  int Version() const override { return 2; }
  void Begin(TTree *) override;
  ClassDefOverride(MakeData, 0);
};

// What every analysis does, with TTreeReader.
class Hists : public TSelector {
 public:
  TTreeReader reader;
  TTreeReaderValue<Long64_t> id{reader, "id"};
  TTreeReaderValue<int> n{reader, "n"};
  TTreeReaderArray<float> x{reader, "x"};
  TTreeReaderArray<float> v{reader, "v"};
  TH1F *hx = nullptr;      // in the output list under the name of the member
  TH1F *renamed = nullptr; // in the output list as "hother"
  TH2F *h2 = nullptr;
  TProfile *prof = nullptr;
  TParameter<Long64_t> *count = nullptr;
  TParameter<Long64_t> *slaveEnds = nullptr;
  TList *nested = nullptr;
  TH1F *plain = nullptr; //! not in the output list

  int Version() const override { return 2; }
  void Begin(TTree *) override { fInput->Add(new TNamed("fromBegin", "yes")); }
  void SlaveBegin(TTree *) override;
  void Init(TTree *t) override { reader.SetTree(t); }
  bool Notify() override { return true; }
  bool Process(Long64_t entry) override;
  void SlaveTerminate() override { slaveEnds->SetVal(slaveEnds->GetVal() + 1); }
  void Terminate() override;
  ClassDefOverride(Hists, 0);
};

// The same in the style of TTree::MakeSelector before TTreeReader.
class HistsOld : public TSelector {
 public:
  TTree *fChain = nullptr;
  Long64_t id = 0;
  Int_t n = 0;
  Float_t x[16];
  std::vector<float> *v = nullptr;
  TBranch *b_id = nullptr, *b_n = nullptr, *b_x = nullptr, *b_v = nullptr;
  TH1F *hx = nullptr;
  TParameter<Long64_t> *count = nullptr;

  int Version() const override { return 2; }
  void SlaveBegin(TTree *) override;
  void Init(TTree *t) override;
  bool Process(Long64_t entry) override;
  ClassDefOverride(HistsOld, 0);
};

// Version 0: ProcessCut and ProcessFill.
class Cutter : public TSelector {
 public:
  TTree *tree = nullptr;
  Long64_t id = 0;
  TBranch *branch = nullptr;
  TParameter<Long64_t> *count = nullptr;

  int Version() const override { return 0; }
  void SlaveBegin(TTree *) override { fOutput->Add(count = new TParameter<Long64_t>("count", 0)); }
  void Init(TTree *t) override {
    tree = t;
    tree->SetBranchAddress("id", &id, &branch);
  }
  bool ProcessCut(Long64_t e) override { return branch->GetEntry(e) > 0 && id % 2 == 0; }
  void ProcessFill(Long64_t) override { count->SetVal(count->GetVal() + 1); }
  ClassDefOverride(Cutter, 0);
};

// Does what the parameter "bad" says when it reads the id in the parameter "at".
class Bad : public TSelector {
 public:
  TTreeReader reader;
  TTreeReaderValue<Long64_t> id{reader, "id"};
  TString bad;
  Long64_t at = -1;
  std::vector<char *> hoard;

  int Version() const override { return 2; }
  void SlaveBegin(TTree *) override;
  void Init(TTree *t) override { reader.SetTree(t); }
  bool Process(Long64_t entry) override;
  void misbehave();
  void escape();
  void Terminate() override {
    if (param(fInput, "bad") == "terminate") std::abort();
  }
  ClassDefOverride(Bad, 0);
};

// Calls Abort() for a file, or for the process if "kind" says so, in the step "in": there at once, or at the entry of each
// file that "at" says. It counts the entries that it sees, one by one. With "namesakes" it adds more objects of that name.
class Aborter : public TSelector {
 public:
  TTree *tree = nullptr;
  TH1D *seen = nullptr;
  TString in;
  EAbort kind = kAbortFile;
  Long64_t at = -1;

  int Version() const override { return 2; }
  void SlaveBegin(TTree *) override;
  void Init(TTree *t) override;
  bool Notify() override;
  bool Process(Long64_t entry) override;
  bool ProcessCut(Long64_t entry) override;
  void ProcessFill(Long64_t entry) override { see(entry); }
  void SlaveTerminate() override;
  void Terminate() override;
  void see(Long64_t entry) { seen->Fill(entry); }
  void may(const char *step, Long64_t entry = -1);
  ClassDefOverride(Aborter, 0);
};

// An Aborter whose entries go through ProcessCut and ProcessFill.
class AborterCut : public Aborter {
 public:
  int Version() const override { return 0; }
  ClassDefOverride(AborterCut, 0);
};

// Writes a file of objects in Begin.
class MakeObjects : public TSelector {
 public:
  int Version() const override { return 2; }
  void Begin(TTree *) override;
  ClassDefOverride(MakeObjects, 0);
};

// Says in a line what it finds in fInput, in each step, and changes it in SlaveBegin.
class Given : public TSelector {
 public:
  int Version() const override { return 2; }
  void Begin(TTree *) override;
  void SlaveBegin(TTree *) override;
  void Terminate() override { say("Terminate"); }
  void say(const char *step);
  ClassDefOverride(Given, 0);
};

// What the tests of package exectest want of code: it counts the entries, and does what "bad" says at the entry "at" or
// in the whole of "step".
class Conform : public Bad {
 public:
  TH1D *seen = nullptr;

  void Begin(TTree *) override;
  void SlaveBegin(TTree *) override;
  bool Process(Long64_t entry) override;
  void Terminate() override { misbehaveIn("finish"); }
  void misbehaveIn(const char *step);
  ClassDefOverride(Conform, 0);
};

// Reads a branch that is not there.
class Missing : public TSelector {
 public:
  TTreeReader reader;
  TTreeReaderValue<float> nosuch{reader, "nosuchbranch"};
  int Version() const override { return 2; }
  void Init(TTree *t) override { reader.SetTree(t); }
  bool Process(Long64_t entry) override {
    reader.SetLocalEntry(entry);
    return *nosuch > 0;
  }
  ClassDefOverride(Missing, 0);
};

class MissingOld : public TSelector {
 public:
  float nosuch = 0;
  TParameter<Long64_t> *count = nullptr;
  int Version() const override { return 2; }
  void SlaveBegin(TTree *) override { fOutput->Add(count = new TParameter<Long64_t>("count", 0)); }
  void Init(TTree *t) override { t->SetBranchAddress("nosuchbranch", &nosuch); }
  bool Process(Long64_t) override {
    count->SetVal(count->GetVal() + 1);
    return true;
  }
  ClassDefOverride(MissingOld, 0);
};

class BadConstructor : public TSelector {
 public:
  BadConstructor() { std::abort(); }
  ClassDefOverride(BadConstructor, 0);
};

class NoSelector : public TNamed {
 public:
  ClassDefOverride(NoSelector, 1);
};

// Objects that have no Merge, and one that refuses it.
class Apart : public TSelector {
 public:
  int Version() const override { return 2; }
  void SlaveBegin(TTree *) override {
    fOutput->Add(new TMacro("note", "text"));
    auto *list = new TList;
    list->SetName("list");
    list->Add(new TMacro("inner", "text"));
    fOutput->Add(list);
  }
  ClassDefOverride(Apart, 0);
};

// An array that owns its elements.
class Arrays : public TSelector {
 public:
  TObjArray *hists = nullptr;

  int Version() const override { return 2; }
  void SlaveBegin(TTree *) override {
    hists = new TObjArray;
    hists->SetName("hists");
    hists->SetOwner();
    for (const char *name : {"a", "b"})
      hists->Add(new TH1F(name, "", 1, 0, 1));
    fOutput->Add(hists);
  }
  bool Process(Long64_t) override {
    for (TObject *h : *hists)
      static_cast<TH1F *>(h)->Fill(0.5);
    return true;
  }
  void Terminate() override {
    printf("%d hists", hists->GetEntries());
    for (TObject *h : *hists)
      printf(" %g", static_cast<TH1F *>(h)->GetEntries());
    printf("\n");
  }
  ClassDefOverride(Arrays, 0);
};

// Runs TChain::Process over the parameter "files" in Begin and writes the output list to "out".
class Reference : public TSelector {
 public:
  void Begin(TTree *) override;
  ClassDefOverride(Reference, 0);
};

// Compares the histograms of two files in Begin; aborts at the first difference.
class Compare : public TSelector {
 public:
  void Begin(TTree *) override;
  ClassDefOverride(Compare, 0);
};

// Checks the file "file" in Begin: counters named "count" and "slaveEnds", keys listed in "has".
class Expect : public TSelector {
 public:
  void Begin(TTree *) override;
  ClassDefOverride(Expect, 0);
};
