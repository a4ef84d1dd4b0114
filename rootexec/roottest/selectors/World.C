#include "World.h"

#include <TCanvas.h>
#include <TDirectory.h>
#include <TEntryList.h>
#include <TEventList.h>
#include <TF1.h>
#include <TFile.h>
#include <TList.h>
#include <TMath.h>
#include <TPaveText.h>
#include <TROOT.h>
#include <TRandom3.h>
#include <TSystem.h>

#include <cstdarg>
#include <cstdio>
#include <memory>

namespace {

// ROOT's own directory has the name of the program once that has a TApplication.
const char *nameOf(TDirectory *directory)
{
   return !directory ? "none" : directory == gROOT ? "gROOT" : directory->GetName();
}

} // namespace

void World::say(const char *format, ...)
{
   std::va_list args;
   va_start(args, format);
   std::printf("world: ");
   std::vprintf(format, args);
   std::printf("\n");
   va_end(args);
}

void World::Begin(TTree *)
{
   if (fOption == "toss")
      return;
   auto *mine = new TH1D("mine", "", 10, 0, 1);
   say("Begin in %s, histograms enter it: %d, batch %d, mine is in %s", nameOf(gDirectory),
       TH1::AddDirectoryStatus(), gROOT->IsBatch(), nameOf(mine->GetDirectory()));
   SetStatus(5);
}

void World::SlaveBegin(TTree *)
{
   fOutput->Add(fToss = new TH1D("toss", "", 200, -10, 10));
   if (fOption == "toss") {
      fSmear = gRandom->Integer(100);
      return;
   }
   fOutput->Add(fH = new TH1D("h", "", 50, -5, 5));
   fOut = new TTree("out", "");
   fOut->Branch("a", &fA);
   fOutput->Add(fOut);
}

void World::Init(TTree *tree)
{
   fChain = tree;
   fChain->SetBranchAddress("event", &fEvent);
}

// Numbers of gRandom by itself, through other classes, and after seeds of the code's own.
void World::toss(Long64_t entry)
{
   fToss->Fill(gRandom->Gaus() + 1e-9 * fSmear);
   if (entry % 3 == 0) {
      Double_t many[5];
      gRandom->RndmArray(5, many);
      for (const Double_t x : many)
         fToss->Fill(10 * x - 5);
   }
   if (entry % 7 == 0) {
      static TF1 f("f", "exp(-x*x)", -2, 2);
      fToss->Fill(f.GetRandom());
   }
   if (entry % 5 == 0) {
      gRandom->SetSeed(0);
      fToss->Fill(gRandom->Poisson(3));
   }
   if (entry % 11 == 0) {
      gRandom->SetSeed(entry + 1);
      fToss->Fill(gRandom->Uniform(-1, 1) + TRandom3(entry + 1).Uniform(-1, 1));
   }
}

Bool_t World::Process(Long64_t entry)
{
   if (fOption == "toss") {
      toss(entry);
      return kTRUE;
   }
   if (fOption == "slow")
      gSystem->Sleep(1); // ms
   if (fChain)
      fChain->GetTree()->GetEntry(entry);
   else
      fEvent = entry;
   fA = TMath::NormQuantile((fEvent % 9973 + 0.5) / 9973);
   fH->Fill(fA);
   fOut->Fill();
   ++fStatus;
   return kTRUE;
}

void World::drawTrees()
{
   auto *hd = new TH1D("hd", "", 50, -5, 5);
   const Long64_t drawn = fOut->Draw("a>>hd", "a>-4", "goff");
   say("the tree is in %s, %lld are drawn, hd has %.0f", nameOf(fOut->GetDirectory()), drawn, hd->GetEntries());
   fOut->Draw("a>>made(20,-5,5)", "", "goff");
   auto *made = static_cast<TH1 *>(gDirectory->Get("made"));
   say("made has %.0f", made ? made->GetEntries() : -1);
   fOut->Draw(">>list", "a>0");
   auto *list = dynamic_cast<TEventList *>(gDirectory->Get("list"));
   say("list has %d", list ? list->GetN() : -1);
   fOut->Draw("a>>+hd", "a>1", "goff");
   say("hd has %.0f", hd->GetEntries());
}

void World::drawPads()
{
   auto *canvas = new TCanvas("c", "", 600, 300);
   canvas->Divide(2, 1);
   canvas->cd(1);
   const int fit = fH->Fit("gaus", "Q");
   const TF1 *f = fH->GetFunction("gaus");
   say("the fit returns %d, sigma %.2f", fit, f ? f->GetParameter(2) : -1);
   canvas->cd(2);
   fH->DrawCopy("hist");
   TPaveText text(0.2, 0.2, 0.5, 0.5, "NDC");
   text.AddText("text");
   text.DrawClone();
   say("gPad is %s, c is found %d, copies of h in it %d", gPad->GetName(), gROOT->FindObject("c") == canvas,
       gPad->GetPrimitive("h_copy") != nullptr);
   new TCanvas("a b/c", "", 200, 200);
   (new TCanvas("a_b_c", "", 200, 200))->Print("by_hand.png");
   delete gROOT->GetListOfCanvases()->FindObject("none");
   fOut->Draw("a");
   say("%d canvases, gPad %s has htemp %d", gROOT->GetListOfCanvases()->GetSize(), gPad->GetName(),
       gPad->GetPrimitive("htemp") != nullptr);
}

void World::writeFile()
{
   std::unique_ptr<TFile> file(TFile::Open("terminate.root", "RECREATE"));
   new TH1D("inside", "", 1, 0, 1);
   fH->Write();
   file->Write();
   say("in the file %d keys, its histogram's is in %d", file->GetListOfKeys()->GetSize(),
       file->FindObject("inside") != nullptr);
   file->Close();
}

void World::Terminate()
{
   if (fOption == "toss")
      return;
   say("Terminate in %s, histograms enter it: %d, status %lld", nameOf(gDirectory), TH1::AddDirectoryStatus(),
       GetStatus());
   say("members are bound %d %d, h is in %s, found %d and %d, mine %d",
       fH && fH == fOutput->FindObject("h"), fOut && fOut == fOutput->FindObject("out"),
       nameOf(fH->GetDirectory()), gROOT->FindObject("h") == fH,
       gDirectory->Get("h") == fH, gDirectory->FindObject("mine") != nullptr);
   drawTrees();
   drawPads();
   writeFile();
   std::fflush(stdout);
}
