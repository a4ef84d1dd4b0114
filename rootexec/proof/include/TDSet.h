// Sets of data: which trees of which files a query runs over. TDSetElement is also what PROOF_CurrentElement in a
// selector's input list holds on a worker: the file and the entries in hand.
#ifndef ROOT_TDSet
#define ROOT_TDSet

#include "ProofIncludes.h"
#include "TFileInfo.h"
#include "THashList.h"
#include "TList.h"
#include "TNamed.h"
#include "TObjString.h"
#include "TString.h"

#include <list>
#include <set>
#include <utility>

class TChain;
class TCollection;
class TCut;
class TEntryList;
class TEventList;
class TFileCollection;
class TIter;
class TProof;
class TSelector;
class TTree;

/// A range of entries of one tree in one file. The name is the file's, the title the tree's.
class TDSetElement : public TNamed {
 public:
  typedef std::list<std::pair<TDSetElement *, TString>> FriendsList_t;
  enum EStatusBits {
    kHasBeenLookedUp = BIT(15),
    kWriteV3 = BIT(16),
    kEmpty = BIT(17),
    kCorrupted = BIT(18),
    kNewRun = BIT(19),
    kNewPacket = BIT(20)
  };

  TDSetElement();
  TDSetElement(const char *file, const char *objname = nullptr, const char *dir = nullptr, Long64_t first = 0,
               Long64_t num = -1, const char *msd = nullptr, const char *dataset = nullptr);
  TDSetElement(const TDSetElement &elem);
  TDSetElement &operator=(const TDSetElement &) = delete;
  ~TDSetElement() override;

  virtual TList *GetListOfFriends() const { return fFriends; }
  virtual void AddFriend(TDSetElement *friendElement, const char *alias);
  virtual void DeleteFriends();
  const char *GetFileName() const { return GetName(); }
  Long64_t GetFirst() const { return fFirst; }
  void SetFirst(Long64_t first) { fFirst = first; }
  /// The number of entries from the first on, -1 for all.
  Long64_t GetNum() const { return fNum; }
  void SetNum(Long64_t num) { fNum = num; }
  /// The entries of the whole tree, for which the file is opened where it is not known yet; -1 if that fails.
  Long64_t GetEntries(Bool_t istree = kTRUE, Bool_t openfile = kTRUE);
  void SetEntries(Long64_t entries) { fEntries = entries; }
  const char *GetMsd() const { return fMsd; }
  Bool_t GetValid() const { return fValid; }
  void Validate(Bool_t isTree);
  void Validate(TDSetElement *elem);
  void Invalidate() { fValid = kFALSE; }
  void SetValid() { fValid = kTRUE; }
  const char *GetObjName() const { return GetTitle(); }
  const char *GetDirectory() const { return fDirectory; }
  const char *GetDataSet() const { return fDataSet; }
  void SetDataSet(const char *dataset) { fDataSet = dataset; }
  void AddAssocObj(TObject *object);
  TList *GetListOfAssocObjs() const { return fAssocObjs; }
  TObject *GetAssocObj(Long64_t i, Bool_t isentry = kFALSE);
  void Print(Option_t *options = "") const override;
  Long64_t GetTDSetOffset() const { return fTDSetOffset; }
  void SetTDSetOffset(Long64_t offset) { fTDSetOffset = offset; }
  void SetEntryList(TObject *list, Long64_t first = -1, Long64_t num = -1);
  TObject *GetEntryList() const { return fEntryList; }
  Int_t Compare(const TObject *obj) const override;
  Bool_t IsSortable() const override { return kTRUE; }
  Int_t Lookup(Bool_t = kFALSE) { return 0; }
  void SetLookedUp() { SetBit(kHasBeenLookedUp); }
  TFileInfo *GetFileInfo(const char *type = "TTree");
  Float_t GetMaxProcTime() const { return fMaxProcTime; }
  void SetMaxProcTime(Float_t seconds) { fMaxProcTime = seconds; }
  Int_t MergeElement(TDSetElement *elem);

 private:
  TString fDirectory;             // folder in the file
  Long64_t fFirst = 0;            // first entry
  Long64_t fNum = -1;             // number of entries, -1 for all
  TString fMsd;                   // domain of storage
  Long64_t fTDSetOffset = 0;      // entries before this element in the whole set
  TObject *fEntryList = nullptr;  // entries to process, not owned
  Bool_t fValid = kFALSE;         // whether the range was compared with the file
  Long64_t fEntries = -1;         // of the whole tree, -1 if unknown
  TList *fFriends = nullptr;      // elements
  TString fDataSet;               // name of the dataset
  TList *fAssocObjs = nullptr;    // objects that go with it
  Float_t fMaxProcTime = -1;      // unused

