// treeprocessormp: the same selector by ROOT::TTreeProcessorMP, from start to written output.
//
//   treeprocessormp LIBRARY CLASS TREE WORKERS OUT FILE...

#include <ROOT/TTreeProcessorMP.hxx>
#include <TClass.h>
#include <TFile.h>
#include <TList.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

int main(int argc, char **argv)
{
   if (argc < 7) {
      std::fprintf(stderr, "usage: treeprocessormp LIBRARY CLASS TREE WORKERS OUT FILE...\n");
      return 2;
   }
   gROOT->SetBatch();
   if (gSystem->Load(argv[1]) < 0)
      return 1;
   TClass *cls = TClass::GetClass(argv[2]);
   if (!cls || !cls->InheritsFrom(TSelector::Class()))
      return 1;
   std::unique_ptr<TSelector> selector(static_cast<TSelector *>(cls->New()));
   const std::vector<std::string> files(argv + 6, argv + argc);

   ROOT::TTreeProcessorMP pool(std::atoi(argv[4]));
   TList *list = pool.Process(files, *selector, argv[3]);
   if (!list)
      return 1;
   TFile out(argv[5], "RECREATE");
   for (TObject *o : *list)
      out.WriteTObject(o, o->GetName(), "SingleKey");
   out.Close();
   std::fflush(nullptr);
   _exit(0);
}
