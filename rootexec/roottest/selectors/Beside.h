// Beside reads ev of the chain and, as its option says, x of the friend fr, y of ix and z of sh beside it: "reader" by a
// TTreeReader, "formula" by a TTreeFormula that Init() makes, else by SetBranchAddress. "own" has Init() give each file
// the friend own, a copy of it, and "alias" sets an address by that name. "add=FILE" has Init() give the tree the friend fr in FILE, or in several with + between them, "skim" has it clone the
// tree, for every third entry, and "notify" has Notify() tell the formula, which is not to come while Init() makes it
// anew. "pick" has every fifth entry put into the TEntryList picked. Its sums tell which rows stood beside which.

#ifndef Beside_h
#define Beside_h

#include <TChain.h>
#include <TEntryList.h>
#include <TFile.h>
#include <TH1.h>
#include <TList.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TTree.h>
#include <TTreeFormula.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

#include <memory>
#include <stdexcept>

class Beside : public TSelector {
public:
   TTree *fChain = nullptr;                                          //!
   Long64_t fEvent = -1, fX = -1, fY = -1, fZ = -1;                  //!
   TTreeReader fReader;                                              //!
   std::unique_ptr<TTreeReaderValue<Long64_t>> fRE, fRX, fRY, fRZ;   //!
   std::unique_ptr<TTreeFormula> fFormula;                           //!
   bool fMaking = false;                                             //! the formula, in place of another
   TTree *fSkim = nullptr;                                           //!
   TEntryList *fPicked = nullptr;                                    //!
   TH1D *fEvents = nullptr;                                          //!
   TParameter<Long64_t> *fSumX = nullptr, *fSumY = nullptr, *fSumZ = nullptr; //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override;
   void AddFriends(TTree &tree, const TString &files);
   Bool_t Notify() override;
   Bool_t Process(Long64_t entry) override;

   ClassDefOverride(Beside, 0);
};

#endif
