// Makes files, as selectors for PROOF did: those that the input list names, each in the data folder of the process that
// makes it, or else a data set, whose registration the option asks for: "R", "RO".
#include <TDSet.h>
#include <TFile.h>
#include <TH1D.h>
#include <TMap.h>
#include <TObjString.h>
#include <TProof.h>
#include <TProofOutputFile.h>
#include <TProofServ.h>
#include <TSelector.h>
#include <TTree.h>
#include <unistd.h>

class Made : public TSelector {
 public:
   Int_t Version() const override { return 2; }
   void Begin(TTree *) override { gProof->SetParameter("begun", 1); }
   void SlaveBegin(TTree *) override;
   Bool_t Process(Long64_t entry) override;
   void SlaveTerminate() override;
   void Terminate() override;

 private:
   TTree *Tree(TFile *file);

   Long64_t fNumber = 0;
   TList *fList = nullptr;
   TFile *fFile = nullptr;
   TTree *fTree = nullptr;
   TH1D *fCount = nullptr;
   bool fSlow = false; // for who watches

   ClassDefOverride(Made, 0);
};

TTree *Made::Tree(TFile *file)
{
   auto *tree = new TTree("made", "");
   tree->SetDirectory(file);
   tree->Branch("number", &fNumber, "number/L");
   return tree;
}

void Made::SlaveBegin(TTree *)
{
   Int_t begun = 0;
   if (TProof::GetParameter(fInput, "begun", begun) != 0 || begun != 1) Abort("Begin's parameter is missing");
   fSlow = TString(fOption).Contains("slow");
   fOutput->Add(fCount = new TH1D("count", "", 10, 0, 10));
   if (fInput->FindObject("PROOF_FilesToProcess")) {
      fList = new TList;
      fList->SetName(TString::Format("list-%s", gProofServ->GetOrdinal()));
      return;
   }
   if (TString(fOption).Contains("tree")) {
      fTree = Tree(nullptr);
      fOutput->Add(fTree);
   }
   if (!TString(fOption).Contains("R")) return;
   TDirectory::TContext keepDirectory;
   auto *out = new TProofOutputFile("numbers.root", "D" + TString(fOption), "numbers");
   fOutput->Add(out);
   fFile = out->OpenFile("RECREATE");
   fTree = Tree(fFile);
}

Bool_t Made::Process(Long64_t entry)
{
   fNumber = entry;
   fCount->Fill(entry % 10);
   if (fSlow) usleep(1000);
   if (fTree) fTree->Fill();
   if (!fList) return kTRUE;
   auto *pair = dynamic_cast<TPair *>(fInput->FindObject("PROOF_CurrentElement"));
   auto *element = dynamic_cast<TDSetElement *>(pair->Value());
   TDirectory::TContext keepDirectory;
   TFile file(TString(gProofServ->GetDataDir()) + "/" + element->GetName(), "RECREATE");
   auto *tree = Tree(&file);
   for (int i = 0; i < 100; ++i) {
      fNumber = 100 * entry + i;
      tree->Fill();
   }
   file.Write();
   fList->Add(new TObjString(file.GetName()));
   return kTRUE;
}

void Made::SlaveTerminate()
{
   if (fList) fOutput->Add(fList);
   if (!fFile) return;
   fFile->Write();
   fFile->Close();
}

void Made::Terminate()
{
   auto *count = dynamic_cast<TH1D *>(gProof->GetOutput("count"));
   printf("terminated with %g entries, %d\n", count ? count->GetEntries() : -1., gProof->GetOutputList() == fOutput);
}
