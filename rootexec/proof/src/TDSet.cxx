#include "TDSet.h"

#include "TChain.h"
#include "TChainElement.h"
#include "TCut.h"
#include "TEntryList.h"
#include "TFile.h"
#include "TFileCollection.h"
#include "TFriendElement.h"
#include "TKey.h"
#include "TProof.h"
#include "TROOT.h"
#include "TSystem.h"
#include "TTree.h"
#include "TUrl.h"

#include <fstream>
#include <memory>

TDSetElement::TDSetElement() = default;

TDSetElement::TDSetElement(const char *file, const char *objname, const char *dir, Long64_t first, Long64_t num,
                           const char *msd, const char *dataset)
    : TNamed(file, objname), fDirectory(dir), fFirst(std::max<Long64_t>(first, 0)), fNum(std::max<Long64_t>(num, -1)),
      fMsd(msd), fDataSet(dataset) {}

TDSetElement::TDSetElement(const TDSetElement &e)
    : TNamed(e), fDirectory(e.fDirectory), fFirst(e.fFirst), fNum(e.fNum), fMsd(e.fMsd), fTDSetOffset(e.fTDSetOffset),
      fEntryList(e.fEntryList), fValid(e.fValid), fEntries(e.fEntries), fDataSet(e.fDataSet),
      fMaxProcTime(e.fMaxProcTime) {}

TDSetElement::~TDSetElement() {
  DeleteFriends();
  if (fAssocObjs) fAssocObjs->Delete();
  delete fAssocObjs;
}

void TDSetElement::AddFriend(TDSetElement *friendElement, const char *alias) {
  if (!friendElement) return;
  if (!fFriends) fFriends = new TList;
  auto *copy = new TDSetElement(*friendElement);
  copy->SetName(TString::Format("%s%sfriend_alias=%s|", copy->GetName(),
                                strchr(copy->GetName(), '?') ? "&" : "?", alias ? alias : ""));
  fFriends->Add(copy);
}

void TDSetElement::DeleteFriends() {
  if (fFriends) fFriends->Delete();
  delete fFriends;
  fFriends = nullptr;
}

Long64_t TDSetElement::GetEntries(Bool_t isTree, Bool_t openfile) {
  if (fEntries < 0 && openfile) {
    TString name = GetObjName();
    fEntries = TDSet::GetEntries(isTree, GetFileName(), fDirectory, name);
    if (fEntries >= 0) SetTitle(name);
  }
  return fEntries;
}

void TDSetElement::Validate(Bool_t isTree) {
  const Long64_t entries = GetEntries(isTree);
  if (entries < 0 || fFirst > entries) {
    Error("Validate", "%s has %lld entries, the first is to be %lld", GetFileName(), entries, fFirst);
    return;
  }
  if (fNum < 0 || fFirst + fNum > entries) fNum = entries - fFirst;
  fValid = kTRUE;
}

void TDSetElement::Validate(TDSetElement *elem) {
  if (!elem || !elem->GetValid()) return;
  fEntries = elem->GetEntries();
  Validate(kTRUE);
}

void TDSetElement::AddAssocObj(TObject *object) {
  if (!object) return;
  if (!fAssocObjs) fAssocObjs = new TList;
  fAssocObjs->Add(object);
}

TObject *TDSetElement::GetAssocObj(Long64_t i, Bool_t isentry) {
  if (!fAssocObjs || fAssocObjs->IsEmpty()) return nullptr;
  const Long64_t at = isentry ? i - fFirst : i;
  return at < 0 || at >= fAssocObjs->GetSize() ? nullptr : fAssocObjs->At(static_cast<Int_t>(at));
}

void TDSetElement::Print(Option_t *) const {
  Printf(" %s \"%s%s\" entries %lld from %lld", GetFileName(), GetDirectory(), GetObjName(), fNum, fFirst);
}

void TDSetElement::SetEntryList(TObject *list, Long64_t first, Long64_t num) {
  fEntryList = list;
  fFirst = std::max<Long64_t>(first, 0);
  fNum = num;
}

Int_t TDSetElement::Compare(const TObject *obj) const {
  const auto *other = dynamic_cast<const TDSetElement *>(obj);
  if (!other || this == other) return 0;
  const Int_t order = strcmp(GetName(), other->GetName());
  return order ? order : fFirst < other->fFirst ? -1 : fFirst > other->fFirst;
}

TFileInfo *TDSetElement::GetFileInfo(const char *type) {
  auto *info = new TFileInfo(GetFileName());
  info->AddMetaData(new TFileInfoMeta(TString::Format("%s%s", GetDirectory(), GetObjName()), type, fEntries, fFirst));
  return info;
}

Int_t TDSetElement::MergeElement(TDSetElement *elem) {
  if (!elem || strcmp(elem->GetName(), GetName()) || strcmp(elem->GetTitle(), GetTitle())) return -1;
  if (fFirst + fNum == elem->fFirst) {
    fNum += elem->fNum;
    return 1;
  }
  if (elem->fFirst + elem->fNum == fFirst) {
    fFirst = elem->fFirst;
    fNum += elem->fNum;
    return 0;
  }
  return -1;
}

