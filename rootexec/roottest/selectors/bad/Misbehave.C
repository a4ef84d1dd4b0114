#include "Misbehave.h"

#include <TFile.h>
#include <TSystem.h>
#include <TTree.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace {

TString input(TList *list, const char *name)
{
   TObject *o = list ? list->FindObject(name) : nullptr;
   return o ? o->GetTitle() : "";
}

void fillMemory()
{
   for (;;) {
      char *p = static_cast<char *>(std::malloc(64 << 20));
      if (!p)
         throw std::bad_alloc();
      std::memset(p, 1, 64 << 20); // touched, or it would cost nothing
   }
}

void flood()
{
   const std::string line(99, 'x');
   for (long i = 0; i < 3000000; ++i)
      std::puts(line.c_str());
}

} // namespace

void Misbehave::SlaveBegin(TTree *)
{
   fDo = input(fInput, "do");
   fFile = input(fInput, "file");
   fEntry = input(fInput, "entry").Atoll();
   const TString last = input(fInput, "last");
   fLast = last.IsNull() ? fEntry + 1 : last.Atoll();
   fOutput->Add(fN = new TParameter<Long64_t>("n", 0, '+'));
   fOutput->Add(fSum = new TParameter<Long64_t>("sum", 0, '+'));
   fOutput->Add(fBlocks = new TH2I("blocks", "events;block of 100;file", 200, 0, 20000, 250, 0, 250));
}

Bool_t Misbehave::Notify()
{
   TFile *file = fReader.GetTree() ? fReader.GetTree()->GetCurrentFile() : nullptr;
   fHere = fFile.IsNull() || (file && fFile == gSystem->BaseName(file->GetName()));
   return kTRUE;
}

void Misbehave::Misdo()
{
   if (fDo == "segfault")
      *static_cast<volatile int *>(nullptr) = 1;
   else if (fDo == "quiet") {
      std::printf("last words of Misbehave\n");
      *static_cast<volatile int *>(nullptr) = 1;
   } else if (fDo == "throw")
      throw std::runtime_error("Misbehave throws");
   else if (fDo == "exit")
      std::exit(7);
   else if (fDo == "loop")
      for (volatile bool forever = true; forever;) {
      }
   else if (fDo == "memory")
      fillMemory();
   else if (fDo == "flood")
      flood();
   else if (fDo == "abortfile")
      Abort("Misbehave aborts the file", static_cast<EAbort>(2)); // not by its name, which is looked for in sources
   else if (fDo == "abortprocess")
      Abort("Misbehave aborts the job", kAbortProcess);
}

Bool_t Misbehave::Process(Long64_t entry)
{
   if (fHere && entry >= fEntry && entry < fLast) {
      if (fDo == "skip")
         return kTRUE;
      Misdo();
   }
   fReader.SetLocalEntry(entry);
   fN->SetVal(fN->GetVal() + 1);
   fSum->SetVal(fSum->GetVal() + *fEvent);
   fBlocks->Fill(*fEvent % 10000000, *fEvent / 10000000);
   return kTRUE;
}
