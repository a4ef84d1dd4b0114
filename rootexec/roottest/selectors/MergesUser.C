// MergesUser has objects of classes of its own in its output, whose Merge is right or goes wrong in one way each.

#include <TClonesArray.h>
#include <TFileMergeInfo.h>
#include <TH1.h>
#include <TList.h>
#include <TNamed.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

#include <cstdlib>
#include <stdexcept>

// Counts entries; what it does when it is merged is in each class that derives from it.
class CountOf : public TNamed {
 public:
   Long64_t fN = 0;
   CountOf(const char *name = "") : TNamed(name, "") {}
   void add(TCollection *list)
   {
      for (TObject *o : *list)
         fN += static_cast<CountOf *>(o)->fN;
   }
   ClassDefOverride(CountOf, 1);
};

class CountRight : public CountOf {
 public:
   using CountOf::CountOf;
   Long64_t Merge(TCollection *list)
   {
      add(list);
      return fN;
   }
   ClassDefOverride(CountRight, 1);
};

// The form that file mergers call. It uses what it is given without a look.
class CountInfo : public CountOf {
 public:
   using CountOf::CountOf;
   Long64_t Merge(TCollection *list, TFileMergeInfo *info)
   {
      add(list);
      return info->fOutputDirectory ? fN : -1;
   }
   ClassDefOverride(CountInfo, 1);
};

#define BAD(NAME, WHAT)                         \
   class NAME : public CountOf {                \
    public:                                     \
      using CountOf::CountOf;                   \
      Long64_t Merge(TCollection *list)         \
      {                                         \
         add(list);                             \
         WHAT;                                  \
         return 1;                              \
      }                                         \
      ClassDefOverride(NAME, 1);                \
   }
BAD(CountRefuses, return -1);
BAD(CountThrows, throw std::runtime_error("no merge today"));
BAD(CountCrashes, *reinterpret_cast<volatile int *>(8) = 1);
BAD(CountExits, std::exit(3));

// A histogram that inherits its merge, and one whose own forgets all but the first of the others.
class PlainHist : public TH1F {
 public:
   Int_t fExtra = 7;
   PlainHist(const char *name = "") : TH1F(name, "", 20, -1, 1) {}
   ClassDefOverride(PlainHist, 1);
};

class CutHist : public TH1F {
 public:
   CutHist(const char *name = "") : TH1F(name, "", 20, -1, 1) {}
   Long64_t Merge(TCollection *) override { return 1; }
   ClassDefOverride(CutHist, 1);
};

// Collections that inherit what TSeqCollection has.
class OwnList : public TList {
 public:
   ClassDefOverride(OwnList, 1);
};

class OwnClones : public TClonesArray {
 public:
   OwnClones() : TClonesArray("TNamed") {}
   ClassDefOverride(OwnClones, 1);
};

class MergesUser : public TSelector {
 public:
   TTreeReader fReader;                                     //!
   TTreeReaderValue<ULong64_t> fEvent = {fReader, "event"}; //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override
   {
      for (CountOf *o : std::initializer_list<CountOf *>{
              new CountRight("right"), new CountInfo("info"), new CountOf("none"),
              new CountRefuses("refuses"), new CountThrows("throws"), new CountCrashes("crashes"),
              new CountExits("exits")})
         fOutput->Add(o);
      fOutput->Add(new PlainHist("plain"));
      fOutput->Add(new CutHist("cut"));
      auto *list = new OwnList;
      list->SetName("ownlist");
      list->Add(new CountRight("inner"));
      list->Add(new CountCrashes("innercrashes"));
      fOutput->Add(list);
      auto *clones = new OwnClones;
      clones->SetName("ownclones");
      fOutput->Add(clones);
   }
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override
   {
      fReader.SetLocalEntry(entry);
      const Long64_t id = *fEvent;
      for (TObject *o : *fOutput) {
         if (auto *count = dynamic_cast<CountOf *>(o))
            ++count->fN;
         if (auto *h = dynamic_cast<TH1 *>(o))
            h->Fill(double(id % 20) / 10 - 1);
         if (auto *list = dynamic_cast<OwnList *>(o))
            for (TObject *e : *list)
               ++static_cast<CountOf *>(e)->fN;
         if (auto *a = dynamic_cast<OwnClones *>(o))
            if (id % 40 == 0)
               new ((*a)[a->GetEntriesFast()]) TNamed(TString::Format("event %lld", id).Data(), "");
      }
      return kTRUE;
   }
   // Tells what it sees, for nobody else can read these classes.
   void Terminate() override
   {
      printf("terminate\n");
      for (TObject *o : *fOutput) {
         if (auto *count = dynamic_cast<CountOf *>(o))
            printf("%s %lld\n", o->GetName(), count->fN);
         if (auto *h = dynamic_cast<TH1 *>(o))
            printf("%s %g\n", o->GetName(), h->GetEntries());
         if (auto *a = dynamic_cast<OwnClones *>(o))
            printf("%s %d\n", o->GetName(), a->GetEntries());
         if (auto *list = dynamic_cast<OwnList *>(o))
            tell(*list);
      }
   }
   void tell(TList &list)
   {
      Long64_t n = 0, crashing = 0;
      for (TObject *o : list) {
         if (TString(o->GetName()) == "innercrashes") {
            ++n;
            crashing += static_cast<CountOf *>(o)->fN;
         } else {
            printf("%s %lld\n", o->GetName(), static_cast<CountOf *>(o)->fN);
         }
      }
      printf("innercrashes*%lld %lld\n", n, crashing);
   }
   ClassDefOverride(MergesUser, 0);
};