TDSet::TDSet() : fElements(new THashList) { fElements->SetOwner(); }

TDSet::TDSet(const char *name, const char *objname, const char *dir, const char *type) : TDSet() {
  const TString given(name);
  if (!type && (given == "TTree" || given == "TNtuple" || given == "TChain"))
    fType = "TTree";
  else if (type && *type)
    fType = type;
  fObjName = objname;
  fDir = dir;
  SetName(given.IsNull() ? TString::Format("TDSet:%s", objname).Data() : name);
  SetTitle(fType);
}

TDSet::TDSet(const TChain &chain, Bool_t withfriends) : TDSet() {
  fObjName = chain.GetName();
  SetName(TString::Format("TChain:%s", chain.GetName()));
  TIter next(chain.GetListOfFiles());
  while (auto *file = static_cast<TChainElement *>(next())) {
    TString tree(file->GetName()), dir("/");
    if (const Ssiz_t slash = tree.Last('/'); slash != kNPOS) {
      dir = tree(0, slash + 1);
      tree.Remove(0, slash + 1);
    }
    Add(file->GetTitle(), tree, dir);
    auto *last = static_cast<TDSetElement *>(fElements->Last());
    if (last && file->GetEntries() > 0 && file->GetEntries() < TTree::kMaxEntries) last->SetEntries(file->GetEntries());
  }
  SetDirectory(fElements->First() ? static_cast<TDSetElement *>(fElements->First())->GetDirectory() : "/");
  if (TEntryList *list = const_cast<TChain &>(chain).GetEntryList()) SetEntryList(list);
  if (!withfriends || !chain.GetListOfFriends()) return;
  TIter friends(chain.GetListOfFriends());
  while (auto *f = static_cast<TFriendElement *>(friends())) {
    if (auto *other = dynamic_cast<TChain *>(f->GetTree())) {
      TDSet set(*other, kFALSE);
      AddFriend(&set, f->GetName());
    }
  }
}

TDSet::~TDSet() {
  delete fIterator;
  delete fElements;
}

Bool_t TDSet::Add(const char *file, const char *objname, const char *dir, Long64_t first, Long64_t num, const char *msd) {
  if (!file || !*file) {
    Error("Add", "file name must be specified");
    return kFALSE;
  }
  fElements->Add(new TDSetElement(file, objname ? objname : fObjName.Data(), dir ? dir : fDir.Data(), first, num, msd));
  return kTRUE;
}

Bool_t TDSet::Add(TDSet *set) {
  if (!set) return kFALSE;
  TIter next(set->fElements);
  while (auto *e = static_cast<TDSetElement *>(next()))
    fElements->Add(new TDSetElement(*e));
  return kTRUE;
}

Bool_t TDSet::Add(TFileInfo *info, const char *meta) {
  if (!info) return kFALSE;
  TFileInfoMeta *m = info->GetMetaData(meta && *meta ? meta : nullptr);
  TString name = fObjName, dir = fDir;
  if (m && (meta || name.IsNull() || name == "*")) {
    name = m->GetObject();
    dir = m->GetDirectory();
    if (!dir.EndsWith("/")) dir += "/";
  }
  auto *e = new TDSetElement(info->GetCurrentUrl()->GetUrl(), name, dir);
  if (m && m->GetEntries() > 0) e->SetEntries(m->GetEntries());
  fElements->Add(e);
  return kTRUE;
}

Bool_t TDSet::Add(TCollection *files, const char *meta, Bool_t availableOnly, TCollection *bad) {
  if (!files) return kFALSE;
  TIter next(files);
  while (TObject *o = next()) {
    auto *info = dynamic_cast<TFileInfo *>(o);
    if (!info && o->InheritsFrom(TUrl::Class()))
      Add(static_cast<TUrl *>(o)->GetUrl());
    else if (!info)
      Add(o->GetName());
    else if (info->TestBit(TFileInfo::kCorrupted) || (availableOnly && !info->TestBit(TFileInfo::kStaged))) {
      if (bad) bad->Add(info);
    } else
      Add(info, meta);
  }
  return kTRUE;
}

void TDSet::AddFriend(TDSet *set, const char *alias) {
  if (!set || set->fElements->IsEmpty()) {
    Error("AddFriend", "the friend set is empty");
    return;
  }
  if (set->fElements->GetSize() != fElements->GetSize()) {
    Error("AddFriend", "the sets have %d and %d elements", fElements->GetSize(), set->fElements->GetSize());
    return;
  }
  TIter next(fElements), others(set->fElements);
  while (auto *e = static_cast<TDSetElement *>(next()))
    e->AddFriend(static_cast<TDSetElement *>(others()), alias);
}

