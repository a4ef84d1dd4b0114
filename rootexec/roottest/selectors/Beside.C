#include "Beside.h"

void Beside::SlaveBegin(TTree *)
{
   fOutput->Add(fEvents = new TH1D("events", "", 400, 0, 4000));
   fOutput->Add(fSumX = new TParameter<Long64_t>("x", 0, '+'));
   fOutput->Add(fSumY = new TParameter<Long64_t>("y", 0, '+'));
   fOutput->Add(fSumZ = new TParameter<Long64_t>("z", 0, '+'));
   const TString o = GetOption();
   if (o.Contains("pick"))
      fOutput->Add(fPicked = new TEntryList("picked", "every fifth"));
   if (!o.Contains("reader"))
      return;
   using Value = TTreeReaderValue<Long64_t>;
   fRE = std::make_unique<Value>(fReader, "event");
   if (o.Contains("x"))
      fRX = std::make_unique<Value>(fReader, "fr.x");
   if (o.Contains("own"))
      fRX = std::make_unique<Value>(fReader, "own.event");
   if (o.Contains("y"))
      fRY = std::make_unique<Value>(fReader, "ix.y");
   if (o.Contains("z"))
      fRZ = std::make_unique<Value>(fReader, "sh.z");
}

void Beside::AddFriends(TTree &tree, const TString &files)
{
   if (!files.Contains("+")) {
      tree.AddFriend("fr", files);
      return;
   }
   auto *chain = new TChain("fr");
   TString file;
   for (Ssiz_t from = 0; files.Tokenize(file, from, "\\+");)
      chain->Add(file);
   tree.AddFriend(chain);
}

void Beside::Init(TTree *tree)
{
   if (!tree)
      return;
   const TString o = GetOption();
   if (const Ssiz_t add = o.Index("add="); add != kNPOS)
      AddFriends(*tree, o(add + 4, o.Length()));
   if (o.Contains("own")) { // each file beside a copy of itself
      TString copy = tree->GetCurrentFile()->GetName();
      copy.Insert(copy.Last('/') + 1, "own-");
      tree->AddFriend("own=ev", copy);
   }
   if (fRE) {
      fReader.SetTree(tree);
      return;
   }
   fChain = tree;
   tree->SetBranchAddress("event", &fEvent);
   if (o.Contains("x"))
      tree->SetBranchAddress("fr.x", &fX);
   if (o.Contains("y"))
      tree->SetBranchAddress("ix.y", &fY);
   if (o.Contains("z"))
      tree->SetBranchAddress("sh.z", &fZ);
   if (o.Contains("alias"))
      tree->SetBranchAddress("own.event", &fX);
   if (o.Contains("skim") && !fSkim) {
      fSkim = tree->CloneTree(0);
      fSkim->SetName("skim");
      fSkim->SetAutoFlush(0); // for which one process would look for a file of its own
      fOutput->Add(fSkim);
   }
   if (o.Contains("formula")) {
      fMaking = fFormula != nullptr;
      fFormula.reset(); // as code that deletes it first
      fFormula = std::make_unique<TTreeFormula>("f", "fr.x", tree);
      fMaking = false;
   }
}

Bool_t Beside::Notify()
{
   if (!TString(GetOption()).Contains("notify"))
      return kTRUE;
   if (fMaking)
      throw std::runtime_error("Notify() was called while Init() has no formula");
   if (fFormula)
      fFormula->UpdateFormulaLeaves();
   return kTRUE;
}

Bool_t Beside::Process(Long64_t entry)
{
   const TString o = GetOption();
   if (fChain) {
      (o.Contains("chain") ? fChain : fChain->GetTree())->GetEntry(entry);
      if (o.Contains("self"))
         fX = fEvent;
      if (fFormula)
         fX = static_cast<Long64_t>(fFormula->EvalInstance());
   } else {
      fReader.SetLocalEntry(entry);
      fEvent = **fRE;
      fX = fRX ? **fRX : -1;
      fY = fRY ? **fRY : -1;
      fZ = fRZ ? **fRZ : -1;
   }
   if (fPicked && fEvent % 5 == 1)
      fPicked->Enter(entry, fChain->GetTree());
   if (fSkim && fEvent % 3 == 0)
      fSkim->Fill();
   fEvents->Fill(fEvent);
   fSumX->SetVal(fSumX->GetVal() + (fEvent + 1) * fX);
   fSumY->SetVal(fSumY->GetVal() + (fEvent + 1) * fY);
   fSumZ->SetVal(fSumZ->GetVal() + (fEvent + 1) * fZ);
   return kTRUE;
}
