// Output in files of the selector's own. The option says how: "open" leaves plain files open, "merge" and "dataset" use
// TProofOutputFile, "name=PATH" does so with that path for the first file, and leaves a text; else plain files are
// closed, with "nodir" beside a tree in no directory, which with "late" is added in SlaveTerminate. Terminate reads what came of them into the output list.
#include <TDirectory.h>
#include <TFile.h>
#include <TFileCollection.h>
#include <TFileInfo.h>
#include <TH1D.h>
#include <TNtuple.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>
#include <cstdio>
#include <unistd.h>
#if __has_include(<TProofOutputFile.h>)
#include <TProofOutputFile.h>
#define WITH_PROOF
#endif

class Outputs : public TSelector {
 public:
   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override;
   void SlaveTerminate() override;
   void Terminate() override;

 private:
   TFile *Open(const char *path);
   void Read(const char *path, const char *tree, TH1D *into);

   TTreeReader fReader;                                  //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"}; //!
   TFile *fFile = nullptr, *fMore = nullptr;
   TTree *fTree = nullptr, *fDeep = nullptr, *fLarge = nullptr;
   TNtuple *fNtuple = nullptr;
   TH1D *fHist = nullptr, *fCount = nullptr;
   Long64_t fNumber = 0;
   Float_t fPad[256] = {};
   bool fSlow = false; // each entry takes a millisecond, for tests that kill what works

   ClassDefOverride(Outputs, 0);
};

TFile *Outputs::Open(const char *path)
{
#ifdef WITH_PROOF
   TString how = fOption;
   if (how.BeginsWith("name=")) {
      auto *out = new TProofOutputFile(path);
      if (TString(path) == "outputs.root") out->SetOutputFileName(how.Data() + 5);
      fOutput->Add(out);
      if (FILE *text = fopen("text.txt", "w")) fclose(text);
      return out->OpenFile("RECREATE");
   }
   if (how == "merge" || how == "dataset") {
      auto *out = how == "merge" ? new TProofOutputFile(path, "M") : new TProofOutputFile(path, "D", "found");
      if (how == "merge" && TString(path) == "sub/more.root") out->SetOutputFileName("renamed/<file>");
      fOutput->Add(out);
      return out->OpenFile("RECREATE");
   }
#endif
   gSystem->mkdir(gSystem->GetDirName(path), true);
   return TFile::Open(path, "RECREATE");
}

void Outputs::SlaveBegin(TTree *)
{
   TDirectory::TContext keepDirectory;
   fSlow = fInput && fInput->FindObject("slow");
   fOutput->Add(fCount = new TH1D("count", "", 100, 0, 100));
   fLarge = new TTree("large", "more than is kept in memory");
   const bool late = TString(fOption) == "late";
   if (late || TString(fOption) == "nodir") { // in one process Fill() crashes when it is to write
      fLarge->SetDirectory(nullptr);
      fLarge->SetAutoFlush(100);
   }
   fLarge->Branch("event", &fNumber, "event/L");
   fLarge->Branch("pad", fPad, "pad[256]/F");
   if (!late)
      fOutput->Add(fLarge);
   if (TString(fOption) != "dataset") {
      fMore = Open("sub/more.root");
      fNtuple = new TNtuple("points", "", "x:y");
   }
   fFile = Open("outputs.root");
   fTree = new TTree("events", "");
   fTree->Branch("event", &fNumber, "event/L");
   fFile->mkdir("a")->mkdir("b")->cd();
   fDeep = new TTree("deep", "");
   fDeep->Branch("event", &fNumber, "event/L");
   fHist = new TH1D("hist", "", 100, 0, 100);
}

Bool_t Outputs::Process(Long64_t entry)
{
   fReader.SetLocalEntry(entry);
   fNumber = static_cast<Long64_t>(*fEvent);
   if (fSlow) usleep(1000);
   fCount->Fill(fNumber % 100);
   fHist->Fill(fNumber % 100);
   fTree->Fill();
   if (fNumber % 3 == 0) fDeep->Fill();
   if (fNtuple) fNtuple->Fill(fNumber % 1000, fNumber % 7);
   for (int i = 0; i < 256; ++i)
      fPad[i] = (fNumber * (i + 31) % 1009) * 0.001f;
   fLarge->Fill();
   return kTRUE;
}

void Outputs::SlaveTerminate()
{
   if (TString(fOption) == "late")
      fOutput->Add(fLarge);
   if (TString(fOption) == "open") return;
   for (TFile *file : {fFile, fMore}) {
      if (!file) continue;
      file->Write();
      file->Close();
   }
}

void Outputs::Read(const char *path, const char *name, TH1D *into)
{
   TFile file(path);
   auto *tree = file.Get<TTree>(name);
   if (!tree) return;
   Long64_t number = 0;
   tree->SetBranchAddress("event", &number);
   for (Long64_t i = 0; i < tree->GetEntries(); ++i) {
      tree->GetEntry(i);
      into->Fill(number % 100);
   }
}

void Outputs::Terminate()
{
   auto *events = new TH1D("r_events", "", 100, 0, 100), *deep = new TH1D("r_deep", "", 100, 0, 100);
   fOutput->Add(events);
   fOutput->Add(deep);
   TString path = "outputs.root";
   if (auto *files = dynamic_cast<TFileCollection *>(fOutput->FindObject("found"))) {
      TIter next(files->GetList());
      while (auto *info = static_cast<TFileInfo *>(next())) {
         Read(info->GetCurrentUrl()->GetUrl(), "events", events);
         Read(info->GetCurrentUrl()->GetUrl(), "a/b/deep", deep);
      }
      fOutput->Remove(files);
      return;
   }
#ifdef WITH_PROOF
   if (auto *out = dynamic_cast<TProofOutputFile *>(fOutput->FindObject("outputs.root"))) {
      path = out->GetOutputFileName();
      fOutput->Remove(out);
      if (auto *more = fOutput->FindObject("more.root")) fOutput->Remove(more);
   }
#endif
   Read(path, "events", events);
   Read(path, "a/b/deep", deep);
}
