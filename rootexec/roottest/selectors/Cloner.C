// Cloner copies rows with a tree that it clones from the first file in Init, and sets no addresses on anew.

#include <TH1.h>
#include <TList.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TTree.h>

class Cloner : public TSelector {
 public:
   TTree *fChain = nullptr;           //!
   TTree *fClone = nullptr, *fAddressed = nullptr; //!
   ULong64_t fEvent = 0;              //!
   Float_t fMET = 0;                  //!
   TH1I *fFiles = nullptr;            //!

   Int_t Version() const override { return 2; }
   void Init(TTree *tree) override
   {
      fChain = tree;
      TDirectory::TContext keep(gROOT); // and not the file that is read
      if (!fClone) {
         fClone = tree->CloneTree(0); // of branches that nobody has set the address of
         fClone->SetName("clone");
         fClone->SetAutoFlush(0); // ROOT would crash: a tree in an output list has no directory
         fOutput->Add(fClone);
      }
      tree->SetBranchAddress("event", &fEvent);
      tree->SetBranchAddress("MET_pt", &fMET);
      if (!fAddressed) {
         fAddressed = tree->CloneTree(0);
         fAddressed->SetName("addressed");
         fAddressed->SetAutoFlush(0);
         fOutput->Add(fAddressed);
      }
      // PROOF calls Init for each file, a chain once: what is added anew is one object.
      auto *h = new TH1I("blocks", "", 40, 0, 40);
      fOutput->Add(h);
      fFiles = h;
   }
   Bool_t Process(Long64_t entry) override
   {
      fChain->GetTree()->GetEntry(entry);
      if (fEvent % 3 == 0)
         fClone->Fill();
      if (fEvent % 4 == 0)
         fAddressed->Fill();
      fFiles->Fill(fEvent % 40);
      return kTRUE;
   }
   ClassDefOverride(Cloner, 0);
};
