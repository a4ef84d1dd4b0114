// World says in Begin and Terminate what it finds around it, a line each, which is the same in one process: the
// current directory, objects by their names, trees that draw into histograms, canvases, fits, files. Its fStatus counts
// the entries. It fills "h" and the tree "out" from branch event, or from the entry's number where there is no tree.
// With option "toss" it fills "toss" from gRandom instead, in all the ways in which selectors draw, and prints nothing;
// with option "slow" an entry takes a millisecond.

#ifndef World_h
#define World_h

#include <TH1D.h>
#include <TSelector.h>
#include <TTree.h>

class World : public TSelector {
public:
   TTree *fChain = nullptr; //!
   TTree *fOut = nullptr;   //!
   TH1D *fH = nullptr;      //!
   TH1D *fToss = nullptr;   //!
   ULong64_t fEvent = 0;    //!
   Double_t fA = 0;         //!
   Int_t fSmear = 0;        //!

   Int_t Version() const override { return 2; }
   void Begin(TTree *) override;
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override;
   Bool_t Process(Long64_t entry) override;
   void Terminate() override;

   void say(const char *format, ...);
   void toss(Long64_t entry);
   void drawTrees();
   void drawPads();
   void writeFile();

   ClassDefOverride(World, 0);
};

#endif
