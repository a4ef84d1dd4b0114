// Losses does what ROOT loses or passes over with a line in its log, as its option says: "twice" adds two objects of one
// name, and writes a file, "update" changes a file that comes along, "late" and "end" call Abort in SlaveTerminate and in Terminate.

#include <TFile.h>
#include <TH1.h>
#include <TList.h>
#include <TSelector.h>
#include <TString.h>

class Losses : public TSelector {
public:
   TH1D *fN = nullptr, *fOther = nullptr; //!
   TFile *fKept = nullptr;                //!

   Int_t Version() const override { return 2; }
   bool does(const char *what) const { return TString(GetOption()) == what; }

   void SlaveBegin(TTree *) override
   {
      fOutput->Add(fN = new TH1D("n", "", 1, 0, 1));
      fOther = new TH1D("n", "other", 1, 0, 1);
      fOther->SetDirectory(nullptr);
      if (does("twice"))
         fOutput->Add(fOther);
      if (does("update"))
         fKept = TFile::Open("sums.root", "UPDATE");
   }
   Bool_t Process(Long64_t) override
   {
      fN->Fill(0.5);
      fOther->Fill(0.5, 2);
      return kTRUE;
   }
   void SlaveTerminate() override
   {
      if (fKept) {
         fKept->WriteTObject(fN, "sum");
         fKept->Close();
      }
      if (does("twice")) {
         TFile own("own.root", "RECREATE");
         own.WriteTObject(fN, "n");
      }
      if (does("late"))
         Abort("too late");
   }
   void Terminate() override
   {
      if (does("end"))
         Abort("at the end");
   }

   ClassDefOverride(Losses, 0);
};