  ClassDefOverride(TDSetElement, 9) // Entries of a tree in a file
};

/// A list of elements.
class TDSet : public TNamed {
 public:
  enum EStatusBits {
    kWriteV3 = BIT(16),
    kEmpty = BIT(17),
    kValidityChecked = BIT(18),
    kSomeInvalid = BIT(19),
    kMultiDSet = BIT(20),
    kIsLocal = BIT(21)
  };

  TDSet();
  /// As in old code the name may be the type instead, "TTree". objname "*" is the only tree of a file.
  TDSet(const char *name, const char *objname = "*", const char *dir = "/", const char *type = nullptr);
  TDSet(const TChain &chain, Bool_t withfriends = kTRUE);
  TDSet(const TDSet &) = delete;
  TDSet &operator=(const TDSet &) = delete;
  ~TDSet() override;

  virtual Bool_t Add(const char *file, const char *objname = nullptr, const char *dir = nullptr, Long64_t first = 0,
                     Long64_t num = -1, const char *msd = nullptr);
  virtual Bool_t Add(TDSet *set);
  virtual Bool_t Add(TCollection *fileinfo, const char *meta = nullptr, Bool_t availableOnly = kFALSE,
                     TCollection *badlist = nullptr);
  virtual Bool_t Add(TFileInfo *fileinfo, const char *meta = nullptr);
  virtual void AddFriend(TDSet *friendset, const char *alias);

  virtual Long64_t Process(TSelector *selector, Option_t *option = "", Long64_t nentries = -1, Long64_t firstentry = 0,
                           TObject *enl = nullptr);
  virtual Long64_t Process(const char *selector, Option_t *option = "", Long64_t nentries = -1,
                           Long64_t firstentry = 0, TObject *enl = nullptr);
  virtual Long64_t Draw(const char *varexp, const char *selection, Option_t *option = "", Long64_t nentries = -1,
                        Long64_t firstentry = 0);
  virtual Long64_t Draw(const char *varexp, const TCut &selection, Option_t *option = "", Long64_t nentries = -1,
                        Long64_t firstentry = 0);
  void Draw(Option_t *opt) override { Draw(opt, "", "", -1, 0); }

  Int_t ExportFileList(const char *filepath, Option_t *opt = "");
  void Print(Option_t *option = "") const override;

  void SetObjName(const char *objname);
  void SetDirectory(const char *dir);
  Bool_t IsTree() const { return fType == "TTree" || fType == "TNtuple"; }
  Bool_t IsValid() const { return !fType.IsNull(); }
  Bool_t ElementsValid() { return kTRUE; }
  const char *GetType() const { return fType; }
  const char *GetObjName() const { return fObjName; }
  const char *GetDirectory() const { return fDir; }
  TList *GetListOfElements() const { return fElements; }
  Int_t GetNumOfFiles();
  Int_t Remove(TDSetElement *elem, Bool_t deleteElem = kTRUE);

  virtual void Reset();
  virtual TDSetElement *Next(Long64_t totalEntries = -1);
  TDSetElement *Current() const { return fCurrent; }
  /// The entries of a tree in a file, -1 if it cannot be read; an empty objname becomes the tree's name.
  static Long64_t GetEntries(Bool_t isTree, const char *filename, const char *path, TString &objname);

  void AddInput(TObject *obj);
  void ClearInput();
  TObject *GetOutput(const char *name);
  TList *GetOutputList();
  virtual void StartViewer();
  virtual TTree *GetTreeHeader(TProof *proof);
  virtual void SetEntryList(TObject *list);
  TObject *GetEntryList() const { return fEntryList; }
  void Validate() {}
  void Validate(TDSet *) {}
  void Lookup(Bool_t = kFALSE, TList ** = nullptr) {}
  void SetLookedUp() {}
  void SetSrvMaps(TList * = nullptr) {}
  void SetWriteV3(Bool_t = kTRUE) {}

 protected:
  TString fDir, fType = "TTree", fObjName;
  THashList *fElements; // -> TDSetElement objects
  TObject *fEntryList = nullptr; //! not owned
  TIter *fIterator = nullptr;    //!
  TDSetElement *fCurrent = nullptr; //!

  ClassDefOverride(TDSet, 9) // Which trees of which files a query runs over
};

#endif
