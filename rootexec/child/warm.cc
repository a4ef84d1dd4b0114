#include "warm.h"

#include <TBenchmark.h>
#include <TBranch.h>
#include <TBufferFile.h>
#include <TClass.h>
#include <TClonesArray.h>
#include <TEntryList.h>
#include <TFile.h>
#include <TH1D.h>
#include <TH1F.h>
#include <TH2F.h>
#include <TH3F.h>
#include <TInterpreter.h>
#include <TList.h>
#include <TLorentzVector.h>
#include <TNamed.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeCache.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>
#include <TTreeReaderValue.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace dtpnode {

namespace {

constexpr int kEntries = 300; // more than a TTreeCache learns on

struct Row {
  int n = 0;
  float x[8] = {};
  int i[8] = {};
  float f = 0;
  double d = 0;
  bool b = false;
  Long64_t l = 0;
  std::vector<float> vf;
  std::vector<int> vi;
};

void writeTree(TFile &file, const char *name) {
  Row row;
  TTree tree(name, "");
  tree.SetDirectory(&file);
  tree.Branch("n", &row.n, "n/I");
  tree.Branch("x", row.x, "x[n]/F");
  tree.Branch("i", row.i, "i[n]/I");
  tree.Branch("f", &row.f, "f/F");
  tree.Branch("d", &row.d, "d/D");
  tree.Branch("b", &row.b, "b/O");
  tree.Branch("l", &row.l, "l/L");
  tree.Branch("vf", &row.vf);
  tree.Branch("vi", &row.vi);
  tree.SetAutoFlush(kEntries / 2);
  for (int e = 0; e < kEntries; ++e) {
    row.n = e % 8;
    row.vf.assign(row.n, 1.f);
    row.vi.assign(row.n, 1);
    tree.Fill();
  }
  tree.Write();
  tree.SetDirectory(nullptr);
}

void readWithReader(TTree &tree) {
  TTreeReader reader(&tree);
  TTreeReaderValue<int> n(reader, "n");
  TTreeReaderValue<float> f(reader, "f");
  TTreeReaderValue<double> d(reader, "d");
  TTreeReaderValue<bool> b(reader, "b");
  TTreeReaderValue<Long64_t> l(reader, "l");
  TTreeReaderArray<float> x(reader, "x");
  TTreeReaderArray<int> i(reader, "i");
  TTreeReaderArray<float> vf(reader, "vf");
  TTreeReaderArray<int> vi(reader, "vi");
  TTreeReaderValue<std::vector<float>> whole(reader, "vf");
  double sum = 0;
  for (int e = 0; e < kEntries; ++e) {
    reader.SetLocalEntry(e);
    sum += *n + *f + *d + *b + *l + whole->size();
    for (float v : x)
      sum += v;
    for (int v : i)
      sum += v;
    for (float v : vf)
      sum += v;
    for (int v : vi)
      sum += v;
  }
  volatile double used = sum;
  (void)used;
}

void readWithAddresses(TTree &tree) {
  Row row;
  std::vector<float> *vf = nullptr;
  TBranch *branch = nullptr;
  tree.SetMakeClass(1);
  tree.SetBranchAddress("n", &row.n, &branch);
  tree.SetBranchAddress("x", row.x, &branch);
  tree.SetBranchAddress("f", &row.f, &branch);
  tree.SetBranchAddress("vf", &vf, &branch);
  for (int e = 0; e < kEntries; ++e)
    tree.GetEntry(tree.LoadTree(e));
  tree.ResetBranchAddresses();
}

TTree *openTree(TFile &file, const char *name) {
  auto *tree = file.Get<TTree>(name);
  if (!tree) return nullptr;
  tree->EnableCache();
  auto clusters = tree->GetClusterIterator(0);
  clusters.Next();
  return tree;
}

void warmTrees() {
  // One for each codec ROOT writes: zlib, lzma, lz4, zstd.
  for (int settings : {101, 207, 404, 505}) {
    // A real file: the first TFile::Open of a process reads all of ROOT's plugin macros, TMemFile
    // does not. The working directory is dtpnode's scratch folder.
    const std::string path = "warm-" + std::to_string(::getpid()) + ".root";
    std::unique_ptr<TFile> out(TFile::Open(path.c_str(), "RECREATE", "", settings));
    if (!out || out->IsZombie()) return; // cold, but not broken
    for (const char *name : {"reader", "addresses"})
      writeTree(*out, name);
    out->Close();
    std::unique_ptr<TFile> in(TFile::Open(path.c_str(), "READ"));
    ::unlink(path.c_str());
    if (!in || in->IsZombie()) return;
    if (TTree *tree = openTree(*in, "reader")) readWithReader(*tree);
    if (TTree *tree = openTree(*in, "addresses")) readWithAddresses(*tree);
  }
}

// Streams a list as a partial is streamed, reads it back and merges it.
void warmObjects() {
  TH1::AddDirectory(false);
  TList list;
  list.SetOwner();
  list.Add(new TH1F("h1f", "", 10, 0, 1));
  list.Add(new TH1D("h1d", "", 10, 0, 1));
  list.Add(new TH2F("h2f", "", 2, 0, 1, 2, 0, 1));
  list.Add(new TH3F("h3f", "", 2, 0, 1, 2, 0, 1, 2, 0, 1));
  list.Add(new TProfile("prof", "", 2, 0, 1));
  list.Add(new TParameter<Long64_t>("long", 1));
  list.Add(new TParameter<double>("double", 1));
  list.Add(new TEntryList("elist", ""));
  list.Add(new TNamed("named", ""));
  auto *inner = new TList;
  inner->Add(new TNamed("inner", ""));
  list.Add(inner);
  TIter next(&list);
  while (TObject *o = next()) {
    TBufferFile out(TBuffer::kWrite);
    out.WriteObjectAny(o, o->IsA());
    TBufferFile in(TBuffer::kRead, out.Length(), out.Buffer(), false);
    std::unique_ptr<TObject> copy(static_cast<TObject *>(in.ReadObjectAny(TObject::Class())));
    if (!copy || copy->InheritsFrom(TList::Class()) || !copy->IsA()->GetMerge()) continue;
    TList others;
    others.Add(copy.get());
    o->IsA()->GetMerge()(o, &others, nullptr);
  }
  TH1::AddDirectory(true);
}

} // namespace

void warmUp() {
  for (const char *lib :
       {"libTree", "libTreePlayer", "libHist", "libPhysics", "libMathCore", "libGpad"})
    gSystem->Load(lib);
  for (const char *cls :
       {"TSelector", "TTreeReader", "TClonesArray", "TLorentzVector", "TFile", "TChain",
        "vector<float>", "vector<int>", "vector<double>", "vector<string>"})
    TClass::GetClass(cls);
  warmTrees();
  warmObjects();
  // Selectors use it without a look, since ROOT's own program has made one before any code of the user's runs.
  if (!gBenchmark) gBenchmark = new TBenchmark;
  gROOT->cd();
}

} // namespace dtpnode
