#include "query.h"

#include "TBaseClass.h"
#include "TChain.h"
#include "TClass.h"
#include "TDSet.h"
#include "TDataMember.h"
#include "TEntryList.h"
#include "TError.h"
#include "TEventList.h"
#include "TFile.h"
#include "TFriendElement.h"
#include "TList.h"
#include "TROOT.h"
#include "TSelector.h"
#include "TSelectorList.h"
#include "TSystem.h"
#include "TTree.h"
#include "TVirtualIndex.h"
#include "session.h"

#include <algorithm>
#include <dlfcn.h>
#include <fstream>
#include <memory>
#include <set>

namespace dtpnode {

namespace {

const char *const kEndings[] = {".C", ".cxx", ".cpp", ".cc"};

bool isFile(const std::string &path) {
  FileStat_t st;
  return gSystem->GetPathInfo(path.c_str(), st) == 0 && R_ISREG(st.fMode);
}

/// Where ROOT would find a macro: in the working folder or along its macro path.
std::string found(const std::string &name) {
  TString path(name);
  gSystem->ExpandPathName(path);
  if (isFile(path.Data())) return path.Data();
  std::unique_ptr<char[]> there(gSystem->Which(TROOT::GetMacroPath(), path, kReadPermission));
  return there ? there.get() : "";
}

/// The tree's path in the file.
std::string treeOf(const TDSetElement &e, const TDSet &set) {
  TString dir(e.GetDirectory()), name(e.GetObjName());
  if (name.IsNull()) name = set.GetObjName();
  if (name == "*") name = "";
  dir = dir.Strip(TString::kBoth, '/');
  if (name.IsNull()) {
    TDSet::GetEntries(kTRUE, e.GetFileName(), dir, name);
    if (name.IsNull()) return "";
  }
  return dir.IsNull() ? name.Data() : (dir + "/" + name).Data();
}

/// The entries of a set's elements that have a range or a list of their own, as one entry list. Null if all count.
std::unique_ptr<TEntryList> ownLists(TDSet &set) {
  auto all = std::make_unique<TEntryList>("dtpnode", "");
  all->SetDirectory(nullptr);
  bool some = false;
  TIter next(set.GetListOfElements());
  while (auto *e = static_cast<TDSetElement *>(next())) {
    auto *own = dynamic_cast<TEntryList *>(e->GetEntryList());
    const Long64_t entries = e->GetEntries();
    const Long64_t end = e->GetNum() < 0 ? entries : std::min(entries, e->GetFirst() + e->GetNum());
    TEntryList part("dtpnode", "", treeOf(*e, set).c_str(), urlOf(*e).c_str());
    part.SetDirectory(nullptr);
    for (Long64_t i = e->GetFirst(); i < end; ++i)
      if (!own || own->Contains(i)) part.Enter(i);
    some = some || own || e->GetFirst() > 0 || end < entries;
    all->Add(&part);
  }
  return some ? std::move(all) : nullptr;
}

bool anyRange(TDSet &set) {
  TIter next(set.GetListOfElements());
  while (auto *e = static_cast<TDSetElement *>(next()))
    if (e->GetFirst() > 0 || e->GetNum() >= 0 || e->GetEntryList()) return true;
  return false;
}

/// Writes an object to a file of its own, and returns FILE:NAME.
std::string written(TObject &o, Session &session) {
  const std::string path = session.temporary(".root");
  TDirectory::TContext keep;
  std::unique_ptr<TFile> file(TFile::Open(path.c_str(), "RECREATE"));
  if (!file || file->IsZombie()) return "";
  const std::string name = *o.GetName() ? o.GetName() : "list";
  file->WriteTObject(&o, name.c_str());
  file->Close();
  return path + ":" + name;
}

/// The flag of one friend, whose files are in a list.
void addFriend(const std::string &alias, const std::string &tree, const std::string &index,
               const std::vector<std::string> &files, Session &session, std::vector<std::string> &args) {
  const std::string list = session.temporary(".txt");
  std::ofstream out(list);
  for (const std::string &file : files)
    out << file << '\n';
  const std::string name = alias.empty() || alias == tree ? tree : alias + ":" + tree;
  args.insert(args.end(), {"--friend", name + index + "=@" + list});
}

void friendArguments(TDSet &set, Session &session, std::vector<std::string> &args) {
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> files; // by alias and tree
  TIter next(set.GetListOfElements());
  while (auto *e = static_cast<TDSetElement *>(next())) {
    if (!e->GetListOfFriends()) continue;
    TIter friends(e->GetListOfFriends());
    while (auto *f = static_cast<TDSetElement *>(friends())) {
      TString alias(f->GetFileName());
      alias.Remove(0, alias.Index("friend_alias=") + static_cast<Ssiz_t>(strlen("friend_alias=")));
      alias.ReplaceAll("|", "");
      const std::string tree = treeOf(*f, set);
      files[{alias.Data(), tree}].push_back(urlOf(*f));
    }
  }
  for (const auto &[names, urls] : files)
    addFriend(names.first, names.second, "", urls, session, args);
}

/// The friends that were added to a chain in this process, in as many files as they have.
void chainFriends(TTree &chain, Session &session, std::vector<std::string> &args) {
  TIter next(chain.GetListOfFriends());
  while (auto *f = static_cast<TFriendElement *>(next())) {
    TTree *tree = f->GetTree();
    if (!tree) continue; // ROOT has said why
    std::string index, name = f->GetTreeName();
    if (TVirtualIndex *by = tree->GetTreeIndex()) {
      const std::string minor = by->GetMinorName();
      index = "[" + std::string(by->GetMajorName()) + (minor.empty() || minor == "0" ? "" : "," + minor) + "]";
    }
    std::vector<std::string> files;
    if (auto *other = dynamic_cast<TChain *>(tree)) {
      TIter elements(other->GetListOfFiles());
      while (TObject *e = elements()) {
        name = e->GetName();
        files.push_back(urlOf(TDSetElement(e->GetTitle())));
      }
    } else if (tree->GetCurrentFile()) {
      files.push_back(urlOf(TDSetElement(tree->GetCurrentFile()->GetName())));
    }
    if (files.empty())
      ::Warning("TProof::Process", "the friend %s is in no file: write it to one first", name.c_str());
    else
      addFriend(f->GetName(), name, index, files, session, args);
  }
}

void membersOf(TClass &cls, Long_t offset, std::vector<std::pair<TDataMember *, Long_t>> &out) {
  TIter bases(cls.GetListOfBases());
  while (auto *base = static_cast<TBaseClass *>(bases())) {
    TClass *b = base->GetClassPointer();
    if (b && b != TSelector::Class() && base->GetDelta() >= 0) membersOf(*b, offset + base->GetDelta(), out);
  }
  TIter next(cls.GetListOfDataMembers());
  while (auto *m = static_cast<TDataMember *>(next()))
    out.emplace_back(m, offset + m->GetOffset());
}

} // namespace

void detach(TObject &object) {
  TSelectorList list; // which calls SetDirectory() of whatever class has it
  list.SetOwner(kFALSE);
  list.Add(&object);
  list.Clear("nodelete");
}

std::string urlOf(const TDSetElement &e) {
  TString name(e.GetFileName());
  if (const Ssiz_t at = name.Index("?friend_alias="); at != kNPOS) name.Remove(at);
  if (const Ssiz_t at = name.Index("&friend_alias="); at != kNPOS) name.Remove(at);
  if (name.BeginsWith("file://")) name.Remove(0, name.BeginsWith("file:///") ? 7 : 7);
  if (!name.Contains("://") && !gSystem->IsAbsoluteFileName(name))
    return std::string(gSystem->WorkingDirectory()) + "/" + name.Data();
  return name.Data();
}

std::string sourceOf(TClass &cls) {
  for (const char *file : {cls.GetImplFileName(), cls.GetDeclFileName()}) {
    if (!file || !*file) continue;
    std::string path = found(file);
    if (path.empty()) continue;
    const size_t dot = path.rfind('.');
    const std::string ending = path.substr(dot);
    if (std::find(std::begin(kEndings), std::end(kEndings), ending) != std::end(kEndings)) return path;
    for (const char *other : kEndings)
      if (isFile(path.substr(0, dot) + other)) return path.substr(0, dot) + other;
  }
  for (const char *ending : kEndings)
    if (const std::string path = found(cls.GetName() + std::string(ending)); !path.empty()) return path;
  // ACLiC puts the library of Name.C beside it, as Name_C.so.
  TString library;
  for (Ssiz_t from = 0; TString(gSystem->GetLibraries()).Tokenize(library, from, " ");) {
    const std::string dir = gSystem->GetDirName(library).Data(), base = gSystem->BaseName(library);
    for (const char *ending : kEndings) {
      const std::string path = dir + "/" + cls.GetName() + ending;
      if (base == std::string(cls.GetName()) + "_" + (ending + 1) + ".so" && isFile(path)) return path;
    }
  }
  return "";
}

namespace {

/// The shared library that has an object's class; empty if the program itself has it.
std::string libraryOf(const TSelector &object) {
  Dl_info where{};
  if (!::dladdr(*reinterpret_cast<void *const *>(&object), &where) || !where.dli_fname) return "";
  const std::string path = where.dli_fname;
  const size_t dot = path.rfind('.');
  return dot != std::string::npos && path.compare(dot, std::string::npos, ".so") == 0 ? path : "";
}

} // namespace

Selected::Selected(const Query &query) {
  if (query.object)
    fromObject(query.object);
  else
    fromFile(query.selector);
}

void Selected::fromObject(TSelector *given) {
  className = given->ClassName();
  source = sourceOf(*given->IsA());
  if (source.empty()) library = libraryOf(*given);
  if (source.empty() && library.empty()) {
    error = "could not find the source of class " + className + ": load it from a file, as in .L " + className + ".C+";
    return;
  }
  selector = given;
}

void Selected::fromFile(const std::string &given) {
  std::string name = given;
  if (const size_t plus = name.find('+'); plus != std::string::npos) {
    options = name.substr(plus);
    name.erase(plus);
  }
  source = found(name);
  if (source.empty()) {
    TClass *cls = TClass::GetClass(name.c_str());
    if (!cls || !cls->InheritsFrom(TSelector::Class())) {
      error = "could not find the selector " + given + ": there is neither a file nor a loaded class of that name";
      return;
    }
    source = sourceOf(*cls);
    className = name;
    selector = static_cast<TSelector *>(cls->New());
    if (selector && source.empty()) library = libraryOf(*selector);
    if (!selector)
      error = "could not make a selector of class " + name + ": it has to have a constructor without arguments";
    else if (source.empty() && library.empty())
      error = "could not find the source, or the library, of class " + name + ": name the file instead";
    return;
  }
  const std::string base = gSystem->BaseName(source.c_str());
  className = base.substr(0, base.rfind('.'));
  // The pool compiles it in any case. So it is compiled here too, that both are the same class.
  selector = TSelector::GetSelector((source + (options.empty() ? "+" : options)).c_str());
  if (!selector) error = "could not compile or make the selector of " + source + ": see the messages above";
}

std::vector<std::string> dataArguments(const Query &query, Session &session, std::string &error) {
  std::vector<std::string> args;
  if (query.cycles) return {"--cycles", std::to_string(query.n)};
  TObject *list = query.entryList;
  std::unique_ptr<TEntryList> own;
  if (!query.dataset.empty()) {
    TString name;
    for (Ssiz_t from = 0; TString(query.dataset).Tokenize(name, from, " ");) // PROOF took several, apart by blanks
      args.insert(args.end(), {"--dataset", name.Data()});
  } else {
    if (!query.set || query.set->GetListOfElements()->IsEmpty()) {
      error = "there are no files to run over";
      return args;
    }
    const std::string path = session.temporary(".txt");
    std::ofstream out(path);
    TIter next(query.set->GetListOfElements());
    std::string tree;
    while (auto *e = static_cast<TDSetElement *>(next())) {
      if (tree.empty() || *e->GetObjName()) tree = treeOf(*e, *query.set);
      if (tree.empty()) {
        error = std::string("could not find a tree in ") + e->GetFileName() + ": name it in the set";
        return args;
      }
      out << urlOf(*e) << '/' << tree << '\n';
    }
    out.close();
    args = {"--files", "@" + path, "--allow-duplicates"};
    if (query.chain)
      chainFriends(*query.chain, session, args);
    else
      friendArguments(*query.set, session, args);
    if (!list) list = query.set->GetEntryList();
    if (!list && anyRange(*query.set)) {
      own = ownLists(*query.set);
      list = own.get();
    }
  }
  if (list) {
    const std::string where = written(*list, session);
    if (where.empty()) {
      error = "could not write the entry list to " + session.folder();
      return args;
    }
    args.insert(args.end(), {"--entry-list", where});
  }
  if (query.chain && query.chain->GetListOfAliases()) {
    TIter next(query.chain->GetListOfAliases());
    while (TObject *alias = next())
      args.insert(args.end(), {"--alias", std::string(alias->GetName()) + "=" + alias->GetTitle()});
  }
  if (query.n >= 0) args.insert(args.end(), {"--entries", std::to_string(query.n)});
  if (query.first > 0) args.insert(args.end(), {"--first", std::to_string(query.first)});
  return args;
}

void bindMembers(TSelector &selector, const TList &output, const std::map<std::string, std::string> &noted) {
  TClass *cls = selector.IsA();
  char *start = reinterpret_cast<char *>(&selector) - cls->GetBaseClassOffset(TSelector::Class());
  std::vector<std::pair<TDataMember *, Long_t>> members;
  membersOf(*cls, 0, members);
  for (const auto &[m, offset] : members) {
    const std::string type = m->GetFullTypeName();
    if (!m->IsaPointer() || m->IsBasic() || m->GetArrayDim() > 1 || (m->Property() & kIsStatic)) continue;
    if (type.find('*') != type.size() - 1) continue; // a pointer to a pointer
    TClass *mc = TClass::GetClass(m->GetTypeName(), kTRUE, kTRUE);
    const Long_t base = mc && mc->InheritsFrom(TObject::Class()) ? mc->GetBaseClassOffset(TObject::Class()) : -1;
    if (base < 0) continue;
    const Int_t count = m->GetArrayDim() == 1 ? m->GetMaxIndex(0) : 0;
    for (Int_t i = 0; i < std::max(count, 1); ++i) {
      const std::string name = m->GetName() + (count ? "[" + std::to_string(i) + "]" : "");
      const auto it = noted.find(name);
      TObject *o = output.FindObject((it != noted.end() ? it->second : name).c_str());
      if (!o || !o->InheritsFrom(mc)) continue;
      *reinterpret_cast<char **>(start + offset + i * Long_t{sizeof(void *)}) = reinterpret_cast<char *>(o) - base;
    }
  }
}

} // namespace dtpnode
