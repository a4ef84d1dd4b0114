// limit: one of the bare ROOT processes that bound dtpnode from below.
//
//   limit LIBRARY CLASS TREE FIRST LAST OPTION FILE...
//
// Loads the selector's library, opens the chain, prints "ready", and for each line on standard input
// loops over the entries [FIRST, LAST) with TChain::Process and a fresh selector, then prints
// "done ENTRIES". LAST -1 is the end of the chain; FIRST and LAST may be fractions such as 1/2.

#include <TChain.h>
#include <TClass.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <unistd.h>

namespace {

// position reads "1/2" as half of all entries, a plain number as itself, -1 as all.
Long64_t position(const std::string &text, Long64_t all)
{
   const auto slash = text.find('/');
   if (slash != std::string::npos)
      return all * std::atoll(text.c_str()) / std::atoll(text.c_str() + slash + 1);
   const Long64_t at = std::atoll(text.c_str());
   return at < 0 ? all : at;
}

} // namespace

int main(int argc, char **argv)
{
   if (argc < 8) {
      std::fprintf(stderr, "usage: limit LIBRARY CLASS TREE FIRST LAST OPTION FILE...\n");
      return 2;
   }
   gROOT->SetBatch();
   if (gSystem->Load(argv[1]) < 0)
      return 1;
   TClass *cls = TClass::GetClass(argv[2]);
   if (!cls || !cls->InheritsFrom(TSelector::Class()))
      return 1;
   TChain chain(argv[3]);
   for (int i = 7; i < argc; ++i)
      if (chain.Add(argv[i], 0) == 0)
         return 1;
   const Long64_t first = position(argv[4], chain.GetEntries());
   const Long64_t last = position(argv[5], chain.GetEntries());

   std::printf("ready\n");
   std::fflush(stdout);
   std::string line;
   while (std::getline(std::cin, line)) {
      std::unique_ptr<TSelector> selector(static_cast<TSelector *>(cls->New()));
      TList input;
      selector->SetInputList(&input);
      chain.LoadTree(first);
      chain.Process(selector.get(), argv[6], last - first, first);
      selector->GetOutputList()->Delete();
      std::printf("done %lld\n", last - first);
      std::fflush(stdout);
   }
   _exit(0);
}
