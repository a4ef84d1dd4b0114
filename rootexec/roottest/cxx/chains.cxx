// chains: makes what the tests of friends, lists of entries and chains in files read.
//
//   chains DIR
//
//   m0.root m1.root m2.root   tree ev, 1000, 777 and 1500 entries in clusters of 100, 64 and 250: event counts over all
//                             files, run is event / 10 and sub event % 10
//   f0.root f1.root fr.root   tree fr with x = 3 event + 1: in files of 1200 and 2077 entries, and in one
//   short.root                tree sh of 2000 entries with z = 5 event + 2
//   index.root                tree ix in another order, with y = 7 event and a stored index by run and sub
//   gaps.root                 tree ix with rows of few events alone, the first of each file among them, and such an index
//   stored.root               tree ev as in m0.root, which has the friend fr in fr.root, by its relative name
//   lists.root                TEntryList el and far (of a file that is not there), TEventList ev2, TChain chain with
//                             the friend sh and the alias twice, TFileCollection coll

#include <TChain.h>
#include <TDirectory.h>
#include <TEntryList.h>
#include <TEventList.h>
#include <TFile.h>
#include <TFileCollection.h>
#include <TFileInfo.h>
#include <TROOT.h>
#include <TSystem.h>
#include <TTree.h>

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace {

constexpr Long64_t kAll = 3277;

struct Column {
   std::string name;
   std::function<Long64_t(Long64_t)> value; // by the number of the row
};

void make(const std::string &path, const char *name, Long64_t first, Long64_t last, int cluster,
          const std::vector<Column> &columns, const char *friendFile = nullptr, bool index = false)
{
   TFile f(path.c_str(), "RECREATE");
   TTree t(name, "");
   std::vector<Long64_t> values(columns.size());
   for (size_t i = 0; i < columns.size(); ++i)
      t.Branch(columns[i].name.c_str(), &values[i], (columns[i].name + "/L").c_str());
   t.SetAutoFlush(cluster);
   for (Long64_t row = first; row < last; ++row) {
      for (size_t i = 0; i < columns.size(); ++i)
         values[i] = columns[i].value(row);
      t.Fill();
   }
   if (index)
      t.BuildIndex("run", "sub");
   if (friendFile)
      t.AddFriend("fr", friendFile);
   t.Write();
}

void lists(const std::string &dir)
{
   TChain chain("ev");
   for (const char *name : {"m0.root", "m1.root", "m2.root"})
      chain.Add((dir + "/" + name).c_str());
   TFile f("lists.root", "RECREATE");
   chain.Draw(">>el", "event%7==3 && event>300 && event<3000", "entrylist");
   gDirectory->Get("el")->Write();
   chain.Draw(">>ev2", "event%11==2");
   gDirectory->Get("ev2")->Write();
   TEntryList far("far", "", "ev", "/nowhere/else.root");
   far.Enter(3);
   far.Write();
   TChain named("ev");
   for (const char *name : {"m0.root", "m1.root", "m2.root"})
      named.Add(name); // relative
   named.AddFriend("sh", "short.root");
   named.SetAlias("twice", "2*event");
   named.SetName("chain");
   named.Write("chain");
   TFileCollection coll("coll", "");
   for (const char *name : {"m0.root", "m1.root", "m2.root"})
      coll.Add(new TFileInfo(("file://" + dir + "/" + name).c_str()));
   coll.SetDefaultTreeName("/ev");
   coll.Write("coll");
}

} // namespace

int main(int argc, char **argv)
{
   if (argc != 2 || !gSystem->ChangeDirectory(argv[1])) {
      std::fprintf(stderr, "chains: no folder to work in\n");
      return 2;
   }
   gROOT->SetBatch();
   const std::vector<Column> event = {{"event", [](Long64_t i) { return i; }},
                                      {"run", [](Long64_t i) { return i / 10; }},
                                      {"sub", [](Long64_t i) { return i % 10; }}};
   make("fr.root", "fr", 0, kAll, 77, {{"x", [](Long64_t i) { return 3 * i + 1; }}});
   make("f0.root", "fr", 0, 1200, 77, {{"x", [](Long64_t i) { return 3 * i + 1; }}});
   make("f1.root", "fr", 1200, kAll, 90, {{"x", [](Long64_t i) { return 3 * i + 1; }}});
   make("m0.root", "ev", 0, 1000, 100, event);
   make("m1.root", "ev", 1000, 1777, 64, event);
   make("m2.root", "ev", 1777, kAll, 250, event);
   make("stored.root", "ev", 0, 1000, 100, event, "fr.root");
   make("short.root", "sh", 0, 2000, 50, {{"z", [](Long64_t i) { return 5 * i + 2; }}});
   const auto shuffled = [](Long64_t i) { return i * 1013 % kAll; }; // 1013 is prime to the number of rows
   make("index.root", "ix", 0, kAll, 91,
        {{"run", [&](Long64_t i) { return shuffled(i) / 10; }},
         {"sub", [&](Long64_t i) { return shuffled(i) % 10; }},
         {"y", [&](Long64_t i) { return 7 * shuffled(i); }}},
        nullptr, true);
   std::vector<Long64_t> few;
   for (Long64_t event = 0; event < kAll; ++event)
      if (event % 37 == 0 || event == 1000 || event == 1777) few.push_back(event);
   make("gaps.root", "ix", 0, static_cast<Long64_t>(few.size()), 10,
        {{"run", [&](Long64_t i) { return few[i] / 10; }},
         {"sub", [&](Long64_t i) { return few[i] % 10; }},
         {"y", [&](Long64_t i) { return 7 * few[i]; }}},
        nullptr, true);
   lists(argv[1]);
   return 0;
}