Long64_t TDSet::Process(TSelector *selector, Option_t *option, Long64_t n, Long64_t first, TObject *list) {
  if (!TProof::Default("TDSet::Process")) return -1;
  if (list) SetEntryList(list);
  return gProof->Process(this, selector, option, n, first);
}

Long64_t TDSet::Process(const char *selector, Option_t *option, Long64_t n, Long64_t first, TObject *list) {
  if (!TProof::Default("TDSet::Process")) return -1;
  if (list) SetEntryList(list);
  return gProof->Process(this, selector, option, n, first);
}

Long64_t TDSet::Draw(const char *varexp, const char *selection, Option_t *option, Long64_t n, Long64_t first) {
  if (!TProof::Default("TDSet::Draw")) return -1;
  return gProof->DrawSelect(this, varexp, selection, option, n, first);
}

Long64_t TDSet::Draw(const char *varexp, const TCut &selection, Option_t *option, Long64_t n, Long64_t first) {
  return Draw(varexp, selection.GetTitle(), option, n, first);
}

Int_t TDSet::ExportFileList(const char *path, Option_t *opt) {
  if (!gSystem->AccessPathName(path) && !strchr(opt, 'F') && !strchr(opt, 'f')) {
    Error("ExportFileList", "%s exists already; use option \"F\" to write over it", path);
    return -1;
  }
  std::ofstream out(path);
  TIter next(fElements);
  while (TObject *e = next())
    out << e->GetName() << '\n';
  return out.flush() ? 0 : -1;
}

void TDSet::Print(Option_t *option) const {
  Printf("OBJ: TDSet\t%s\ttype %s\t%s\tin %s\telements %d", GetName(), GetType(), GetObjName(), GetDirectory(),
         fElements->GetSize());
  if (option && (*option == 'a' || *option == 'A')) fElements->Print();
}

void TDSet::SetObjName(const char *objname) {
  fObjName = objname;
  TIter next(fElements);
  while (auto *e = static_cast<TDSetElement *>(next()))
    e->SetTitle(objname);
}

void TDSet::SetDirectory(const char *dir) { fDir = dir; }

Int_t TDSet::GetNumOfFiles() {
  std::set<TString> names;
  TIter next(fElements);
  while (TObject *e = next())
    names.insert(e->GetName());
  return static_cast<Int_t>(names.size());
}

Int_t TDSet::Remove(TDSetElement *elem, Bool_t deleteElem) {
  if (!elem || !fElements->Remove(elem)) return -1;
  if (deleteElem) delete elem;
  return 0;
}

void TDSet::Reset() {
  delete fIterator;
  fIterator = new TIter(fElements);
  fCurrent = nullptr;
}

TDSetElement *TDSet::Next(Long64_t) {
  if (!fIterator) Reset();
  return fCurrent = static_cast<TDSetElement *>(fIterator->Next());
}

Long64_t TDSet::GetEntries(Bool_t, const char *filename, const char *path, TString &objname) {
  TDirectory::TContext keep;
  std::unique_ptr<TFile> file(TFile::Open(filename));
  if (!file || file->IsZombie()) return -1;
  TString dir(path);
  dir = dir.Strip(TString::kBoth, '/');
  TDirectory *in = dir.IsNull() ? file.get() : file->GetDirectory(dir);
  if (!in) return -1;
  if (objname.IsNull() || objname == "*") {
    objname = "";
    TIter next(in->GetListOfKeys());
    while (auto *key = static_cast<TKey *>(next())) {
      TClass *cls = TClass::GetClass(key->GetClassName());
      if (!cls || !cls->InheritsFrom(TTree::Class())) continue;
      objname = key->GetName();
      break;
    }
  }
  auto *tree = in->Get<TTree>(objname);
  return tree ? tree->GetEntries() : -1;
}

void TDSet::AddInput(TObject *obj) {
  if (TProof::Default("TDSet::AddInput")) gProof->AddInput(obj);
}

void TDSet::ClearInput() {
  if (TProof::Default("TDSet::ClearInput")) gProof->ClearInput();
}

TObject *TDSet::GetOutput(const char *name) {
  return TProof::Default("TDSet::GetOutput") ? gProof->GetOutput(name) : nullptr;
}

TList *TDSet::GetOutputList() { return TProof::Default("TDSet::GetOutputList") ? gProof->GetOutputList() : nullptr; }

void TDSet::StartViewer() {
  Error("StartViewer", "there is no viewer of a TDSet: make a TChain of the files, and call its StartViewer()");
}

TTree *TDSet::GetTreeHeader(TProof *) {
  auto *first = static_cast<TDSetElement *>(fElements->First());
  if (!first) return nullptr;
  TFile *file = TFile::Open(first->GetFileName()); // the tree goes on reading it
  if (!file || file->IsZombie()) return nullptr;
  TString path = TString(first->GetDirectory()).Strip(TString::kBoth, '/');
  if (!path.IsNull()) path += "/";
  return file->Get<TTree>(path + first->GetObjName());
}

void TDSet::SetEntryList(TObject *list) { fEntryList = list; }
