// Two trees in fOutput, one of them too large for memory, which Terminate writes to files of its own. Beside them is a
// vector, which nobody can merge: Terminate adds up those of all processes, and takes them out.
#include <TFile.h>
#include <TNtuple.h>
#include <TSelector.h>
#include <TTree.h>
#include <TVectorD.h>

#include <cstdio>
#include <vector>

class TreesOut : public TSelector {
public:
   TTree *fChain = nullptr;
   TTree *large = nullptr;
   TNtuple *small = nullptr;
   TVectorD *counted = nullptr; //!
   Long64_t event = 0;
   Double_t values[1200];

   Int_t Version() const override { return 2; }
   void Init(TTree *tree) override
   {
      fChain = tree;
      tree->SetBranchAddress("event", &event);
   }
   void SlaveBegin(TTree *) override
   {
      large = new TTree("large", "large");
      large->Branch("event", &event);
      large->Branch("values", values, "values[1200]/D");
      small = new TNtuple("small", "small", "event:value");
      fOutput->Add(large);
      fOutput->Add(small);
      fOutput->Add(counted = new TVectorD(1));
   }
   Bool_t Process(Long64_t entry) override
   {
      fChain->GetTree()->GetEntry(entry);
      ULong64_t s = 88172645463325252ULL + 2862933555777941757ULL * event;
      for (Double_t &v : values) { // that nothing compresses
         s ^= s << 13;
         s ^= s >> 7;
         s ^= s << 17;
         v = (s >> 11) / 9007199254740992.;
      }
      (*counted)[0] += 1;
      large->Fill();
      small->Fill(event, values[0]);
      return kTRUE;
   }
   void Terminate() override
   {
      double sum = 0;
      std::vector<TObject *> vectors;
      for (TObject *o : *fOutput)
         if (auto *v = dynamic_cast<TVectorD *>(o)) {
            sum += (*v)[0];
            vectors.push_back(o);
         }
      for (TObject *o : vectors)
         fOutput->Remove(o);
      const auto rows = static_cast<TTree *>(fOutput->FindObject("small"))->GetEntries();
      printf("counted %g in all, %g missing\n", sum, rows - sum);
      if (fOption != "write") return;
      {
         TFile file("written.root", "RECREATE");
         fOutput->Write();
      }
      {
         TFile file("stored.root", "RECREATE");
         file.WriteTObject(fOutput->FindObject("large"));
         file.WriteTObject(fOutput->FindObject("small"));
      }
      TFile file("moved.root", "RECREATE"); // deletes the trees that it has
      for (const char *name : {"large", "small"})
         static_cast<TTree *>(fOutput->FindObject(name))->SetDirectory(&file);
      file.Write();
      file.Close();
   }
   ClassDefOverride(TreesOut, 0);
};
