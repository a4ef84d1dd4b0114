#include "Record.h"

#include <TBranch.h>
#include <TDirectory.h>
#include <TFile.h>
#include <TH1.h>
#include <TList.h>
#include <TNamed.h>
#include <TROOT.h>
#include <TRandom.h>
#include <TSystem.h>
#include <TTree.h>

#include <cstdio>

Record::Record() { log("constructor"); }

Int_t Record::log(const char *call, Int_t result) const
{
   fLog += TString::Format("%s -> %d\n", call, result);
   return result;
}

// What PROOF and dtpnode put into fInput themselves is not the user's.
void Record::log(const TString &call, bool surroundings)
{
   flush();
   fLog += call;
   if (surroundings) {
      fLog += TString::Format(" | dir=%s add=%d batch=%d option=%s status=%lld input=",
                              gDirectory ? gDirectory->GetName() : "none", TH1::AddDirectoryStatus(), gROOT->IsBatch(),
                              fOption.Data(), GetStatus());
      if (!fInput)
         fLog += "none";
      else
         for (TObject *o : *fInput)
            if (!TString(o->GetName()).BeginsWith("PROOF_"))
               fLog += TString(o->GetName()) + ",";
      fLog += fOutput ? TString::Format(" output=%s", fOutput->FindObject("h") ? "h" : "") : TString(" output=none");
      fLog += fInput == GetInputList() && fOutput == GetOutputList() ? "" : " BAD lists";
   }
   fLog += fBad + "\n";
   fBad = "";
   send();
}

void Record::flush()
{
   if (fFirst < 0)
      return;
   fLog += TString::Format("%s %lld to %lld%s\n", fHow.Data(), fFirst, fLast, fBad.Data());
   fBad = "";
   fFirst = -1;
}

void Record::SetOption(const char *option)
{
   TSelector::SetOption(option);
   log(TString("SetOption ") + option, false);
}

void Record::SetInputList(TList *input)
{
   TSelector::SetInputList(input);
   log(TString("SetInputList ") + (input ? "list" : "none"), false);
}

void Record::begin()
{
   fOutput->Add(new TH1F("h", "", 10, 0, 10));
   // One for each process: they stand side by side in the output.
   auto *sent = new TNamed(TString::Format("log.%d.%p", gSystem->GetPid(), static_cast<void *>(this)).Data(), "");
   fOutput->Add(sent);
   fSent = sent;
   send();
}

void Record::Begin(TTree *tree)
{
   log(TString("Begin ") + (tree ? tree->GetName() : "none"));
   fBegun = true;
   if (Version() == 0)
      begin();
   else
      fInput->Add(new TNamed("fromBegin", "value"));
   fStatus = 5;
}

void Record::SlaveBegin(TTree *tree)
{
   log(TString("SlaveBegin ") + (tree ? tree->GetName() : "none"));
   begin();
   if (fInput->FindObject("begun"))
      fStatus = 100;
}

void Record::Init(TTree *tree)
{
   fChain = tree;
   log(TString::Format("Init %s of %s, %lld entries, class %s", tree->GetName(),
                       gSystem->BaseName(tree->GetCurrentFile()->GetName()), tree->GetEntries(), tree->ClassName()));
   fBranch = nullptr;
   tree->SetBranchAddress("event", &fEvent, &fBranch);
   if (fInput->FindObject("branch"))
      tree->SetBranchAddress(fInput->FindObject("branch")->GetTitle(), &fEvent);
}

Bool_t Record::Notify()
{
   log(TString("Notify ") + (fChain ? gSystem->BaseName(fChain->GetCurrentFile()->GetName()) : "none"));
   return kTRUE;
}

void Record::see(Long64_t entry, const char *call)
{
   if (fHow != call || entry != fLast + 1)
      flush();
   if (fFirst < 0)
      fFirst = entry;
   fHow = call;
   fLast = entry;
   ++fEntries;
   ++fStatus;
   if (!fChain)
      return;
   if (fChain->GetReadEntry() != entry)
      fBad += TString::Format(" BAD GetReadEntry %lld", fChain->GetReadEntry());
   if (fChain->GetTree()->GetReadEntry() != entry || fChain->GetTree() != fChain)
      fBad += " BAD GetTree";
   const auto before = fEvent;
   if (fChain->GetTree()->GetEntry(entry) <= 0 || (fEvent == before && entry > 0))
      fBad += TString::Format(" BAD GetEntry %lld", entry);
   if (static_cast<Long64_t>(fEvent % 10000000) != entry)
      fBad += TString::Format(" BAD event %llu", fEvent);
}

Bool_t Record::Process(Long64_t entry)
{
   see(entry, "Process");
   return kTRUE;
}

Bool_t Record::ProcessCut(Long64_t entry)
{
   see(entry, "ProcessCut");
   fLast = entry;
   return entry % 100 == 7; // as few ProcessFill as can be read
}

void Record::ProcessFill(Long64_t entry)
{
   flush();
   fLog += TString::Format("ProcessFill %lld\n", entry);
}

void Record::send()
{
   if (fSent)
      static_cast<TNamed *>(fSent)->SetTitle(fLog);
}

void Record::SlaveTerminate()
{
   log("SlaveTerminate");
}

void Record::Terminate()
{
   log("Terminate");
   TIter next(fOutput);
   while (TObject *o = next()) {
      const TString name = o->GetName();
      if (!name.BeginsWith("log.") || o == fSent)
         continue;
      TString line;
      Ssiz_t from = 0;
      const TString text = o->GetTitle();
      while (text.Tokenize(line, from, "\n"))
         std::printf("W %s\n", line.Data());
      std::printf("W end\n");
   }
   TString line;
   Ssiz_t from = 0;
   while (fLog.Tokenize(line, from, "\n"))
      std::printf("S %s\n", line.Data());
   std::fflush(stdout);
}
